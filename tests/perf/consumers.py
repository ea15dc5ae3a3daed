#!/usr/bin/env python3
"""UCX and Open MPI over vNICs, beside the same programs over TCP and shared memory: one table.

    tests/perf/consumers.py [--build build/release] [--samples 5] [--quick]

Two vNICs of one vrdmad, one process on each; medians of the samples. For an idle machine with three
CPUs or more: both programs and the service's worker spin. Needs ucx-utils, openmpi-bin and
python3-mpi4py."""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from lab import pair, ports  # noqa: E402
from lab.service import Service  # noqa: E402
from lab.tree import Tree  # noqa: E402

# Name in the table -> UCX_TLS.
WAYS = {"rc": "rc_v,self", "ud": "ud_v,self", "tcp": "tcp,self", "shm": "posix,sysv,cma,self"}
SIZES = (8, 4096, 65536, 1 << 20)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("--samples", default=5, type=int)
    parser.add_argument("--quick", action="store_true", help="few messages: does it work")
    options = parser.parse_args()
    scale = 50 if options.quick else 1
    service = Service(Tree.built(options.build))
    service.start()
    try:
        measure(service, options.samples, scale)
    finally:
        service.stop()
        service.remove()


def measure(service, samples, scale):
    print(f"{'':34s}" + "".join(f"{way:>10s}" for way in WAYS))
    for size in SIZES:
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
