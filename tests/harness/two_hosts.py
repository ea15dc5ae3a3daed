"""Two hosts for suites: two services, each in a network namespace of its own, a wire between them,
and a second one for the programs' TCP connections.

    suite = make_suite("wire", "roce")        # the suite's service is the near one, vNIC a
    ended = succeeds(ctx, "ib_write_bw")      # server on the far host (vNIC b), client on the near

`peer` is how the services meet: "roce", "vrdma" or "auto" (docs/wire.md). The far service is in
`ctx.surroundings.far_service`."""

import collections
import contextlib
import os
import pathlib
import signal
import tempfile

from harness.context import is_root
from harness.suite import Failed, Service, Skip, Suite, check
from lab import pair as lab_pair
from lab import ports
from lab import service as lab_service
from lab.tree import Tree
from vm.network import Namespace, why_not

BUILD = pathlib.Path(os.environ["VRDMA_BUILD"])

MTU = 4200
WIRE_MTU = MTU + 100
NEAR, FAR = "10.90.0.1", "10.90.0.2"  # the vNICs'
NEAR_TCP, FAR_TCP = "192.168.90.1", "192.168.90.2"
AF_PACKET = "net_af_packet0,iface=wire0,framesz=8192,blocksz=65536"
MEMIF = "net_memif0,role={role},id=0,socket={socket},socket-abstract=no,bsize=8192"
AF_XDP = "net_af_xdp0,iface=wire0"
TAP = "net_tap0,iface=tap0"
TAP_MTU = 1500  # the most that DPDK gives it
XDP_MTU = 3300  # of the interfaces: XDP wants frames that fit a page


def config(name, address, devargs, peer, mtu=MTU, workers=1, service=""):
    return lambda runtime_dir: f"""[service]
runtime_dir = "{runtime_dir}"
system_view = false
workers = {workers}
{service}
[[network]]
name = "blue"
id = 10
[[vnic]]
name = "{name}"
network = "blue"
address = "{address}"
[[port]]
name = "p0"
network = "blue"
devargs = "{devargs}"
{"" if mtu is None else f"mtu = {mtu}"}
peer = "{peer}"
"""


def needs():
    if not is_root():
        raise Skip("needs root, for network namespaces and packet sockets")
    missing = why_not()
    if missing:
        raise Skip(missing)


class Hosts:
    """Two namespaces; `near` and `far` are their hosts, `far_service` runs in the latter."""

    def __init__(self, logs, stack, devices, peer, mtu=MTU, wire_mtu=WIRE_MTU, service=""):
        self.stack = stack
        self.wire_mtu = wire_mtu
        self.near, self.far = (self._host() for _ in range(2))
        self.join_wire()
        self._join("tcp0", 1500)
        self.far.run("ip", "address", "add", FAR_TCP + "/24", "dev", "tcp0")
        self.near.run("ip", "address", "add", NEAR_TCP + "/24", "dev", "tcp0")
        self.far_service = lab_service.Service(
            Tree.built(BUILD), config("b", FAR, devices["far"], peer, mtu, service=service),
            inside=self.far.enter(), log=logs / "far-vrdmad.log")
        stack.callback(self.far_service.remove)
        stack.callback(self.far_service.kill)
        self.far_service.start()

    def join_wire(self):
        self._join("wire0", self.wire_mtu)

    def cut_wire(self):
        self.near.run("ip", "link", "delete", "wire0")

    def _host(self):
        host = Namespace()
        self.stack.callback(host.end)
        # What is on the wire is ours.
        host.set("ipv6/conf/default/disable_ipv6", 1)
        return host

    def _join(self, name, mtu):
        self.near.run("ip", "link", "add", name, "mtu", mtu, "type", "veth", "peer", "name", name,
                      "mtu", mtu, "netns", self.far.pid)
        for host in (self.near, self.far):
            host.run("ip", "link", "set", name, "up")


