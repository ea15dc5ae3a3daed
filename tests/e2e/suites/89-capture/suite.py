"""vrdmactl capture: what a port sends and receives, as it is on the wire, in the eyes of others.

The near one of two hosts is captured. The programs' TCP connection has a wire of its own, so that
the port carries RoCEv2 and ARP only."""

import collections
import contextlib
import json
import pathlib
import signal
import struct
import subprocess

from harness.program import Program
from harness.suite import check, contains, equal
from harness.two_hosts import (BUILD, FAR, make_suite, on_far, on_near, running, succeeds,
                               wait_for_the_wire)
from lab import processes
from vm import peers

IN, OUT = 1, 2  # pcapng's directions
MEMORY = 32 << 20
GROUP_VERIFY = BUILD / "tests/e2e/group_verify/vrdma-group-verify"

one = make_suite("capture", "auto")
two = make_suite("capture_workers", "auto", workers=2)


# -- capturing -------------------------------------------------------------------------------------


def port(ctx):
    return ctx.service.ctl_json("port", "show", "p0")


def counters(ctx):
    return {counter["name"]: counter["value"] for counter in port(ctx)["counters"]}


def command(ctx, *words):
    return [ctx.service.tree.vrdmactl, "--runtime-dir", ctx.service.runtime_dir, "capture", "p0",
            *words]


