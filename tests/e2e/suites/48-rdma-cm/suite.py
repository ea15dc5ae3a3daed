"""rdma_cm programs of the distribution, unmodified: rping, ucmatose, udaddy, rdma_server, rstream and perftest's -R connect
by a vNIC's address, and every refusal is an error of the program's own, in time."""

import contextlib
import shutil
import signal
import time

from harness.suite import Service, Skip, Suite, check, contains
from lab import ports, processes
from lab.service import two_tenants

A, B = "10.0.0.1", "10.0.0.2"  # two_tenants' a and b

# What clients say when the server, which has just been started, does not listen yet.
NOT_YET = ("REJECTED", "UNREACHABLE", "Unexpected CM event", "Connection refused")


def needs_programs():
    for program in ("rping", "ucmatose", "udaddy", "mckey"):
        if shutil.which(program) is None:
            raise Skip(f"{program} is not installed (rdmacm-utils)")


def tenants(runtime_dir):
    return two_tenants(runtime_dir, extra="""[[network]]
name = "green"
id = 11
[[vnic]]
name = "other"
network = "green"
address = "10.0.0.3"
""")


suite = Suite("rdma-cm", Service(config=tenants), needs=needs_programs)


@contextlib.contextmanager
def server(ctx, *words, vnic="a", mode="auto"):
    """A server that runs while the body does; yields its process."""
    process = ctx.start(ctx.on(vnic, mode), *words)
    try:
        yield process
    finally:
        processes.end(process, 2.0)


def client(ctx, *words, vnic="b", mode="auto", timeout=20.0, attempts=40):
    """Runs a client until the server, which has just been started, listens."""
    for _ in range(attempts):
        ended = ctx.run(ctx.on(vnic, mode), *words, timeout=timeout)
        if not any(word in ended.output for word in NOT_YET):
            return ended
        time.sleep(0.1)
    return ended


def connects(ctx, server_words, client_words, mode="auto", timeout=25.0):
    with server(ctx, *server_words, mode=mode) as process:
        ended = client(ctx, *client_words, mode=mode, timeout=timeout)
        check(ended.status == 0, f"client: exit status {ended.status}, expected 0")
        check(process.wait(10) == 0, "the server failed")
    return ended


def rping(ctx, mode, *options):
    port = ports.free_port()
    common = ["-p", port, "-C", 20, "-V", *options]
    connects(ctx, ["rping", "-s", "-a", A, *common], ["rping", "-c", "-a", A, *common], mode)


suite.add("rping_100_bytes", lambda ctx: rping(ctx, "auto"), timeout=40)
suite.add("rping_in_preload_mode", lambda ctx: rping(ctx, "preload"), timeout=40)
suite.add("rping_65535_bytes", lambda ctx: rping(ctx, "auto", "-S", 65535), timeout=40)
suite.add("rping_changes_its_queue_pairs_itself", lambda ctx: rping(ctx, "auto", "-q"), timeout=40)


@suite.case(timeout=40)
def rping_listens_on_all_addresses(ctx):
    port = ports.free_port()
    connects(ctx, ["rping", "-s", "-p", port, "-C", 5], ["rping", "-c", "-a", A, "-p", port, "-C", 5])


@suite.case(timeout=40)
def rping_connects_within_one_vnic(ctx):
    port = ports.free_port()
    with server(ctx, "rping", "-s", "-a", A, "-p", port, "-C", 5) as process:
        ended = client(ctx, "rping", "-c", "-a", "127.0.0.1", "-p", port, "-C", 5, vnic="a")
        check(ended.status == 0 and process.wait(10) == 0, "rping failed")


@suite.case(timeout=60)
def persistent_rping_serves_one_client_after_the_other(ctx):
    port = ports.free_port()
    with server(ctx, "rping", "-s", "-P", "-a", A, "-p", port) as process:
        for _ in range(3):
            ended = client(ctx, "rping", "-c", "-a", A, "-p", port, "-C", 5)
            check(ended.status == 0, "a client failed")
        check(process.poll() is None, "the server ended")


@suite.case(timeout=60)
def ucmatose_makes_64_connections(ctx):
    port = ports.free_port()
    common = ["-p", port, "-c", 64, "-C", 10, "-S", 100]
    ended = connects(ctx, ["ucmatose", "-b", A, *common], ["ucmatose", "-s", A, *common])
    contains(ended.output, "return status 0")


@suite.case(timeout=60)
def ucmatose_migrates_its_ids(ctx):
    port = ports.free_port()
    common = ["-p", port, "-m", "-C", 5]
    ended = connects(ctx, ["ucmatose", "-b", A, *common], ["ucmatose", "-s", A, *common])
    contains(ended.output, "return status 0")


@suite.case(timeout=40)
def udaddy_resolves_datagram_queue_pairs(ctx):
    common = ["-c", 4, "-C", 10, "-S", 100]
    ended = connects(ctx, ["udaddy", "-b", A, *common], ["udaddy", "-s", A, *common])
    contains(ended.output, "return status 0")


@suite.case(timeout=40)
def rdma_server_and_client_connect_synchronously(ctx):
    port = ports.free_port()
    ended = connects(ctx, ["rdma_server", "-p", port], ["rdma_client", "-s", A, "-p", port])
    contains(ended.output, "rdma_client: end 0")


