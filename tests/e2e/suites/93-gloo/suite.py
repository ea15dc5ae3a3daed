"""gloo's own ibverbs transport, from Debian's libgloo: vrdma-gloo-verify checks every value.

gloo        ranks on two vNICs of one host
gloo_wire   on two hosts"""

import shutil
import tempfile

from harness import consumers, two_hosts
from harness.suite import Service, Suite, check, contains

PROGRAM = two_hosts.BUILD / "tests/e2e/gloo_verify/vrdma-gloo-verify"
needs = consumers.programs(files=[PROGRAM])
same = Suite("gloo", Service(), needs=needs)
wire = consumers.on_two_hosts("gloo_wire", "vrdma", needs)

# Two allreduces and a broadcast of up to 300000 values of 8 bytes, five times or from each rank.
MOVED_BY_A_RANK = 5 * 300_000 * 8


def every_value_is_right(ctx, ranks):
    store = tempfile.mkdtemp(dir=ctx.service.base)
    with consumers.moving(ctx, at_least=MOVED_BY_A_RANK * ranks):
        others = [ctx.start(consumers.on(ctx, "ab"[rank % 2]), PROGRAM, rank, ranks, store)
                  for rank in range(1, ranks)]
        output = ctx.succeeds(consumers.on(ctx, "a"), PROGRAM, 0, ranks, store, timeout=50)
        contains(output, f"rank 0 of {ranks}: every value right")
        for rank, process in enumerate(others, 1):
            status = process.wait(20)
            check(status == 0, f"rank {rank}: exit status {status}, expected 0")
    shutil.rmtree(store)


for ranks in (2, 3, 4):
    same.add(f"every_value_is_right_{ranks}_ranks",
             lambda ctx, n=ranks: every_value_is_right(ctx, n), timeout=75)
wire.add("every_value_is_right_4_ranks", lambda ctx: every_value_is_right(ctx, 4), timeout=75)
wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
