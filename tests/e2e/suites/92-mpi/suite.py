"""Open MPI as Debian ships it, over UCX (pml ucx, osc ucx) and so over vNICs. verify.py, an mpi4py
program, knows what every byte must be.

mpi         ranks on two vNICs of one host
mpi_wire    on two hosts

The ranks' endpoints are made of rc_verbs or ud_verbs only, as UCX's log says, and the vNICs must
have counted the bytes. mpirun and its daemons talk over the loopback interface, whatever network the
services are in."""

import os
import pathlib
import re

from harness import consumers
from harness.e2e import SOURCE
from harness.suite import Failed, Service, Suite, check, contains

PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's mpi4py
PROGRAM = pathlib.Path(__file__).with_name("verify.py")
# Exactly these components: Open MPI would rather use TCP or shared memory than fail.
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "plm",
          "isolated", "--mca", "pml", "ucx", "--mca", "osc", "ucx", "--mca", "btl", "self", "--mca",
          "mpi_yield_when_idle", "1")

needs = consumers.programs("mpirun", files=[PYTHON,
                                            "/usr/lib/python3/dist-packages/mpi4py/__init__.py"])
same = Suite("mpi", Service(), needs=needs)
wire = consumers.on_two_hosts("mpi_wire", "vrdma", needs)

# What all ranks together send at least; the rest of a part is small against it.
MOVED = {"point_to_point": 5 << 20, "collectives": 1_900_000, "one_sided": 1 << 19}


def job(ctx, transport, part, ranks):
    # Not mpirun's -x, which counts for the first of the commands only.
    os.environ.update(UCX_TLS=f"{transport},self", UCX_NET_DEVICES="vrdma0:1", UCX_LOG_LEVEL="info")
    places = []
    for rank in range(ranks):
        places += [":"] if places else []
        places += ["-np", 1, consumers.on(ctx, "ab"[rank % 2]), PYTHON, "-m", "mpi4py", PROGRAM,
                   part]
    with consumers.moving(ctx, at_least=MOVED[part] * ranks):
        output = ctx.succeeds(*MPIRUN, *places, timeout=80)
    contains(output, f"{part}: every value right, {ranks} ranks")
    lanes = set(re.findall(r"([a-z_0-9]+)/(?:vrdma0:1|[a-z]+0?)\b",
                           " ".join(re.findall(r"ep_cfg\[\d+\]: (.*)", output))))
    verbs = {"rc_v": "rc_verbs", "ud_v": "ud_verbs"}[transport]
    check(verbs in lanes, f"UCX chose {sorted(lanes)}, expected {verbs}")
    if not lanes <= {"rc_verbs", "ud_verbs", "self"}:
        raise Failed(f"UCX chose {sorted(lanes)}, expected vNICs only")


def add(suite, transport, part, ranks):
    suite.add(f"{part}_{transport.removesuffix('_v')}_{ranks}_ranks",
              lambda ctx: job(ctx, transport, part, ranks), timeout=100)


for part in MOVED:
    add(same, "rc_v", part, 2)
    add(same, "rc_v", part, 4)
    add(wire, "rc_v", part, 4)
add(same, "ud_v", "point_to_point", 2)
add(same, "ud_v", "collectives", 4)


@same.case(timeout=60)
def wrong_value_ends_the_job_with_an_error(ctx):
    """What the other cases rely on: one rank finds one value wrong."""
    words = ("from mpi4py import MPI; import sys; sys.argv = ['x', 'none']; "
             f"sys.path[0:0] = ['{PROGRAM.parent}']; import verify; "
             "verify.expect(b'a' * verify.RANK, b'', 'this one')")
    os.environ["UCX_TLS"] = "rc_v,self"
    ended = ctx.run(*MPIRUN, "-np", 2, consumers.on(ctx, "a"), PYTHON,
                    "-m", "mpi4py", "-c", words, timeout=50)
    check(ended.status not in (0, None), "the job did not fail")
    contains(ended.output, "rank 1: this one: 1 bytes, expected 0")


wire.add("other_service_ends_cleanly", consumers.two_hosts.other_service_is_alive_and_ends_cleanly)

@same.case(timeout=100)
def table_of_consumers_can_be_measured(ctx):
    """tests/perf/consumers.py with few messages; its numbers are nobody's business here."""
    consumers.programs("ucx_perftest")()
    output = ctx.succeeds("python3", SOURCE / "tests/perf/consumers.py", "--build",
                          ctx.places.build, "--quick", "--samples", 1, "--sizes", 4096, timeout=90)
    for name in ("tag_lat, half a trip, us", "tag_bw, MB/s", "MPI, half a trip, us"):
        check(re.search(rf"^ +4096 {name}( +[0-9.]+){{4}}$", output, re.MULTILINE),
              f"the row of {name} is missing")
    check(re.search(r"^ +4096( +[0-9.]+){5}$", output, re.MULTILINE) or
          "no table of NCCL: " in output, "there is neither NCCL's row nor the reason")