@suite.case(timeout=60)
def rstream_moves_data_over_sockets(ctx):
    port = ports.free_port()
    common = ["-p", port, "-S", 4096, "-C", 20, "-T", "v"]
    connects(ctx, ["rstream", "-b", A, *common], ["rstream", "-s", A, *common])


POLLHUP = 16  # rstream's status is what poll reported


@suite.case(timeout=60)
def rstream_waits_for_data_by_poll(ctx):
    """Where the last data and the end of the connection have both come, rstream takes the hang-up for
    a failure and does not read the data. That it has come is then seen at the server only."""
    port = ports.free_port()
    common = ["-p", port, "-S", 4096, "-C", 20, "-T", "v", "-T", "a"]
    with server(ctx, "rstream", "-b", A, *common) as process:
        ended = client(ctx, "rstream", "-s", A, *common, timeout=25.0)
        check(ended.status in (0, POLLHUP), f"client: exit status {ended.status}")
        check("verification failed" not in ended.output, "the client read wrong data")
        check(process.wait(10) == 0, "the server failed")


def perftest(ctx, program, *options):
    port = ports.free_port()
    common = [program, *options, "-R", "-p", port, "-n", 200, "-F"]
    ended = connects(ctx, common, [*common, A])
    contains(ended.output, "#bytes")


for name in ("ib_write_bw", "ib_read_lat", "ib_send_bw"):
    suite.add(f"{name}_connects_with_R", lambda ctx, name=name: perftest(ctx, name), timeout=60)
suite.add("ib_send_bw_of_datagrams_connects_with_R",
          lambda ctx: perftest(ctx, "ib_send_bw", "-c", "UD"), timeout=60)


# -- what is refused ----------------------------------------------------------------------------


def fails(ctx, *words, vnic="b", timeout=15.0):
    started = time.monotonic()
    ended = ctx.run(ctx.on(vnic), *words, timeout=timeout)
    check(ended.status is not None, f"hangs: no end within {time.monotonic() - started:.0f} s")
    check(ended.status != 0, "did not fail")
    return ended


@suite.case()
def nobody_listening_is_rejected(ctx):
    contains(fails(ctx, "rping", "-c", "-a", A, "-p", ports.free_port(), "-C", 1).output,
             "RDMA_CM_EVENT_REJECTED, error 8")


@suite.case()
def nobody_resolving_datagrams_is_unreachable(ctx):
    contains(fails(ctx, "udaddy", "-s", A, "-c", 1, "-C", 1).output,
             "RDMA_CM_EVENT_UNREACHABLE, error: 1")


@suite.case()
def address_that_nobody_has_fails_with_the_reason(ctx):
    ended = fails(ctx, "rping", "-c", "-a", "10.0.0.77", "-C", 1)
    contains(ended.output, "no vNIC of this network on this host has this address")
    contains(ended.output, "RDMA_CM_EVENT_ADDR_ERROR, error -113")


@suite.case()
def vnic_of_another_network_is_out_of_reach(ctx):
    port = ports.free_port()
    with server(ctx, "rping", "-s", "-a", A, "-p", port, "-C", 1):
        ended = fails(ctx, "rping", "-c", "-a", A, "-p", port, "-C", 1, vnic="other")
        contains(ended.output, "RDMA_CM_EVENT_ADDR_ERROR")
        check(client(ctx, "rping", "-c", "-a", A, "-p", port, "-C", 1).status == 0,
              "the tenant of the network was not served afterwards")


@suite.case()
def address_of_another_vnic_cannot_be_bound(ctx):
    contains(fails(ctx, "rping", "-s", "-a", A, vnic="b").output, "Cannot assign requested address")


@suite.case(timeout=30)
def port_in_use_cannot_be_bound(ctx):
    port = ports.free_port()
    with server(ctx, "rping", "-s", "-P", "-a", A, "-p", port):
        check(client(ctx, "rping", "-c", "-a", A, "-p", port, "-C", 1).status == 0, "no server")
        contains(fails(ctx, "rping", "-s", "-a", A, "-p", port, vnic="a").output,
                 "Address already in use")


@suite.case(timeout=40)
def server_that_dies_disconnects_its_client(ctx):
    port = ports.free_port()
    with server(ctx, "rping", "-s", "-P", "-a", A, "-p", port) as process:
        check(client(ctx, "rping", "-c", "-a", A, "-p", port, "-C", 1).status == 0, "no server")
        running = ctx.start(ctx.on("b"), "rping", "-c", "-a", A, "-p", port)
        time.sleep(1)
        check(running.poll() is None, "the client ended by itself")
        process.send_signal(signal.SIGKILL)
        ctx.eventually(lambda: running.poll() is not None, "the client notices", timeout=15)


@suite.case(timeout=40)
def service_that_ends_is_told_to_a_listening_program(ctx):
    with ctx.new_service() as own:
        process = ctx.start(own.run_prefix("a"), "rping", "-s", "-a", A, "-p", ports.free_port())
        time.sleep(1)
        check(process.poll() is None, "the server ended by itself")
        own.stop()
        ctx.eventually(lambda: process.poll() is not None, "the server notices", timeout=15)