def make_suite(name, peer, memif=False, workers=1, device=AF_PACKET, mtu=MTU, wire_mtu=WIRE_MTU):
    """`device`: of both services. `mtu`: of their ports, at most `wire_mtu`, the interfaces'; None:
    what these have."""
    directory = pathlib.Path(tempfile.gettempdir(), f"vrdma-{name}-{os.getpid()}.sock")
    devices = {"near": device, "far": device}
    if memif:
        devices = {"near": MEMIF.format(role="client", socket=directory),
                   "far": MEMIF.format(role="server", socket=directory)}

    @contextlib.contextmanager
    def surroundings(logs):
        with contextlib.ExitStack() as stack:
            stack.callback(directory.unlink, missing_ok=True)
            yield Hosts(logs, stack, devices, peer, mtu, wire_mtu)

    return Suite(name, needs=needs, surroundings=surroundings,
                 service=Service(config=config("a", NEAR, devices["near"], peer, mtu, workers),
                                 inside=lambda hosts: hosts.near.enter()))


def on_near(ctx):
    """How a command is run on the near host's vNIC."""
    return [*ctx.surroundings.near.enter(), *ctx.service.run_prefix("a")]


def on_far(ctx):
    return [*ctx.surroundings.far.enter(), *ctx.surroundings.far_service.run_prefix("b")]


def wait_for_the_wire(ctx):
    for service in (ctx.service, ctx.surroundings.far_service):
        ctx.eventually(lambda: service.ctl_json("port", "show", "p0")["state"] == "up",
                       "the port is up")


@contextlib.contextmanager
def running(ctx, *command, server=None, client=None, timeout=25):
    """A program on both hosts: `with running(ctx, ...) as pair: ...; pair.finish()`."""
    hosts = ctx.surroundings
    wait_for_the_wire(ctx)
    server = server or hosts.far_service
    client = client or ctx.service
    port = ports.free_port()
    command = [command[0], "-p", port, *command[1:]]
    with lab_pair.Pair([*hosts.far.enter(), "env", "VRDMA_LOG=info", *server.run_prefix("b"),
                        *command],
                       [*hosts.near.enter(), *client.run_prefix("a"), *command, FAR_TCP], port,
                       timeout=timeout, tables=f"/proc/{hosts.far.pid}/net") as pair:
        yield pair


def run_pair(ctx, *command, **options):
    with running(ctx, *command, **options) as pair:
        ended = pair.finish()
    print(ended.describe(), flush=True)
    if None in (ended.client.status, ended.server.status):
        for service in (ctx.service, ctx.surroundings.far_service):
            for question in (["counters"], ["port", "show", "p0"]):
                print(service.ctl(*question).stdout, flush=True)
    return ended


def _count_faults(services):
    """How many frames suffered each kind of fault, in all of them."""
    counts = collections.Counter()
    for service in services:
        for counter in service.ctl_json("port", "show", "p0")["counters"]:
            if counter["name"].startswith("faults_"):
                counts[counter["name"].removeprefix("faults_")] += counter["value"]
    return counts


@contextlib.contextmanager
def suffering(ctx, *faults, kinds):
    """What both services send and receive suffers by these words of `vrdmactl port fault`; each of
    these kinds must have happened."""
    services = (ctx.service, ctx.surroundings.far_service)
    wait_for_the_wire(ctx)
    before = _count_faults(services)
    for service in services:
        check(service.ctl("port", "fault", "p0", *faults).returncode == 0, "faults are refused")
    try:
        yield
    finally:
        for service in services:
            service.ctl("port", "fault", "p0", "off")
    after = _count_faults(services)
    for kind in kinds:
        check(after[kind] > before[kind], f"no frame was {kind}")


def losing(ctx, *faults):
    """Both services lose frames."""
    return suffering(ctx, *faults, kinds=("dropped",))


def succeeds(ctx, *command, **options):
    ended = run_pair(ctx, *command, **options)
    check(ended.client.status == 0, f"client: exit status {ended.client.status}, expected 0")
    check(ended.server.status == 0, f"server: exit status {ended.server.status}, expected 0")
    return ended


def other_service_is_alive_and_ends_cleanly(ctx):
    service = ctx.surroundings.far_service
    pid = service.process.pid
    state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    check(state[0] != "Z", "the far service has ended: " + service.log_text())
    os.kill(pid, signal.SIGTERM)
    ctx.eventually(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
                   .rpartition(")")[2].split()[0] == "Z", "the far service ends")
    left = service.left_behind()
    if left:
        raise Failed("left behind: " + "; ".join(left))