class Recording:
    """vrdmactl capture into `path`, until the end of the `with` as by Ctrl-C; then `info`."""

    def __init__(self, ctx, name, *words):
        self.ctx = ctx
        self.path = ctx.places.logs / "e2e" / f"{name}.pcapng"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.words = words
        self.info = None

    def __enter__(self):
        self.process = processes.start(
            [str(word) for word in command(self.ctx, "--json", "-w", self.path, *self.words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # One that ends by itself may be over before it is seen.
        self.ctx.eventually(lambda: self.process.poll() is not None or port(self.ctx)["capture"],
                            "the capture runs")
        return self

    def finish(self, end=signal.SIGINT):
        if end is not None:
            self.process.send_signal(end)
        said = self.process.communicate(timeout=20)[0].decode()
        equal(self.process.returncode, 0, f"the exit status of vrdmactl, which said {said}")
        self.info = json.loads(said)
        print(self.info, flush=True)

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.info is None:
                self.finish()
        finally:
            processes.end(self.process, 1.0)
            self.process.stdout.close()


Packet = collections.namedtuple("Packet", "direction time kept length bytes")


def packets(path):
    """The packets of a file with what verify_capture does not look at."""
    data, position = path.read_bytes(), 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        if kind == 6:
            _, high, low, kept, whole = struct.unpack_from("<5I", data, position + 8)
            option = position + 28 + (kept + 3) // 4 * 4
            code, size, flags = struct.unpack_from("<HHI", data, option)
            equal((code, size), (2, 4), "the first option of a packet is its flags")
            yield Packet(flags & 3, high << 32 | low, kept, whole,
                         data[position + 28:position + 28 + kept])
        position += length


def is_roce(packet):
    return packet.bytes[12:14] == b"\x08\x00" and packet.bytes[36:38] == b"\x12\xb7"


PINGPONG = ("ibv_rc_pingpong", "-g", 3, "-m", 4096, "-n", 200)


# -- what is in it ---------------------------------------------------------------------------------


def everything_is_captured_and_others_agree(ctx):
    """zlib, scapy and tshark find nothing wrong; of both directions as many as were counted."""
    before = counters(ctx)
    workers = len(ctx.service.ctl_json("status")["workers"])
    with Recording(ctx, f"capture-workers-{workers}") as recording:
        succeeds(ctx, *PINGPONG)
        succeeds(ctx, "ib_write_bw", "-F", "-x", 3, "-m", 4096, "-s", 65536, "-n", 100)
    after = counters(ctx)
    equal(recording.info["missed"], 0, "missed packets")
    found = list(packets(recording.path))
    equal(recording.info["captured"], len(found), "packets in the file")
    count = collections.Counter(packet.direction for packet in found)
    equal({"sent": count[OUT], "received": count[IN]},
          {"sent": after["sent_packets"] - before["sent_packets"],
           "received": after["received_packets"] - before["received_packets"]},
          "packets in the file, by direction, and in the counters")
    times = [packet.time for packet in found]
    check(0 < times[-1] - times[0] < 60e9, f"the capture lasts {times[-1] - times[0]} ns")
    equal(recording.path.stat().st_mode & 0o777, 0o600, "the mode of the file")
    peers.verify(recording.path, least=2000)


one.add("everything_is_captured_and_others_agree", everything_is_captured_and_others_agree,
        timeout=120)
two.add("everything_is_captured_and_others_agree", everything_is_captured_and_others_agree,
        timeout=120)


@one.case(timeout=60)
def count_snaplen_and_standard_output(ctx):
    with running(ctx, "ib_write_bw", "-F", "-x", 3, "-m", 4096, "-s", 65536, "-D", 6, timeout=40):
        done = subprocess.run([str(word) for word in
                               command(ctx, "-w", "-", "--count", 300, "--snaplen", 96)],
                              capture_output=True, timeout=30, check=False)
    equal(done.returncode, 0, "the exit status")
    contains(done.stderr.decode(), "300 packets captured", "the summary")
    path = ctx.places.logs / "e2e" / "capture-snaplen.pcapng"
    path.write_bytes(done.stdout)
    found = list(packets(path))
    equal(len(found), 300, "packets in the file")
    equal(max(packet.kept for packet in found), 96, "bytes kept of a packet")
    check(max(packet.length for packet in found) > 4096, "no packet was longer than is kept")


@one.case(timeout=60)
def filters_by_queue_pair_and_peer(ctx):
    with running(ctx, "ib_write_bw", "-F", "-x", 3, "-m", 1024, "-s", 65536, "-D", 8,
                 timeout=40) as pair:
        def busy():
            return next((qp for qp in ctx.service.ctl_json("qp", "list")["qps"]
                         if qp["sq"]["producer"]), None)
        qp = ctx.eventually(busy, "a queue pair that has sent something")
        with Recording(ctx, "capture-qp", "--qp", hex(qp["qpn"]), "--count", 200) as recording:
            recording.finish(end=None)
        by_qp = list(packets(recording.path))
        equal({packet.direction for packet in by_qp}, {IN, OUT}, "the directions")
        for packet in by_qp:
            number = int.from_bytes(packet.bytes[47:50], "big")
            wanted = qp["qpn"] if packet.direction == IN else qp["dest_qpn"]
            equal(number, wanted, "the queue pair a packet is for")
        with Recording(ctx, "capture-nobody", "--peer", "10.90.0.77", "--duration", "300ms") as none:
            none.finish(end=None)
        equal(none.info["captured"], 0, "packets of nobody")
        with Recording(ctx, "capture-peer", "--peer", FAR, "--count", 100) as recording:
            recording.finish(end=None)
        pair.finish()


def of_group(path, direction):
    """Sequence numbers and senders of a recording's datagrams, all of which are to a group."""
    found = list(packets(path))
    for packet in found:
        equal(packet.direction, direction, "the direction")
        equal(packet.bytes[47:50], b"\xff\xff\xff", "the queue pair number of groups")
    return ({packet.bytes[51:54] for packet in found},
            {int.from_bytes(packet.bytes[59:62], "big") for packet in found})


def queue_pair_in_a_group_is_captured_with_what_the_group_gets(ctx):
    """Two members, of two workers where there are two, and a sender that is in no group."""
    wait_for_the_wire(ctx)
    near, far = on_near(ctx), on_far(ctx)
    words = ["--messages", 1000, "--gap-us", 5000]
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(Program(ctx, *near, GROUP_VERIFY, "listen", *words))
                   for _ in range(2)]
        for member in members:
            member.says("listening", "a member listens")
        listed = ctx.service.ctl_json("group", "list")["groups"]
        qpns = [qpn for group in listed for qpn in group["qpns"]]
        equal(len(qpns), 2, "queue pairs in groups")
        workers = {qp["worker"] for qp in ctx.service.ctl_json("qp", "list")["qps"]
                   if qp["qpn"] in qpns}
        equal(len(workers), len(ctx.service.ctl_json("status")["workers"]),
              "workers that have a member")
        stack.enter_context(Program(ctx, *far, GROUP_VERIFY, "send", *words))
        for qpn in qpns:
            with Recording(ctx, f"capture-member-{len(workers)}", "--qp", hex(qpn), "--count",
                           30) as recording:
                recording.finish(end=None)
            numbers, senders = of_group(recording.path, IN)
            equal((len(numbers), len(senders)), (30, 1), "different packets, and their senders")
    with Program(ctx, *near, GROUP_VERIFY, "send", *words):
        sender = ctx.eventually(lambda: next((qp["qpn"] for qp in
                                              ctx.service.ctl_json("qp", "list")["qps"]), None),
                                "the sender has a queue pair")
        with Recording(ctx, f"capture-sender-{len(workers)}", "--qp", hex(sender), "--count",
                       30) as recording:
            recording.finish(end=None)
    numbers, senders = of_group(recording.path, OUT)
    equal((len(numbers), senders), (30, {sender}), "different packets, and their senders")


one.add("queue_pair_in_a_group_is_captured_with_what_the_group_gets",
        queue_pair_in_a_group_is_captured_with_what_the_group_gets, timeout=60)
two.add("queue_pair_in_a_group_is_captured_with_what_the_group_gets",
        queue_pair_in_a_group_is_captured_with_what_the_group_gets, timeout=60)


@one.case(timeout=60)
def frame_that_faults_corrupt_is_captured_as_it_leaves(ctx):
    try:
        ctx.ctl("port", "fault", "p0", "corrupt=0.05", "direction=send")
        before = counters(ctx)
        with Recording(ctx, "capture-faults") as recording:
            succeeds(ctx, *PINGPONG)
        corrupted = counters(ctx)["faults_corrupted"] - before["faults_corrupted"]
    finally:
        ctx.ctl("port", "fault", "p0", "off")
    check(corrupted > 0, "no frame was corrupted")
    done = subprocess.run(["/usr/bin/python3", peers.SOURCE / "tests/verify_capture.py",
                           "--no-tshark", recording.path], capture_output=True, text=True,
                          timeout=60, check=False)
    print(done.stdout, flush=True)
    equal(done.returncode, 1, "the exit status of who looks for wrong packets")
    contains(done.stdout, "its invariant CRC is", "what it says")


# -- who may, and when it ends ---------------------------------------------------------------------


@one.case(timeout=40)
def second_capture_and_unknown_port_are_refused(ctx):
    with Recording(ctx, "capture-first"):
        done = subprocess.run([str(word) for word in command(ctx, "-w", "/nonexistent/file")],
                              capture_output=True, text=True, timeout=20, check=False)
        equal(done.returncode, 1, "the exit status")
        contains(done.stderr, "captured already", "the message")
        contains(ctx.ctl("port", "show", "p0").stdout, "packets", "port show")
    equal(port(ctx)["capture"], None, "the capture after its end")
    done = ctx.ctl("capture", "p9", "-w", "/nonexistent/file")
    equal(done.returncode, 1, "the exit status")
    contains(done.stderr, "one of: p0", "the message")
    done = ctx.ctl("capture", "p0", "-w", "/nonexistent/file", "--qp", "1")
    equal(done.returncode, 1, "the exit status")
    contains(done.stderr, "queue pair", "the message")


def resident(ctx):
    status = pathlib.Path(f"/proc/{ctx.service.process.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines()
                if line.startswith("VmRSS:"))


@one.case(timeout=60)
def killed_client_frees_the_capture_and_its_memory(ctx):
    before = resident(ctx)
    process = processes.start([str(word) for word in command(ctx, "-w", "/dev/null")])
    try:
        ctx.eventually(lambda: port(ctx)["capture"], "the capture runs")
        held = resident(ctx) - before
        check(held > MEMORY * 3 // 4, f"a capture holds {held} bytes, expected about {MEMORY}")
        process.kill()
        process.wait(10)
        ctx.eventually(lambda: port(ctx)["capture"] is None, "the capture is gone", timeout=20)
    finally:
        processes.end(process, 1.0)
    left = resident(ctx) - before
    check(left < MEMORY // 4, f"{left} bytes are still held")
    contains(ctx.service.log_text(), "does not fetch it any more", "the log")
    with Recording(ctx, "capture-next"):
        pass
