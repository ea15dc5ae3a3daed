"""Surroundings of a suite: a network with one host, which is a namespace on this machine, and
guests with soft-RoCE; and programs in pairs, one end here, the other there.

    suite = Suite("name", needs=peers.needs, surroundings=peers.surroundings)
    ended = peers.run_pair(guest, host_side, "ib_write_bw", ["-s", 4096])

A side is a guest or a HostSide: it has start(), wait_until_listening(), address, program() and
device_options()."""

import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

from harness.context import is_root
from harness.suite import Failed, Skip, check
from lab import processes
from lab.pair import Ended, PairEnded
from vm import network
from vm.guest import QEMU, Guest
from vm.image import make_image

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
IMAGES = SOURCE / "build" / "vm"
HOST_ADDRESS = "10.9.0.1"
PREFIX = 24
WIRE_VERIFY = "tests/e2e/wire_verify/vrdma-wire-verify"  # in the build
GROUP_VERIFY = "tests/e2e/group_verify/vrdma-group-verify"
RXE = "rxe0"
RXE_GID = 1  # the one of the guest's IPv4 address; 0 is link-local
# What tc's filters look for: UDP to port 4791 in IPv4 without options.
_ROCE = "protocol ip u32 match ip protocol 17 0xff match u16 0x12b7 0xffff at 22"
_BOOT_TIMEOUT = 120
_SERVER_GRACE = 15.0


def needs():
    if not is_root():
        raise Skip("needs root, for network namespaces and tap devices")
    for program in (QEMU, "depmod", "busybox", "tshark"):
        if shutil.which(program) is None:
            raise Skip(f"{program} is not installed; tests/run installs it when root runs it")
    missing = network.why_not()
    if missing:
        raise Skip(missing)


class Surroundings:
    def __init__(self, wire, host, guests, image_seconds):
        self.wire = wire
        self.host = host
        self.guests = guests
        self.image_seconds = image_seconds

    @property
    def guest(self):
        return self.guests[0]

    @contextlib.contextmanager
    def recording(self, interface, path, namespace=None):
        """Everything on the interface of the switch (or of another namespace) goes to a pcapng
        file."""
        namespace = namespace or self.wire.switch
        with record(namespace, interface, path) as recorder:
            yield recorder


@contextlib.contextmanager
def surroundings(logs, guests=1):
    started = time.monotonic()
    image = make_image(IMAGES, [pathlib.Path(os.environ["VRDMA_BUILD"], program)
                                for program in (WIRE_VERIFY, GROUP_VERIFY)])
    image_seconds = time.monotonic() - started
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(network.Network())
        host = wire.add_host(f"{HOST_ADDRESS}/{PREFIX}")
        booting = []
        for number in range(2, 2 + guests):
            name = f"guest{number}"
            one = RxeGuest(image, wire, name, number, f"10.9.0.{number}/{PREFIX}",
                           logs / f"{name}-console.log")
            stack.callback(one.end)
            booting.append(one)
        for one in booting:
            one.boot(_BOOT_TIMEOUT)
            one.add_rxe()
            print(f"== {one.name}: up in {one.boot_seconds:.1f} s", flush=True)
        yield Surroundings(wire, host, booting, image_seconds)
        for one in booting:
            one.power_off()


class RxeGuest(Guest):
    def add_rxe(self):
        self.must(f"rdma link add {RXE} type rxe netdev eth0")

    def must(self, text, timeout=30):
        ended = self.run(text, timeout=timeout)
        if ended.status != 0:
            raise Failed(f"{self.name}: {ended.describe()}")
        return ended.output

    def program(self, name):
        return pathlib.Path(name).name

    def device_options(self, program):
        return ["-d", RXE, "-g" if program.startswith("ibv_") else "-x", RXE_GID]

    # -- what happens to RoCE packets on the way; TCP is spared, programs need their connection ----

    def disturb(self, outgoing="loss 0%", incoming="loss 0%"):
        """tc netem's words, such as "loss 1%" or "duplicate 1%", until heal()."""
        self.heal()
        self.must(
            "modprobe ifb numifbs=0 && ip link add wire0 type ifb && "
            f"ip link set wire0 mtu {self.mtu} up && tc qdisc add dev eth0 handle ffff: ingress && "
            f"tc filter add dev eth0 parent ffff: {_ROCE} action mirred egress redirect dev wire0")
        for device, words in (("eth0", outgoing), ("wire0", incoming)):
            self.must(
                f"tc qdisc add dev {device} root handle 1: prio bands 4 priomap {' 0' * 16} && "
                f"tc qdisc add dev {device} parent 1:4 handle 40: netem limit 10000 {words} && "
                f"tc filter add dev {device} parent 1: {_ROCE} flowid 1:4")

    def heal(self):
        self.must("[ ! -e /sys/class/net/wire0 ] || { tc qdisc del dev eth0 root; "
                  "tc qdisc del dev eth0 ingress; ip link del wire0; }")

    def lost(self):
        """Packets dropped since disturb(): (outgoing, incoming)."""
        found = []
        for device in ("eth0", "wire0"):
            text = self.must(f"tc -s qdisc show dev {device}")
            netem = text.partition("qdisc netem")[2]
            found.append(int(netem.partition("dropped ")[2].split(",")[0]))
        return tuple(found)


