"""The transfer engines that language models' servers move their caches with, out of their own Python
wheels and unmodified: Mooncake's over verbs, NIXL by the UCX it brings along, which brings along a
libibverbs. Host memory, writes and reads of 1 byte to 16 MiB, every byte compared
(tests/interop/transfer_engines), and the vNICs must have counted them.

transfer_engines        two vNICs of one host, and one vNIC to itself
transfer_engines_wire   two hosts"""

import contextlib
import pathlib
import subprocess
import sys

from harness import consumers, two_hosts
from harness.suite import Failed, Service, Skip, Suite, check, contains
from interop.transfer_engines import transferred, wheels
from interop.transfer_engines.wheels import MOONCAKE, NIXL

PROGRAMS = pathlib.Path(transferred.__file__).parent
WHEELS = two_hosts.BUILD.parent / "wheels"
FETCHING = 170  # seconds that the first case with an engine may take more
BYTES_EACH_WAY = sum(transferred.SIZES)


def needs():
    pass


same = Suite("transfer_engines", Service())
wire = consumers.on_two_hosts("transfer_engines_wire", "vrdma", needs)


def environment(engine, **variables):
    try:
        folder = engine.folder(WHEELS)
    except wheels.Unavailable as reason:
        raise Skip(str(reason)) from reason
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1", **variables}


@contextlib.contextmanager
def server(ctx, vnic, program, variables):
    """The program's server; its words after `ready`, and the pipe to it."""
    process = ctx.start(consumers.on(ctx, vnic), sys.executable, PROGRAMS / program, "serve",
                        env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for line in process.stdout:  # its libraries print there too
        words = line.decode(errors="replace").split()
        if words[:1] == ["ready"]:
            break
    else:
        raise Failed(f"{program} serve ended with status {process.wait()} before it was ready")
    yield process, words[1:]
    process.stdin.close()
    check(process.wait(20) == 0, f"{program} serve: exit status {process.returncode}, expected 0")


def moves(ctx, program, variables, on_a="a", on_b="b"):
    with consumers.moving(ctx, at_least=2 * BYTES_EACH_WAY):
        with server(ctx, on_a, program, variables) as (process, words):
            output = ctx.succeeds(consumers.on(ctx, on_b), sys.executable, PROGRAMS / program, "move",
                                  *words, env=variables, timeout=60)
            contains(output, f"moved {BYTES_EACH_WAY} bytes each way, all right")
            process.stdin.write(b"check\n")
            process.stdin.flush()
            answer = process.stdout.readline().decode()
            check(answer == "right\n", f"the server finds its memory {answer!r}")


def mooncake(ctx, **vnics):
    moves(ctx, "mooncake_transfer.py", environment(MOONCAKE), **vnics)


def nixl(ctx, **vnics):
    # UCX may take nothing else. This one (1.23) asks the kernel for a route to the peer by default.
    moves(ctx, "nixl_transfer.py",
          environment(NIXL, UCX_TLS="rc_v", UCX_NET_DEVICES="vrdma0:1",
                      UCX_IB_ROCE_REACHABILITY_MODE="all"), **vnics)


for name, run in (("mooncake", mooncake), ("nixl", nixl)):
    same.add(f"{name}_writes_and_reads", run, timeout=FETCHING + 90)
    wire.add(f"{name}_writes_and_reads", run, timeout=FETCHING + 90)
    same.add(f"{name}_writes_to_its_own_vnic",
             lambda ctx, run=run: run(ctx, on_a="a", on_b="a"), timeout=FETCHING + 90)
wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
