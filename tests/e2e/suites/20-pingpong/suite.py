"""rdma-core's example programs, ibv_{rc,uc,ud,srq,xsrq}_pingpong: polling and sleeping on completion
events, several sizes and path MTUs, received data checked (-c).

UD messages are at most the MTU. ibv_xsrq_pingpong has no check of the data, its -c are clients."""

import functools
import subprocess

from harness.suite import Service, Suite, check, contains
from lab import ports

suite = Suite("pingpong", Service())

MODES = {"polling": [], "events": ["-e"]}


def pingpong(ctx, kind, options):
    ended = ctx.pair_succeeds(f"ibv_{kind}_pingpong", "-g", 3, "-c", *options, timeout=55)
    for side in (ended.client, ended.server):
        contains(side.output, "usec/iter")
        check("invalid data" not in side.output, "the received data is wrong")


for mode, words in MODES.items():
    for kind in ("rc", "uc", "ud", "srq"):
        sizes = (1, 1024, 2048) if kind == "ud" else (1, 4096, 65537)
        for size in sizes:
            suite.add(f"{kind}_{mode}_{size}", functools.partial(
                pingpong, kind=kind, options=["-n", 100, "-s", size, *words]), timeout=60)
    suite.add(f"rc_{mode}_1MiB", functools.partial(
        pingpong, kind="rc", options=["-n", 20, "-r", 10, "-s", 1 << 20, *words]), timeout=60)

for mtu in (256, 512, 1024, 2048, 4096):
    suite.add(f"rc_mtu_{mtu}", functools.partial(
        pingpong, kind="rc", options=["-n", 50, "-m", mtu, "-s", 10000]), timeout=60)

suite.add("srq_64_queue_pairs", functools.partial(
    pingpong, kind="srq", options=["-n", 10, "-q", 64, "-s", 512]), timeout=60)
suite.add("rc_through_the_link_local_gid", functools.partial(
    lambda ctx: contains(ctx.pair_succeeds("ibv_rc_pingpong", "-g", 1, "-n", 50, "-c").client.output,
                         "GID fe80::")), timeout=60)


@suite.case(timeout=60)
def rc_with_the_new_post_send_api(ctx):
    pingpong(ctx, "rc", ["-n", 50, "-N"])


@suite.case(timeout=60)
def ten_thousand_round_trips(ctx):
    pingpong(ctx, "rc", ["-n", 10000, "-s", 64, "-e"])


def xsrq_pingpong(ctx, clients, options):
    port = ports.free_port()
    words = ["ibv_xsrq_pingpong", "-g", 3, "-p", port, *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = ctx.start(ctx.on("a"), words, "-c", clients, **output)
    check(ports.wait_until_listening(port, server), "the server does not listen")
    started = [ctx.start(ctx.on("b"), words, "127.0.0.1", **output) for _ in range(clients)]
    for process in (*started, server):
        text, _ = process.communicate(timeout=50)
        print(text, flush=True)
        check(process.returncode == 0, f"{process.args[-1]}: exit status {process.returncode}")
        contains(text, "success")


for mode, words in MODES.items():
    for clients in (1, 3):
        suite.add(f"xsrq_{mode}_{clients}_clients", functools.partial(
            xsrq_pingpong, clients=clients, options=["-n", 100, "-s", 4097, *words]), timeout=60)
