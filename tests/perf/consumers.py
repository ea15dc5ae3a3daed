#!/usr/bin/env python3
"""UCX, Open MPI and NCCL over vNICs, beside the same programs over TCP and shared memory: two tables.

    tests/perf/consumers.py [--build build/release] [--samples 5] [--quick] [--nccl LIBRARY]

Two vNICs of one vrdmad, one process on each; medians of the samples. For an idle machine with three
CPUs or more: both programs and the service's worker spin. Needs ucx-utils, openmpi-bin and
python3-mpi4py, and for the second table libnccl.so.2: the one given, or the newest release that the
tests use, from the build folder or fetched, or the one that is installed. NCCL's transport IB is
driven without a GPU (tests/interop/nccl), beside its transport Socket over the loopback device."""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

from interop.nccl import libraries  # noqa: E402
from lab import pair, ports  # noqa: E402
from lab.service import Service  # noqa: E402
from lab.tree import Tree  # noqa: E402

# Name in the table -> UCX_TLS.
WAYS = {"rc": "rc_v,self", "ud": "ud_v,self", "tcp": "tcp,self", "shm": "posix,sysv,cma,self"}
SIZES = (8, 4096, 65536, 1 << 20)
NCCL_COLUMNS = ("IB msg/s", "IB GB/s", "Socket msg/s", "Socket GB/s")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's mpi4py

PINGPONG = """
import sys, time
from mpi4py import MPI
world, size, count = MPI.COMM_WORLD, int(sys.argv[1]), int(sys.argv[2])
data = bytearray(size)
for turn in range(count + count // 10):
    if turn == count // 10:
        world.Barrier()
        start = time.perf_counter()
    if world.rank == 0:
        world.Send(data, 1)
        world.Recv(data, 1)
    else:
        world.Recv(data, 0)
        world.Send(data, 0)
if world.rank == 0:
    print("half", (time.perf_counter() - start) / count / 2 * 1e6)
"""


def environment(way):
    # Device names bind the network transports only; shared memory has its own.
    return {**os.environ, "UCX_TLS": WAYS[way], "UCX_LOG_LEVEL": "info"}


def on(service, vnic, way):
    return [str(word) for word in service.run_prefix(vnic)] if way in ("rc", "ud") else []


def checked(output, way):
    """What UCX says it took must be what was asked for."""
    lanes = set(re.findall(r"[ (]([a-z_0-9]+)/", " ".join(re.findall(r"ep_cfg.*", output))))
    wanted = {"rc": "rc_verbs", "ud": "ud_verbs", "tcp": "tcp"}.get(way)
    if not lanes or (wanted and wanted not in lanes):
        sys.exit(f"UCX took {sorted(lanes)} for {way}:\n{output}")
    return output


