#!/usr/bin/env python3
"""Two services on one machine as two hosts, beside what carries their packets: one table.

    tests/perf/between_hosts.py [--build build/release] [--samples 5] [--seconds 1] [--zero-copy]

memif      the worker of one service on CPU 0, the other's on CPU 1; beside it dpdk-testpmd, which
           sends frames of the same length from CPU 0 to CPU 1
veth       the same two workers over af_packet; beside it one TCP stream over the same interfaces

The programs that measure (vrdma-perf) sleep until completions come, so two CPUs are enough. For an
idle machine, as root; needs dpdk-dev for dpdk-testpmd. Samples are interleaved and labelled near or
far: whether the CPUs shared a cache before and after them. Medians of the near ones, when there are
any. --zero-copy: the near end of the memif lends its buffers to the far one instead of copying."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

CPUS = (0, 1)
FRAME = 4154  # a full packet of a WRITE at a path MTU of 4096, with its Ethernet header
MESSAGE = 1 << 20
TCP_BLOCK = 1 << 20
ZERO_COPY = "zero-copy=yes"


# -- one TCP stream; this file runs itself in the namespaces ---------------------------------------


def tcp_receive(address, port, seconds):
    with socket.create_server((address, port)) as listener:
        print("listening", flush=True)
        connection, _ = listener.accept()
    block = memoryview(bytearray(TCP_BLOCK))
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        connection.recv_into(block)
    begun, moved = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        moved += connection.recv_into(block)
    print(moved * 8 / (time.perf_counter() - begun) / 1e9, flush=True)


def tcp_send(address, port):
    block = bytes(TCP_BLOCK)
    with contextlib.suppress(OSError), socket.create_connection((address, port)) as connection:
        while True:
            connection.sendall(block)


def tcp_stream(hosts, address, seconds):
    """Gb/s."""
    me = [sys.executable, __file__]
    port = str(ports.free_port())
    receiver = subprocess.Popen(
        [*hosts.far.enter(), *me, "--tcp-receive", address, port, str(seconds)],
        stdout=subprocess.PIPE, text=True)
    receiver.stdout.readline()
    sender = subprocess.Popen([*hosts.near.enter(), *me, "--tcp-send", address, port])
    rate = float(receiver.stdout.readline())
    for process in (sender, receiver):
        process.kill()
        process.wait()
    return rate


# -- frames over memif and nothing else ------------------------------------------------------------


def testpmd(role, mode, cpu, path, *options):
    return subprocess.Popen(
        ["dpdk-testpmd", f"--lcores=0@{cpu},1@{cpu}", "--no-huge", "-m", "256", "--no-pci",
         "--no-telemetry", f"--file-prefix=bare{os.getpid()}{role}", "--single-file-segments",
         "--vdev", two_hosts.MEMIF.format(role=role, socket=path) + options[0], "--",
         f"--forward-mode={mode}", "--mbuf-size=8192", "--total-num-mbufs=4096",
         "--no-lsc-interrupt", "--stats-period=1", *options[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def bare_memif(zero_copy, seconds):
    """Gb/s of frames as long as ours that arrive."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "memif")
        receiver = testpmd("server", "rxonly", CPUS[1], path, "")
        while not path.exists():
            time.sleep(0.05)
        sender = testpmd("client", "txonly", CPUS[0], path, zero_copy, f"--txpkts={FRAME}")
        time.sleep(2.5 + seconds)
        for process in (sender, receiver):
            process.terminate()
        text = receiver.communicate()[0]
        sender.communicate()
    rates = [int(rate) for rate in re.findall(r"Rx-pps:\s+(\d+)", text)]
    if not rates or max(rates) == 0:
        sys.exit("dpdk-testpmd received nothing:\n" + text)
    return max(rates) * FRAME * 8 / 1e9


# -- ours ------------------------------------------------------------------------------------------


def perf(hosts, near, operation, seconds):
    """Gb/s, and whether the CPUs were near."""
    port = ports.free_port()
    program = str(near.tree.vrdma_perf)
    with pair.Pair(
            [*hosts.far.enter(), *hosts.far_service.run_prefix("b"), program, "--server", "--port",
             port],
            [*hosts.near.enter(), *near.run_prefix("a"), program, "--client", two_hosts.FAR_TCP,
             "--port", port, "--operation", operation, "--sizes", MESSAGE, "--measure", "rate",
             "--events", "--window", 64, "--post-list", 8, "--signal-every", 16, "--samples", 1,
             "--duration", seconds, "--json"],
            port, timeout=60, tables=f"/proc/{hosts.far.pid}/net") as both:
        status = both.client.wait(60)
        text = both.client_output()
    if status != 0:
        sys.exit(f"vrdma-perf ended with status {status}: {text}")
    rate = json.loads(text[text.index("{"):])["points"][0]["rate"]
    return rate["gigabits_per_second"], rate["distance"]


