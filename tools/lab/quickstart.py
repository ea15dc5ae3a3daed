"""tools/quickstart after the build: one vrdmad, two vNICs, the distribution's programs, one table."""

import dataclasses
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys

from lab import pair, ports, processes, tcp_stream
from lab.service import Service, ServiceFailed
from lab.tree import Tree

KIB, MIB = 1 << 10, 1 << 20
LATENCY_SIZES = (8, 4 * KIB)
STREAM_SIZES = (64 * KIB, MIB)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Trouble(Exception):
    pass


@dataclasses.dataclass
class Row:
    operation: str
    size: int
    gigabytes: float = None  # per second
    messages: float = None  # millions per second
    p50: float = None  # microseconds
    p99: float = None
    note: str = ""


def say(text):
    print(text, file=sys.stderr, flush=True)


# -- the programs ---------------------------------------------------------------------------------

def run_pair(service, program, *options, timeout=60.0, while_running=None):
    """The client's output."""
    port = ports.free_port()
    words = [program, "-p", port, *options]
    server = [*service.run_prefix("tenant-a"), *words]
    client = [*service.run_prefix("tenant-b"), *words, "127.0.0.1"]
    with pair.Pair(server, client, port, timeout=timeout) as running:
        if while_running is not None:
            while_running(running)
        ended = running.finish()
    if not ended.succeeded():
        raise Trouble(f"{program} failed\n{ended.describe()}--- vrdmad\n{service.log_text()}")
    return ended.client.output


def result_line(output, columns):
    """The numbers of perftest's last result."""
    found = None
    for line in output.splitlines():
        words = line.split()
        if len(words) >= columns and all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words):
            found = [float(word) for word in words]
    if found is None:
        raise Trouble("no result in the output of perftest\n" + output)
    return found


def bandwidth(service, program, size, iterations):
    output = run_pair(service, program, "-F", "-s", size, "-n", iterations, "-N", "--report_gbits")
    _, _, _, gigabits, messages = result_line(output, 5)[:5]
    return Row(program, size, gigabytes=gigabits / 8, messages=messages)


def latency(service, program, size, iterations):
    output = run_pair(service, program, "-F", "-s", size, "-n", iterations)
    # bytes iterations min max typical average deviation 99% 99.9%; typical is the median.
    values = result_line(output, 9)
    return Row(program, size, p50=values[4], p99=values[7], messages=0.5 / values[5])


def pingpong(service, size, iterations):
    output = run_pair(service, "ibv_rc_pingpong", "-g", 3, "-s", size, "-n", iterations)
    match = re.search(r"([\d.]+) usec/iter", output)
    if match is None:
        raise Trouble("no result in the output of ibv_rc_pingpong\n" + output)
    one_way = float(match[1]) / 2
    return Row("ibv_rc_pingpong", size, p50=one_way, messages=0.5 / one_way if one_way else None,
               note="mean")


def memory_kinds(service):
    """What vrdmactl mr list says while a transfer is running."""
    regions = []

    def look(running):
        while not regions and running.client is not None and running.client.poll() is None:
            regions.extend(service.ctl_json("mr", "list")["mrs"])

    run_pair(service, "ib_write_bw", "-F", "-s", MIB, "-n", 2000, "-N", while_running=look)
    totals = {}
    for region in regions:
        for kind, count in region["bytes"].items():
            totals[kind] = totals.get(kind, 0) + count
    return {kind: count for kind, count in totals.items() if count}


# -- the peers ------------------------------------------------------------------------------------

