"""What the suites of other people's programs share: are they installed, and did the bytes really go
through vNICs. UCX, MPI and libfabric quietly take TCP or shared memory where they can, so a program
that ends well proves nothing; what the vNICs counted does."""

import contextlib
import pathlib
import shutil

from harness import two_hosts
from harness.suite import Failed, Skip

_BYTES = ("send_bytes", "write_bytes", "read_bytes")


def programs(*names, files=(), also=None):
    """For Suite(needs=...): the programs and files must be there, and what `also` wants."""
    def needs():
        missing = [name for name in names if shutil.which(name) is None]
        missing += [name for name in map(str, files) if not pathlib.Path(name).exists()]
        if missing:
            raise Skip("not installed: " + ", ".join(missing))
        if also is not None:
            also()
    return needs


def on_two_hosts(name, peer, needs):
    suite = two_hosts.make_suite(name, peer)
    namespaces = suite.needs

    def both():
        namespaces()
        needs()
    suite.needs = both
    return suite


def services(ctx):
    """Of vNIC a and of vNIC b. On two hosts they are two; the programs need not be in their
    namespaces."""
    far = getattr(ctx.surroundings, "far_service", None)
    return {"a": ctx.service, "b": far or ctx.service}


def on(ctx, vnic):
    """The words that put a program on a vNIC, whichever service has it."""
    return services(ctx)[vnic].run_prefix(vnic)


def wait_until_connected(ctx):
    if ctx.surroundings is not None:
        two_hosts.wait_for_the_wire(ctx)


def _count(ctx):
    """{(vNIC, counter): value}"""
    counts = {}
    for vnic, service in services(ctx).items():
        for entry in service.ctl_json("counters", "--vnic", vnic)["vnics"]:
            for counter in entry["counters"]:
                counts[vnic, counter["name"]] = counter["value"]
    return counts


class Moved:
    """What both vNICs counted meanwhile."""

    def __init__(self):
        self.before = {}
        self.after = {}

    def count(self, *names):
        return sum(value - self.before.get(key, 0) for key, value in self.after.items()
                   if key[1] in names)

    def bytes(self):
        return self.count(*_BYTES)

    def atomics(self):
        return self.count("atomic_operations")


@contextlib.contextmanager
def moving(ctx, at_least=0, atomics=0):
    """The vNICs must have moved so many bytes, and done so many atomics, inside the `with`."""
    wait_until_connected(ctx)
    moved = Moved()
    moved.before = _count(ctx)
    yield moved
    moved.after = _count(ctx)
    print(f"the vNICs moved {moved.bytes()} bytes and did {moved.atomics()} atomics", flush=True)
    if moved.bytes() < at_least:
        raise Failed(f"the vNICs moved {moved.bytes()} bytes, the program at least {at_least}: "
                     "it used something else")
    if moved.atomics() < atomics:
        raise Failed(f"the vNICs did {moved.atomics()} atomics, the program at least {atomics}: "
                     "it used something else")