class _HostJob:
    def __init__(self, command):
        self.command = command
        self._out = tempfile.TemporaryFile()
        self.process = processes.start(command, stdout=self._out, stderr=subprocess.STDOUT)

    def wait(self, timeout):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            processes.end(self.process, 1.0)
            status = None
        self._out.seek(0)
        text = self._out.read().decode(errors="replace")
        self._out.close()
        return Ended([str(word) for word in self.command], status, text)


class HostSide:
    """Programs in the host's namespace. `prefix`: words before each, such as vrdma-run's."""
    def __init__(self, host, prefix=(), device=None, gid=3):
        self.host = host
        self.address = host.address
        self._prefix = list(prefix)
        self._device = device
        self._gid = gid

    def program(self, name):
        return name

    def device_options(self, program):
        return ["-d", self._device, "-g" if program.startswith("ibv_") else "-x", self._gid]

    def start(self, *words):
        return _HostJob([*self.host.enter(), *self._prefix, *words])

    def run(self, *words, timeout=30):
        return self.start(*words).wait(timeout)

    def wait_until_listening(self, port, timeout=20):
        deadline = time.monotonic() + timeout
        while not self.host.listens(port):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def run_pair(server, client, program, options, timeout=60):
    """A program as server on one side and as client on the other; PairEnded."""
    port = random.randint(18600, 29900)

    def words(side):
        return [side.program(program), "-p", port, *options, *side.device_options(program)]

    serving = server.start(*words(server))
    if server.wait_until_listening(port):
        client_ended = client.start(*words(client), server.address).wait(timeout)
    else:
        client_ended = Ended(words(client), None, "(not started: the server did not listen)\n")
    ended = PairEnded(serving.wait(_SERVER_GRACE if client_ended.status is not None else 1),
                      client_ended)
    print(ended.describe(), flush=True)
    return ended


# Something of each transport and operation, with lengths that need padding.
SAMPLES = (
    ("ibv_rc_pingpong", ["-n", 20, "-s", 10001]),
    ("ibv_uc_pingpong", ["-n", 20]),
    ("ibv_ud_pingpong", ["-n", 20, "-s", 1021]),
    ("ib_write_bw", ["-F", "-n", 20, "-s", 16383]),
    ("ib_read_bw", ["-F", "-n", 20, "-o", 16]),
    ("ib_atomic_bw", ["-F", "-n", 20, "-o", 16]),
)


def wire_verify():
    """What run_pair() takes for the program that checks every byte."""
    return os.path.join(os.environ["VRDMA_BUILD"], WIRE_VERIFY)


def group_verify():
    return os.path.join(os.environ["VRDMA_BUILD"], GROUP_VERIFY)


def pair_succeeds(*arguments, **options):
    ended = run_pair(*arguments, **options)
    check(ended.client.status == 0, f"client: exit status {ended.client.status}, expected 0")
    check(ended.server.status == 0, f"server: exit status {ended.server.status}, expected 0")
    return ended


@contextlib.contextmanager
def record(namespace, interface, path):
    command = [
        *namespace.enter(), "env", f"PYTHONPATH={SOURCE}/tests", "python3", "-m", "vm.record",
        interface, path
    ]
    recorder = processes.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said = recorder.stdout.readline()
        check(said == b"recording\n", f"the recorder says {said!r}")
        yield recorder
        recorder.terminate()
        said = recorder.stdout.read().decode(errors="replace")
        check(recorder.wait(20) == 0, f"the recorder failed: {said}")
    finally:
        processes.end(recorder, 1.0)
        recorder.stdout.close()


def verify(path, least, scapy=200):
    """Our capture in the eyes of others: tests/verify_capture.py. At least so many RoCE packets."""
    done = subprocess.run(
        ["/usr/bin/python3", SOURCE / "tests/verify_capture.py", "--scapy",
         str(scapy), path], capture_output=True, text=True, timeout=100, check=False)
    print(done.stdout + done.stderr, flush=True)
    check(done.returncode == 0, "the capture has problems")
    found = int(done.stdout.partition(" frames, ")[2].split()[0])
    check(found >= least, f"{found} RoCE packets were captured, expected at least {least}")
