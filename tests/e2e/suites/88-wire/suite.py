"""Two services, each in a network namespace of its own, and a wire between them: whatever programs
do on one host must work between two. The programs' TCP connection has a wire of its own.

wire          veth and af_packet, both sides as toward a standard RoCEv2 device
wire_vrdma    the same between vRDMA hosts: selective repeat, congestion control
wire_memif    shared memory of DPDK instead of the kernel, vRDMA hosts
wire_auto     veth again, the services find out that both are vRDMA hosts

The suite's service ("near", vNIC a) is the client's, the surroundings' ("far", vNIC b) the
server's (harness/two_hosts.py). The suites 20-pingpong and 30-perftest have more of the same on
one host."""

import re
import signal

from harness.suite import check, contains, equal
from harness.two_hosts import (AF_PACKET, BUILD, config, make_suite,
                               other_service_is_alive_and_ends_cleanly, run_pair, running,
                               succeeds, suffering)

WIRE_VERIFY = BUILD / "tests/e2e/wire_verify/vrdma-wire-verify"
WIRE_ERROR = BUILD / "tests/e2e/wire_error/vrdma-wire-error"

roce = make_suite("wire", "roce")
vrdma = make_suite("wire_vrdma", "vrdma")
memif = make_suite("wire_memif", "vrdma", memif=True)
auto = make_suite("wire_auto", "auto")
SUITES = (roce, vrdma, memif)


def add(suites, name, run, *arguments, timeout=60, **options):
    for suite in suites:
        suite.add(name, lambda ctx: run(ctx, *arguments, **options), timeout=timeout)


# -- pingpongs -------------------------------------------------------------------------------------


def pingpong(ctx, kind, *options):
    ended = succeeds(ctx, f"ibv_{kind}_pingpong", "-g", 3, "-c", *options)
    for side in (ended.client, ended.server):
        contains(side.output, "usec/iter")
        check("invalid data" not in side.output, "the received data is wrong")


for mode, words in (("polling", []), ("events", ["-e"])):
    for kind in ("rc", "uc", "ud", "srq"):
        size = 2048 if kind == "ud" else 65537
        add(SUITES if mode == "events" else (roce,), f"{kind}_pingpong_{mode}", pingpong, kind,
            "-n", 100, "-s", size, *words)
for mtu in (256, 1024, 4096):
    add((roce, vrdma), f"rc_pingpong_mtu_{mtu}", pingpong, "rc", "-n", 50, "-s", 10001, "-m", mtu)


def xsrq_pingpong(ctx, *options):
    ended = succeeds(ctx, "ibv_xsrq_pingpong", "-g", 3, *options)
    for side in (ended.client, ended.server):
        contains(side.output, "success")


add(SUITES, "xsrq_pingpong_events", xsrq_pingpong, "-n", 100, "-s", 65537, "-e")

# -- perftest --------------------------------------------------------------------------------------


def rows(text):
    """Sizes in perftest's table of results."""
    return [int(line.split()[0]) for line in text.splitlines()
            if re.fullmatch(r"\s*\d+(\s+\d+(\.\d+)?){4,}\s*", line)]


def perftest(ctx, program, sizes, *options):
    ended = succeeds(ctx, program, "-F", *options)
    equal(rows(ended.client.output), sizes, "the sizes that the client reports")
    for side in (ended.client, ended.server):
        check("error" not in side.output.lower(), "there is an error message")


def add_perftest(suites, name, program, size, *options):
    add(suites, name, perftest, program, [size], "-s", size, *options)


for verb, transports in (("write", ("RC", "UC")), ("read", ("RC",)), ("send", ("RC", "UC", "UD"))):
    for transport in transports:
        name = f"{verb}_{{}}_{transport.lower()}"
        size = 16385 if transport == "RC" else 4096
        options = ["-c", transport]
        # What a busy receiver loses is lost for good but on RC: few enough for its ring.
        add_perftest(SUITES, name.format("bw"), f"ib_{verb}_bw", size, *options, "-n",
                     200 if transport == "RC" else 50)
        add_perftest((roce,), name.format("lat"), f"ib_{verb}_lat", 64, *options, "-n", 10)
        if transport != "RC":
            continue
        add_perftest(SUITES, name.format("bw") + "_both_ways", f"ib_{verb}_bw", size, "-b", "-n",
                     200)
        add_perftest(SUITES, name.format("bw") + "_8_queue_pairs", f"ib_{verb}_bw", size, "-q", 8,
                     "-n", 100)
        add_perftest((roce,), name.format("bw") + "_lists_of_16", f"ib_{verb}_bw", size, "-l", 16,
                     "-n", 160)
    if verb != "read":
        for inline in (0, 64):
            add_perftest((roce,), f"{verb}_lat_inline_{inline}", f"ib_{verb}_lat", 64, "-I", inline,
                         "-n", 10)