def vrdma_perf(service):
    """Latency of WRITE from one process, and of a GET over TCP; one JSON document."""
    command = [*service.run_prefix("tenant-a"), service.tree.vrdma_perf, "--loopback", "--peers",
               "--measure", "latency", "--sizes", ",".join(map(str, LATENCY_SIZES)),
               "--samples", "5", "--duration", "0.1", "--json"]
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:  # else the two ends of the TCP peer may spin on one
        command += ["--cpu", f"{cpus[0]},{cpus[1]}"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=60, check=False)
    if done.returncode != 0:
        raise Trouble(f"vrdma-perf ended with status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


@dataclasses.dataclass
class Peers:
    get: dict  # size -> {"spinning": (p50, p99), "blocking": (p50, p99)}, microseconds one way
    stream: dict  # size -> {"spinning": GB/s, "blocking": GB/s}
    distance: str


def measure_peers(document):
    get = {}
    for point in document["points"]:
        get[point["size_bytes"]] = {
            name: tuple(point["peers"]["tcp_get_" + name]["median_of_samples"][key] / 2000
                        for key in ("p50_ns", "p99_ns"))
            for name in ("spinning", "blocking")}
    stream = {size: {"spinning": tcp_stream.gigabytes_per_second(size, True),
                     "blocking": tcp_stream.gigabytes_per_second(size, False)}
              for size in STREAM_SIZES}
    return Peers(get, stream, document["points"][0]["latency"]["distance"])


def own_rows(document):
    for point in document["points"]:
        stats = point["latency"]["median_of_samples"]
        yield Row("vrdma-perf write", point["size_bytes"], p50=stats["p50_ns"] / 1000,
                  p99=stats["p99_ns"] / 1000, note="one process")


# -- the table ------------------------------------------------------------------------------------

def size_text(size):
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def number(value):
    """Three significant digits, or all before the point."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def table(rows, peers):
    lines = [["", "", "vRDMA", "", "", "", "TCP spinning", "", "TCP blocking", ""],
             ["operation", "size", "GB/s", "Mmsg/s", "p50 us", "p99 us",
              "GB/s", "p50 us", "GB/s", "p50 us"]]
    for row in rows:
        stream = peers.stream.get(row.size, {}) if row.gigabytes is not None else {}
        get = peers.get.get(row.size, {}) if row.p50 is not None else {}
        half = 1 if row.note != "one process" else 2  # post to completion is a whole round trip
        cells = [row.operation + (f" ({row.note})" if row.note else ""), size_text(row.size),
                 number(row.gigabytes), number(row.messages), number(row.p50), number(row.p99)]
        for name in ("spinning", "blocking"):
            p50 = get[name][0] * half if name in get else None
            cells += [number(stream.get(name)), number(p50)]
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines[1:]) for column in range(len(lines[1]))]
    text = []
    for index, line in enumerate(lines):
        if index == 0:
            left = sum(widths[:2]) + 4
            text.append(" " * left + f"{'vRDMA':-^{sum(widths[2:6]) + 6}}  "
                        f"{'TCP spinning':-^{sum(widths[6:8]) + 2}}  "
                        f"{'TCP blocking':-^{sum(widths[8:]) + 2}}")
        else:
            text.append("  ".join([line[0].ljust(widths[0])] +
                                  [cell.rjust(width) for cell, width in
                                   zip(line[1:], widths[1:])]).rstrip())
    return "\n".join(text)


def cpu_model():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def header(service, peers, load):
    cpus = len(os.sched_getaffinity(0))
    memory = re.search(r'memory="([^"]*)"', service.ready_line)
    crowded = " With fewer than three CPUs they take turns, which the latencies show." \
        if cpus < 3 else ""
    if load > cpus / 2:
        crowded += "\nbusy      other programs were running too: measure again when they are done."
    apart = "near each other" if peers.distance == "near" else "far from each other"
    return (f"machine   {cpus} CPUs ({cpu_model()}), Linux {platform.release()}, "
            f"load {load:.1f} before; two CPUs are {apart}\n"
            f"service   {service.ready_line.split(' ready')[0]}, one worker, adaptive; "
            f"{memory[1] if memory else ''}\n"
            f"programs  perftest spins: both ends and the service's worker want a CPU each."
            f"{crowded}")


FOOTER = """\
p50 and p99 of ib_*_lat, and the mean of ibv_rc_pingpong, are half a round trip, as these programs
report them; beside them TCP has half of a GET: 8 bytes there, the data back. "one process" is
from ibv_post_send to the completion, with nobody else spinning; beside it a whole GET.
TCP GB/s is one stream of blocks of that size. "spinning": both ends poll non-blocking sockets;
"blocking": both sleep in the kernel, what programs do today."""


def measure(service):
    rows = []

    def step(row):
        rows.append(row)
        value = f"{row.gigabytes:.2f} GB/s" if row.gigabytes is not None else f"{row.p50:.2f} us"
        say(f"   {row.operation:<18} {size_text(row.size):>8}  {value}")

    say("== the distribution's programs, from tenant-b to tenant-a")
    step(bandwidth(service, "ib_write_bw", 8, 20000))
    for size, iterations in zip(STREAM_SIZES, (10000, 2000)):
        step(bandwidth(service, "ib_write_bw", size, iterations))
    for size, iterations in zip(STREAM_SIZES, (10000, 2000)):
        step(bandwidth(service, "ib_read_bw", size, iterations))
    for program in ("ib_write_lat", "ib_send_lat"):
        for size in LATENCY_SIZES:
            step(latency(service, program, size, 300))
    step(pingpong(service, 4 * KIB, 300))
    kinds = memory_kinds(service)
    say("== the same over TCP, and vRDMA from one process (vrdma-perf)")
    document = vrdma_perf(service)
    for row in own_rows(document):
        step(row)
    return rows, kinds, measure_peers(document)


def show(service):
    load = os.getloadavg()[0]
    rows, kinds, peers = measure(service)
    print()
    print(header(service, peers, load))
    print()
    print(table(rows, peers))
    print()
    print(FOOTER)
    described = {"shared": "shared already", "adopted": "adopted: moved in place into shared memory",
                 "process": "reached through the process"}
    print("memory: " + ("; ".join(f"{size_text(count)} {described.get(kind, kind)}"
                                  for kind, count in kinds.items()) or "none seen") +
          " (vrdmactl mr list, docs/memory.md)")


def on_signal(_number, _frame):
    raise KeyboardInterrupt


def config(runtime_dir):
    return f"""[service]
runtime_dir = "{runtime_dir}"
system_view = false
[[network]]
name = "blue"
id = 10
[[vnic]]
name = "tenant-a"
network = "blue"
address = "10.0.0.1"
[[vnic]]
name = "tenant-b"
network = "blue"
address = "10.0.0.2"
"""


def main():
    service = None
    for number in SIGNALS:
        signal.signal(number, on_signal)
    status, ended, left = 1, 0, []
    try:
        with processes.uninterrupted():
            service = Service(Tree.built(os.environ["VRDMA_BUILD"]), config)
        say(f"== starting vrdmad in {service.base}")
        service.start()
        show(service)
        status = 0
    except (Trouble, ServiceFailed, OSError, subprocess.TimeoutExpired) as error:
        say(f"quickstart: {error}")
    except KeyboardInterrupt:
        say("interrupted")
        status = 130
    finally:
        # A second Ctrl-C must not cut this short.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if service is not None:
            ended = service.stop()
            left = service.left_behind()
            service.remove()
    if left or (ended != 0 and status == 0):
        say(f"quickstart: vrdmad ended with status {ended}; left behind: {'; '.join(left) or '-'}")
        status = 1
    elif status == 0:
        print("vrdmad stopped; nothing is left behind")
    return status


if __name__ == "__main__":
    sys.exit(main())
