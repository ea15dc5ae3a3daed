"""The distribution's perftest over the device: its eight programs, over the transports that carry
them, with the options people use. Both ends must succeed and report every size.

Iterations are few: three processes spin (both ends and the service's worker), on as few as two CPUs.

Which combinations do not exist in perftest 4.5:
  * UC carries WRITE and SEND, UD only SEND; READ and atomics need RC or XRC.
  * -e (sleep on events) is refused by ib_write_bw and ib_write_lat: their receiver has no completions.
  * -b, -q, -l are options of the _bw programs; a _lat program has one queue pair and one message.
  * -I (inline) is for WRITE and SEND. --use-srq is for SEND.
  * -n must be a multiple of -l. -a over UD ends at the MTU.
  * Atomics have one size, 8 bytes."""

import functools
import re

from harness.suite import Service, Suite, check, equal

suite = Suite("perftest", Service())

ALL_SIZES = [1 << power for power in range(1, 24)]
UD_SIZES = [size for size in ALL_SIZES if size <= 4096]


def rows(text):
    """Sizes in the result table: lines of at least five numbers."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words):
            found.append(int(words[0]))
    return found


def perftest(ctx, program, options, sizes):
    ended = ctx.pair_succeeds(program, "-F", *options, timeout=175)
    equal(rows(ended.client.output), sizes, "the sizes that the client reports")
    for side in (ended.client, ended.server):
        check("error" not in side.output.lower(), "there is an error message")


def add(name, program, options, sizes, slow=False):
    suite.add(name, functools.partial(perftest, program=program, options=options, sizes=sizes),
              timeout=180, slow=slow)


def all_sizes(verb, kind, transport):
    sizes = UD_SIZES if transport == "UD" else ALL_SIZES
    iterations = 50 if kind == "bw" else 10
    add(f"{verb}_{kind}_{transport.lower()}_all_sizes", f"ib_{verb}_{kind}",
        ["-c", transport, "-a", "-n", iterations], sizes, slow=True)


for verb, transports in (("write", ("RC", "UC")), ("read", ("RC",)), ("send", ("RC", "UC", "UD"))):
    for transport in transports:
        name = f"{verb}_{{}}_{transport.lower()}"
        all_sizes(verb, "bw", transport)
        all_sizes(verb, "lat", transport)
        small = ["-c", transport, "-s", 2048]
        add(name.format("bw"), f"ib_{verb}_bw", [*small, "-n", 200], [2048])
        add(name.format("bw") + "_both_ways", f"ib_{verb}_bw", [*small, "-b", "-n", 200], [2048])
        add(name.format("bw") + "_8_queue_pairs", f"ib_{verb}_bw", [*small, "-q", 8, "-n", 200],
            [2048])
        add(name.format("bw") + "_lists_of_16", f"ib_{verb}_bw", [*small, "-l", 16, "-n", 160],
            [2048])
        add(name.format("lat"), f"ib_{verb}_lat", [*small, "-n", 50], [2048])
    if verb != "read":
        for inline in (0, 64):
            for kind in ("bw", "lat"):
                add(f"{verb}_{kind}_inline_{inline}", f"ib_{verb}_{kind}",
                    ["-I", inline, "-s", 64, "-n", 50], [64])

for transport in ("RC", "UC", "UD"):
    for kind in ("bw", "lat"):
        add(f"send_{kind}_{transport.lower()}_events", f"ib_send_{kind}",
            ["-c", transport, "-e", "-s", 1024, "-n", 100], [1024])
add("send_bw_both_ways_events", "ib_send_bw", ["-b", "-e", "-s", 1024, "-n", 100], [1024])
add("read_bw_events", "ib_read_bw", ["-e", "-s", 1024, "-n", 100], [1024])
add("read_lat_events", "ib_read_lat", ["-e", "-s", 1024, "-n", 100], [1024])

for transport in ("RC", "UD"):
    for kind in ("bw", "lat"):
        add(f"send_{kind}_{transport.lower()}_srq", f"ib_send_{kind}",
            ["-c", transport, "--use-srq", "-s", 1024, "-n", 100], [1024])
add("send_bw_srq_8_queue_pairs", "ib_send_bw", ["--use-srq", "-q", 8, "-s", 1024, "-n", 100], [1024])

for operation in ("FETCH_AND_ADD", "CMP_AND_SWAP"):
    for kind in ("bw", "lat"):
        add(f"atomic_{kind}_{operation.lower()}", f"ib_atomic_{kind}",
            ["-A", operation, "-n", 100], [8])
for verb in ("write", "read", "send"):
    for kind in ("bw", "lat"):
        add(f"{verb}_{kind}_xrc", f"ib_{verb}_{kind}",
            ["-c", "XRC", "-s", 16385, "-n", 100 if kind == "bw" else 50], [16385])
for kind in ("bw", "lat"):
    add(f"send_{kind}_xrc_events", f"ib_send_{kind}",
        ["-c", "XRC", "-e", "-s", 1024, "-n", 100], [1024])
    add(f"send_{kind}_xrc_srq", f"ib_send_{kind}",
        ["-c", "XRC", "--use-srq", "-s", 1024, "-n", 100], [1024])
    add(f"atomic_{kind}_xrc", f"ib_atomic_{kind}", ["-c", "XRC", "-n", 100], [8])
add("send_bw_xrc_both_ways", "ib_send_bw", ["-c", "XRC", "-b", "-s", 2048, "-n", 200], [2048])
add("send_bw_xrc_8_queue_pairs", "ib_send_bw", ["-c", "XRC", "-q", 8, "-s", 2048, "-n", 100],
    [2048])
all_sizes("send", "bw", "XRC")

add("atomic_bw_both_ways", "ib_atomic_bw", ["-b", "-n", 100], [8])
add("atomic_bw_8_queue_pairs", "ib_atomic_bw", ["-q", 8, "-n", 100], [8])
add("atomic_bw_lists_of_16", "ib_atomic_bw", ["-l", 16, "-n", 160], [8])
add("atomic_bw_events", "ib_atomic_bw", ["-e", "-n", 100], [8])
add("atomic_lat_events", "ib_atomic_lat", ["-e", "-n", 100], [8])

add("write_bw_all_sizes_both_ways", "ib_write_bw", ["-a", "-b", "-n", 50], ALL_SIZES, slow=True)
add("send_bw_all_sizes_lists_of_16", "ib_send_bw", ["-a", "-l", 16, "-n", 160], ALL_SIZES, slow=True)
add("write_bw_mtu_256", "ib_write_bw", ["-m", 256, "-s", 10000, "-n", 100], [10000])
add("write_bw_cq_moderation", "ib_write_bw", ["-Q", 50, "-s", 4096, "-n", 200], [4096])
add("write_bw_memory_region_for_each_queue_pair", "ib_write_bw",
    ["-q", 4, "--mr_per_qp", "-s", 4096, "-n", 100], [4096])
add("write_bw_for_a_second", "ib_write_bw", ["-D", 1, "-s", 65536], [65536])