def worker_on(cpu):
    return f'cpus = [{cpu}]\nmode = "dedicated"'


@contextlib.contextmanager
def two_services(devices):
    with contextlib.ExitStack() as stack:
        logs = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = two_hosts.Hosts(logs, stack, devices, "vrdma", service=worker_on(CPUS[1]))
        near = Service(Tree.built(BUILD), inside=hosts.near.enter(), log=logs / "near.log",
                       config=two_hosts.config("a", two_hosts.NEAR, devices["near"], "vrdma",
                                               service=worker_on(CPUS[0])))
        stack.callback(near.remove)
        stack.callback(near.kill)
        near.start()
        for service in (near, hosts.far_service):
            while service.ctl_json("port", "show", "p0")["state"] != "up":
                time.sleep(0.05)
        yield hosts, near


def memif_devices(directory, zero_copy):
    path = pathlib.Path(directory, "wire")
    return {"near": two_hosts.MEMIF.format(role="client", socket=path) + zero_copy,
            "far": two_hosts.MEMIF.format(role="server", socket=path)}


# -- the table -------------------------------------------------------------------------------------


class Row:
    def __init__(self, name):
        self.name, self.samples = name, []

    def add(self, rate, label):
        self.samples.append((rate, label))

    def median(self):
        near = [rate for rate, label in self.samples if label == "near"]
        return statistics.median(near or [rate for rate, _ in self.samples])

    def text(self, beside):
        labels = [label for _, label in self.samples]
        share = "" if beside is self else f"{self.median() / beside.median():9.2f}"
        return (f"{self.name:34s}{self.median():9.1f}{share:9s}   "
                f"{labels.count('near')} of {len(labels)} near")


def measure_memif(samples, seconds, zero_copy):
    bare, write, read = (Row(name) for name in ("memif, bare frames", "WRITE of 1 MiB over it",
                                                "READ of 1 MiB over it"))
    zero_copy = "," + ZERO_COPY if zero_copy else ""
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(samples):
            with two_services(memif_devices(directory, zero_copy)) as (hosts, near):
                for operation, row in (("write", write), ("read", read)):
                    row.add(*perf(hosts, near, operation, seconds))
            # Nothing probes the distance of its CPUs: that of the sample before.
            bare.add(bare_memif(zero_copy, seconds), write.samples[-1][1])
    return bare, write, read


def measure_veth(samples, seconds):
    rows = [Row(name) for name in ("veth of MTU 4300, one TCP stream", "WRITE of 1 MiB over it",
                                   "READ of 1 MiB over it")]
    address = "192.168.91.2"
    devices = {"near": two_hosts.AF_PACKET, "far": two_hosts.AF_PACKET}
    with two_services(devices) as (hosts, near):
        hosts.far.run("ip", "address", "add", address + "/24", "dev", "wire0")
        hosts.near.run("ip", "address", "add", "192.168.91.1/24", "dev", "wire0")
        for _ in range(samples):
            for operation, row in (("write", rows[1]), ("read", rows[2])):
                row.add(*perf(hosts, near, operation, seconds))
            rows[0].add(tcp_stream(hosts, address, seconds), rows[1].samples[-1][1])
    return rows


def main():
    if sys.argv[1:2] == ["--tcp-receive"]:
        return tcp_receive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    if sys.argv[1:2] == ["--tcp-send"]:
        return tcp_send(sys.argv[2], int(sys.argv[3]))
    print(f"{'':34s}{'Gb/s':>9s}{'share':>9s}", flush=True)
    for rows in (measure_memif(OPTIONS.samples, OPTIONS.seconds, OPTIONS.zero_copy),
                 measure_veth(OPTIONS.samples, OPTIONS.seconds)):
        for row in rows:
            print(row.text(rows[0]), flush=True)
    return 0


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("--samples", default=5, type=int)
    parser.add_argument("--seconds", default=1.0, type=float)
    parser.add_argument("--zero-copy", action="store_true")
    return parser.parse_known_args()[0]


OPTIONS = options()
BUILD = OPTIONS.build
os.environ["VRDMA_BUILD"] = str(BUILD)  # which the harness reads when it is imported

from harness import two_hosts  # noqa: E402
from lab import pair, ports  # noqa: E402
from lab.service import Service  # noqa: E402
from lab.tree import Tree  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