add_perftest((roce, vrdma), "send_bw_rc_events", "ib_send_bw", 1024, "-e", "-n", 500)
for transport in ("UC", "UD"):
    add_perftest((roce,), f"send_bw_{transport.lower()}_events", "ib_send_bw", 1024, "-c",
                 transport, "-e", "-n", 100)
for transport in ("RC", "UD"):
    add_perftest((roce, vrdma), f"send_bw_{transport.lower()}_srq", "ib_send_bw", 1024, "-c",
                 transport, "--use-srq", "-n", 100)
add_perftest((roce,), "send_lat_events", "ib_send_lat", 1024, "-e", "-n", 50)
add_perftest((roce,), "send_lat_srq", "ib_send_lat", 1024, "--use-srq", "-n", 50)
add_perftest((roce,), "read_bw_events", "ib_read_bw", 1024, "-e", "-n", 100)
add_perftest((roce,), "write_bw_mtu_256", "ib_write_bw", 10001, "-m", 256, "-n", 100)
for operation in ("FETCH_AND_ADD", "CMP_AND_SWAP"):
    for kind in ("bw", "lat"):
        suites = SUITES if kind == "bw" else (roce,)
        add(suites, f"atomic_{kind}_{operation.lower()}", perftest, f"ib_atomic_{kind}", [8], "-A",
            operation, "-n", 100)
add((roce,), "atomic_bw_both_ways", perftest, "ib_atomic_bw", [8], "-b", "-n", 100)
add((roce, vrdma), "atomic_bw_8_queue_pairs", perftest, "ib_atomic_bw", [8], "-q", 8, "-n", 50)

for verb in ("write", "read", "send"):
    add_perftest(SUITES, f"{verb}_bw_xrc", f"ib_{verb}_bw", 16385, "-c", "XRC", "-n", 200)
    add_perftest((roce,), f"{verb}_lat_xrc", f"ib_{verb}_lat", 64, "-c", "XRC", "-n", 10)
add_perftest((roce, vrdma), "send_bw_xrc_events", "ib_send_bw", 1024, "-c", "XRC", "-e", "-n", 100)
add((roce, vrdma), "atomic_bw_xrc", perftest, "ib_atomic_bw", [8], "-c", "XRC", "-n", 100)

# -- every byte ------------------------------------------------------------------------------------


def every_byte_is_right(ctx, transport, rounds, *options):
    ended = succeeds(ctx, WIRE_VERIFY, "-t", transport, "-n", rounds, "-q", 4, *options)
    contains(ended.client.output, "every byte right")
    contains(ended.server.output, "every byte right")
    return ended


for kind in ("rc", "ud"):
    add(SUITES, f"every_byte_of_{kind}_is_right", every_byte_is_right, kind, 200)


def lost_messages(ended):
    """How many of how many messages of UC were lost, both sides together."""
    found = [re.search(r"(\d+) of (\d+) messages to this side were lost", side.output)
             for side in (ended.client, ended.server)]
    check(all(found), "a side does not say how many messages were lost")
    lost, messages = (sum(int(match.group(i)) for match in found) for i in (1, 2))
    print(f"{lost} of {messages} messages were lost", flush=True)
    return lost, messages


def what_arrives_of_uc_is_right(ctx, rounds, most_lost, *options):
    """UC may lose; what arrives must be whole, in order and only once, and most must arrive."""
    lost, messages = lost_messages(every_byte_is_right(ctx, "uc", rounds, *options))
    check(lost <= most_lost * messages, f"more than {most_lost:.0%} were lost")
    return lost


add(SUITES, "every_byte_of_uc_that_arrives_is_right", what_arrives_of_uc_is_right, 100, 0.5)
add((roce, vrdma), "every_byte_of_rc_mtu_256_is_right", every_byte_is_right, "rc", 50, "-m", 256)

# -- faults ----------------------------------------------------------------------------------------

FAULTS = ("drop=0.01", "corrupt=0.001", "reorder=64", "reorder_share=0.01", "duplicate=0.01")


def faults(ctx):
    return suffering(ctx, *FAULTS, kinds=("dropped", "duplicated", "corrupted", "held_back"))