def perftest(service, way, test, size, count):
    """tag_lat: half a round trip in microseconds; tag_bw: MB/s."""
    port = ports.free_port()
    command = ["ucx_perftest", "-p", str(port), "-t", test, "-s", str(size), "-n", str(count),
               "-w", str(max(count // 10, 2)), "-f", "-v"]
    os.environ.update(environment(way))
    ended = pair.run_pair([*on(service, "a", way), *command],
                          [*on(service, "b", way), *command, "127.0.0.1"], port, timeout=120)
    if not ended.succeeded():
        sys.exit(ended.describe())
    row = re.search(r"^,?\s*\d+((?:,[0-9.a-z]+){7})\s*$", checked(ended.client.output, way), re.M)
    columns = [float(value) for value in row.group(1)[1:].split(",")]
    return columns[0] if test == "tag_lat" else columns[4]


def mpi(service, way, size, count):
    rank = [PYTHON, "-m", "mpi4py", "-c", PINGPONG, str(size), str(count)]
    done = subprocess.run(
        ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "plm",
         "isolated", "--mca", "pml", "ucx", "--mca", "opal_common_ucx_tls", "any", "--mca",
         "opal_common_ucx_devices", "any", "--mca", "osc", "ucx", "--mca", "btl", "self",
         "-np", "1", *on(service, "a", way), *rank, ":",
         "-np", "1", *on(service, "b", way), *rank],
        env=environment(way), capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"^half ([0-9.]+)", checked(done.stdout, way), re.M)
    if done.returncode != 0 or found is None:
        sys.exit(done.stdout + done.stderr)
    return float(found.group(1))


def find_nccl(build):
    """The library, or the reason why there is none."""
    reasons = []
    for find in (lambda: libraries.release(build / "nccl", libraries.RELEASES[-1]),
                 libraries.installed):
        try:
            return find(), ""
        except libraries.Unavailable as reason:
            reasons.append(str(reason))
    return None, "; ".join(reasons)


def nccl_once(service, build, library, sizes, scale):
    """{size: [messages and GB per second of IB, the same of Socket]}"""
    port = ports.free_port()
    command = [str(build / "tests/interop/nccl/vrdma-nccl-net"), "--library", str(library), "-p",
               str(port), "--mode", "bench", "--sizes", ",".join(map(str, sizes)),
               "--messages", str(max(50000 // scale, 64)), "--megabytes", str(max(1024 // scale, 1))]
    os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    ended = pair.run_pair([*map(str, service.run_prefix("a")), *command],
                          [*map(str, service.run_prefix("b")), *command, "127.0.0.1"], port,
                          timeout=180)
    if not ended.succeeded():
        sys.exit(ended.describe())
    rows = re.findall(r"^ *(\d+)((?: +[0-9.]+){5})$", ended.client.output, re.MULTILINE)
    found = {int(size): [float(value) for value in values.split()][:4] for size, values in rows}
    if list(found) != sizes:
        sys.exit(f"not the table that was expected:\n{ended.client.output}")
    return found


def measure_nccl(service, build, library, sizes, samples, scale):
    found = [nccl_once(service, build, library, sizes, scale) for _ in range(samples)]
    print(f"\nNCCL's transports, one way, 16 messages under way ({library})")
    print(f"{'bytes':>8s}" + "".join(f"{name:>14s}" for name in NCCL_COLUMNS) + f"{'ratio':>8s}")
    for size in sizes:
        medians = [statistics.median(sample[size][column] for sample in found)
                   for column in range(len(NCCL_COLUMNS))]
        print(f"{size:8d}" + "".join(f"{value:14.0f}" if column % 2 == 0 else f"{value:14.3f}"
                                     for column, value in enumerate(medians)) +
              f"{medians[0] / medians[2]:8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("--samples", default=5, type=int)
    parser.add_argument("--quick", action="store_true", help="few messages: does it work")
    parser.add_argument("--nccl", type=pathlib.Path, metavar="LIBRARY", help="libnccl.so.2")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="BYTES")
    parser.add_argument("--only", choices=("ucx", "nccl"), help="one of the tables")
    options = parser.parse_args()
    options.build = options.build.resolve()
    scale = 50 if options.quick else 1
    service = Service(Tree.built(options.build))
    service.start()
    try:
        if options.only != "nccl":
            measure(service, options.sizes, options.samples, scale)
        library, reason = (options.nccl, "") if options.nccl else find_nccl(options.build)
        if options.only != "ucx" and library is not None:
            measure_nccl(service, options.build, library, options.sizes, options.samples,
                         scale)
        elif options.only != "ucx":
            print(f"\nno table of NCCL: {reason}")
    finally:
        service.stop()
        service.remove()


def measure(service, sizes, samples, scale):
    print(f"{'':34s}" + "".join(f"{way:>10s}" for way in WAYS))
    for size in sizes:
        count = max(min(20000, (1 << 31) // size // 8) // scale, 4)
        for name, run in (
                ("tag_lat, half a trip, us",
                 lambda way: perftest(service, way, "tag_lat", size, count)),
                ("tag_bw, MB/s", lambda way: perftest(service, way, "tag_bw", size, count)),
                ("MPI, half a trip, us", lambda way: mpi(service, way, size, count))):
            # Interleaved, so that a busy moment meets all of them.
            found = {way: [] for way in WAYS}
            for _ in range(samples):
                for way in WAYS:
                    found[way].append(run(way))
            print(f"{size:8d} {name:25.32s}"[:34].ljust(34) +
                  "".join(f"{statistics.median(found[way]):10.2f}" for way in WAYS), flush=True)


if __name__ == "__main__":
    main()