def every_byte_is_right_in_spite_of_faults(ctx, *options):
    with faults(ctx):
        every_byte_is_right(ctx, "rc", *options)


def what_arrives_of_uc_is_right_in_spite_of_faults(ctx):
    with faults(ctx):
        # Each round that loses something waits for it.
        lost = what_arrives_of_uc_is_right(ctx, 15, 0.9, "--max-size", 20000)
    check(lost > 0, "nothing was lost")


def perftest_in_spite_of_faults(ctx, program, size, *options):
    with faults(ctx):
        perftest(ctx, program, [size], "-s", size, *options)


add((roce,), "every_byte_of_uc_that_arrives_is_right_in_spite_of_faults",
    what_arrives_of_uc_is_right_in_spite_of_faults, timeout=90)
add((*SUITES, auto), "every_byte_of_rc_is_right_in_spite_of_faults",
    every_byte_is_right_in_spite_of_faults, 200)
add((roce, vrdma), "send_bw_xrc_in_spite_of_faults", perftest_in_spite_of_faults, "ib_send_bw",
    65536, "-c", "XRC", "-n", 300)
for verb in ("write", "read", "send"):
    add((vrdma, memif), f"{verb}_bw_rc_in_spite_of_faults", perftest_in_spite_of_faults,
        f"ib_{verb}_bw", 65536, "-n", 300)
add((vrdma,), "atomic_bw_in_spite_of_faults", perftest_in_spite_of_faults, "ib_atomic_bw", 8,
    "-n", 1000)

# -- what fails ------------------------------------------------------------------------------------


def fails_as_it_must(ctx, scenario, words):
    ended = succeeds(ctx, WIRE_ERROR, "--scenario", scenario)
    contains(ended.client.output, "completed with " + words)


for verb in ("write", "read", "atomic"):
    add((roce, vrdma), f"wrong_rkey_of_{verb}_breaks_both_sides", fails_as_it_must, f"key-{verb}",
        "remote access error")
add((roce, vrdma), "window_is_used_until_its_peer_ends_it", fails_as_it_must, "window",
    "remote access error")
add((roce, vrdma), "receiver_that_is_never_ready_ends_the_retries", fails_as_it_must, "not-ready",
    "RNR retry counter exceeded")
add((roce, vrdma), "late_receive_is_waited_for", fails_as_it_must, "late", "success")


def killed_service_is_an_error_in_time(ctx, peer):
    hosts = ctx.surroundings
    with ctx.new_service(config("b", "10.90.0.3", AF_PACKET, peer),
                         inside=hosts.far.enter()) as victim:
        with running(ctx, WIRE_ERROR, "--scenario", "silence", "--timeout", 14, "--retries", 3,
                     server=victim) as pair:
            ctx.eventually(lambda: "transferring" in pair.client_output(), "they transfer")
            victim.process.send_signal(signal.SIGKILL)
            ended = pair.finish()
    print(ended.describe(), flush=True)
    equal(ended.client.status, 0, "the client's status")
    contains(ended.client.output, "completed with transport retry counter exceeded")
    elapsed = int(re.search(r"(\d+) ms after the last success", ended.client.output).group(1))
    # 67 ms, four times; a requester may wait up to four times as long.
    check(200 <= elapsed <= 2000, f"it took {elapsed} ms, expected 200 to 2000")


add((roce,), "killed_service_is_an_error_in_time", killed_service_is_an_error_in_time, "roce")
add((vrdma,), "killed_service_is_an_error_in_time", killed_service_is_an_error_in_time, "vrdma")


@roce.case(timeout=60)
def path_mtu_above_the_ports_is_refused_with_the_reason(ctx):
    hosts = ctx.surroundings
    with ctx.new_service(config("b", "10.90.0.3", AF_PACKET, "roce", mtu=1500),
                         inside=hosts.far.enter()) as short:
        ctx.eventually(lambda: short.ctl_json("port", "show", "p0")["state"] == "up", "up")
        ended = run_pair(ctx, "ibv_rc_pingpong", "-g", 3, "-m", 4096, "-n", 10, server=short)
        check(ended.server.status not in (0, None), "the server did not fail")
        contains(ended.server.output, "the path MTU and its headers are longer than the port's MTU")
        pingpong_of = succeeds(ctx, "ibv_rc_pingpong", "-g", 3, "-m", 1024, "-n", 10, server=short)
        contains(pingpong_of.client.output, "usec/iter")


# -- the end ---------------------------------------------------------------------------------------

add(SUITES, "other_service_ends_cleanly", other_service_is_alive_and_ends_cleanly)
