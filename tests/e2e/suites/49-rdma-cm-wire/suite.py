"""rdma_cm programs of the distribution between two hosts: each side resolves the other's address,
connects by InfiniBand's connection messages and moves its data, and every refusal is an error of
the program's own, in time.

rdma_cm_wire         as toward a standard RoCEv2 device
rdma_cm_wire_vrdma   between vRDMA hosts

The suite's service ("near", vNIC a) is one host, the surroundings' ("far", vNIC b) the other
(harness/two_hosts.py)."""

import contextlib
import shutil
import signal
import time

from harness.suite import Failed, Skip, check, contains
from harness.two_hosts import (AF_PACKET, FAR, NEAR, config, losing, make_suite, needs,
                               other_service_is_alive_and_ends_cleanly, wait_for_the_wire)
from lab import ports, processes

# What clients say when the server, which has just been started, does not listen yet.
NOT_YET = ("REJECTED", "UNREACHABLE", "Unexpected CM event", "Connection refused")


def needs_programs():
    needs()
    for program in ("rping", "ucmatose", "udaddy", "rdma_server"):
        if shutil.which(program) is None:
            raise Skip(f"{program} is not installed (rdmacm-utils)")


roce = make_suite("rdma_cm_wire", "roce")
vrdma = make_suite("rdma_cm_wire_vrdma", "vrdma")
SUITES = (roce, vrdma)
roce.needs = vrdma.needs = needs_programs


class Side:
    def __init__(self, host, service, vnic, address):
        self.words = [*host.enter(), *service.run_prefix(vnic)]
        self.address = address


def sides(ctx, client="near"):
    """(server, client)"""
    hosts = ctx.surroundings
    wait_for_the_wire(ctx)
    both = {"near": Side(hosts.near, ctx.service, "a", NEAR),
            "far": Side(hosts.far, hosts.far_service, "b", FAR)}
    server = "far" if client == "near" else "near"
    return both[server], both[client]


@contextlib.contextmanager
def server(ctx, side, *words):
    """A server that runs while the body does; yields its process."""
    process = ctx.start(side.words, *words)
    try:
        yield process
    finally:
        processes.end(process, 2.0)


def client(ctx, side, *words, timeout=30.0, attempts=40, of=None):
    """Runs a client until the server, which has just been started, listens; or has ended, if it is
    this process."""
    for _ in range(attempts):
        ended = ctx.run(side.words, *words, timeout=timeout)
        if not any(word in ended.output for word in NOT_YET):
            return ended
        if of is not None and of.poll() is not None:
            return ended
        time.sleep(0.1)
    return ended


def connects(ctx, where, server_words, client_words, timeout=40.0):
    serving, asking = where
    # A client that wants several connections while the server just begins to listen gets some of
    # them, gives up, and so ends its server: then both begin again.
    for _ in range(5):
        with server(ctx, serving, *server_words) as process:
            time.sleep(0.3)
            ended = client(ctx, asking, *client_words, timeout=timeout, of=process)
            if any(word in ended.output for word in NOT_YET) and process.poll() is not None:
                continue
            if ended.status != 0:
                show_counters(ctx)
            check(ended.status == 0, f"client: exit status {ended.status}, expected 0")
            check(process.wait(20) == 0, "the server failed")
            return ended
    raise Failed("the server never listened")


def show_counters(ctx):
    for service in (ctx.service, ctx.surroundings.far_service):
        for question in (["counters"], ["port", "show", "p0"]):
            print(service.ctl(*question).stdout, flush=True)


def add(suites, name, run, *arguments, timeout=90, **options):
    for suite in suites:
        suite.add(name, lambda ctx: run(ctx, *arguments, **options), timeout=timeout)


# -- programs --------------------------------------------------------------------------------------


def rping(ctx, way, *options):
    serving, asking = sides(ctx, way)
    common = ["-p", ports.free_port(), "-C", 20, "-V", *options]
    connects(ctx, (serving, asking), ["rping", "-s", "-a", serving.address, *common],
             ["rping", "-c", "-a", serving.address, *common])


for side in ("near", "far"):
    add(SUITES, f"rping_from_the_{side}_host", rping, side)
add((roce,), "rping_65535_bytes", rping, "near", "-S", 65535)
add((roce,), "rping_changes_its_queue_pairs_itself", rping, "near", "-q")


def ucmatose(ctx, *options):
    serving, asking = sides(ctx)
    common = ["-p", ports.free_port(), "-C", 10, "-S", 100, *options]
    ended = connects(ctx, (serving, asking), ["ucmatose", "-b", serving.address, *common],
                     ["ucmatose", "-s", serving.address, *common], timeout=60)
    contains(ended.output, "return status 0")


add(SUITES, "ucmatose_makes_32_connections", ucmatose, "-c", 32, timeout=120)


def udaddy(ctx):
    serving, asking = sides(ctx)
    common = ["-c", 4, "-C", 10, "-S", 100]
    ended = connects(ctx, (serving, asking), ["udaddy", "-b", serving.address, *common],
                     ["udaddy", "-s", serving.address, *common])
    contains(ended.output, "return status 0")


add(SUITES, "udaddy_resolves_datagram_queue_pairs", udaddy)


def rdma_server(ctx):
    serving, asking = sides(ctx)
    port = ports.free_port()
    ended = connects(ctx, (serving, asking), ["rdma_server", "-p", port],
                     ["rdma_client", "-s", serving.address, "-p", port])
    contains(ended.output, "rdma_client: end 0")


add((roce,), "rdma_server_and_client_connect_synchronously", rdma_server)


def rstream(ctx):
    serving, asking = sides(ctx)
    common = ["-p", ports.free_port(), "-S", 4096, "-C", 20, "-T", "v"]
    connects(ctx, (serving, asking), ["rstream", "-b", serving.address, *common],
             ["rstream", "-s", serving.address, *common])


add((roce,), "rstream_moves_data_over_sockets", rstream)


def perftest(ctx, program, *options):
    # It makes two connections, and its server does not listen in between: a client that was
    # rejected is no use to that server any more, so both begin again.
    serving, asking = sides(ctx)
    for _ in range(10):
        common = [program, *options, "-R", "-p", ports.free_port(), "-n", 200, "-F"]
        with server(ctx, serving, *common) as process:
            time.sleep(0.5)
            ended = ctx.run(asking.words, *common, serving.address, timeout=30)
            if "REJECTED" not in ended.output:
                check(ended.status == 0, f"client: exit status {ended.status}, expected 0")
                check(process.wait(20) == 0, "the server failed")
                break
    contains(ended.output, "#bytes")


add(SUITES, "ib_write_bw_connects_with_R", perftest, "ib_write_bw")
add((roce,), "ib_read_bw_connects_with_R", perftest, "ib_read_bw", "-o", 16)
add(SUITES, "ib_send_lat_connects_with_R", perftest, "ib_send_lat")

# -- a bad wire ------------------------------------------------------------------------------------


def counted(ctx, name):
    return sum(counter["value"] for service in (ctx.service, ctx.surroundings.far_service)
               for counter in service.ctl_json("port", "show", "p0")["counters"]
               if counter["name"] == name)


def connections_in_spite_of_loss(ctx):
    before = counted(ctx, "cm_repeated")
    with losing(ctx, "drop=0.05", "duplicate=0.02", "reorder=8", "reorder_share=0.02"):
        ucmatose(ctx, "-c", 64)
    check(counted(ctx, "cm_repeated") > before, "nothing had to be repeated")


add(SUITES, "connections_are_made_in_spite_of_loss", connections_in_spite_of_loss, timeout=180)


def rping_in_spite_of_loss(ctx):
    with losing(ctx, "drop=0.01"):
        for _ in range(3):
            rping(ctx, "near")


add(SUITES, "rping_in_spite_of_loss", rping_in_spite_of_loss, timeout=180)

# -- what is refused -------------------------------------------------------------------------------


def fails(ctx, side, *words, timeout=20.0):
    started = time.monotonic()
    ended = ctx.run(side.words, *words, timeout=timeout)
    check(ended.status is not None, f"hangs: no end within {time.monotonic() - started:.0f} s")
    check(ended.status != 0, "did not fail")
    return ended


@roce.case(timeout=40)
def nobody_listening_is_rejected(ctx):
    serving, asking = sides(ctx)
    ended = fails(ctx, asking, "rping", "-c", "-a", serving.address, "-p", ports.free_port(),
                  "-C", 1)
    contains(ended.output, "RDMA_CM_EVENT_REJECTED, error 8")


@roce.case(timeout=40)
def nobody_resolving_datagrams_is_unreachable(ctx):
    serving, asking = sides(ctx)
    contains(fails(ctx, asking, "udaddy", "-s", serving.address, "-c", 1, "-C", 1).output,
             "RDMA_CM_EVENT_UNREACHABLE, error: 1")


@roce.case(timeout=40)
def address_that_nobody_has_fails_with_the_reason(ctx):
    _, asking = sides(ctx)
    ended = fails(ctx, asking, "rping", "-c", "-a", "10.90.0.77", "-C", 1)
    contains(ended.output, "nobody behind the network's port answers for this address")
    contains(ended.output, "RDMA_CM_EVENT_ADDR_ERROR, error -113")


@roce.case(timeout=40)
def address_outside_the_prefix_fails_with_the_reason(ctx):
    _, asking = sides(ctx)
    ended = fails(ctx, asking, "rping", "-c", "-a", "10.91.0.1", "-C", 1)
    contains(ended.output, "outside the prefix of the network's port, which has no gateway")


@roce.case(timeout=60)
def port_with_a_smaller_mtu_connects_with_that(ctx):
    """The requester goes by its own port; the other's refuses what it does not carry."""
    hosts = ctx.surroundings
    with ctx.new_service(config("b", "10.90.0.3", AF_PACKET, "roce", mtu=1500),
                         inside=hosts.far.enter()) as short:
        ctx.eventually(lambda: short.ctl_json("port", "show", "p0")["state"] == "up", "up")
        small = Side(hosts.far, short, "b", "10.90.0.3")
        near = Side(hosts.near, ctx.service, "a", NEAR)
        common = ["-p", ports.free_port(), "-C", 5]
        connects(ctx, (near, small), ["rping", "-s", "-a", near.address, *common],
                 ["rping", "-c", "-a", near.address, *common])
        with server(ctx, small, "rping", "-s", "-P", "-a", small.address, *common):
            ctx.eventually(
                lambda: "REJECTED, error 26" in ctx.run(near.words, "rping", "-c", "-a",
                                                        small.address, *common).output,
                "the request is refused for its path MTU")


def server_that_dies_disconnects_its_client(ctx):
    serving, asking = sides(ctx)
    port = ports.free_port()
    with server(ctx, serving, "rping", "-s", "-P", "-a", serving.address, "-p", port) as process:
        words = ["rping", "-c", "-a", serving.address, "-p", port]
        check(client(ctx, asking, *words, "-C", 1).status == 0, "no server")
        running = ctx.start(asking.words, *words)
        time.sleep(1)
        check(running.poll() is None, "the client ended by itself")
        process.send_signal(signal.SIGKILL)
        ctx.eventually(lambda: running.poll() is not None, "the client notices", timeout=20)


add((roce,), "server_that_dies_disconnects_its_client", server_that_dies_disconnects_its_client)


@roce.case(timeout=60)
def service_that_ends_disconnects_its_peers(ctx):
    hosts = ctx.surroundings
    _, asking = sides(ctx)
    with ctx.new_service(config("b", "10.90.0.3", AF_PACKET, "roce"),
                         inside=hosts.far.enter()) as victim:
        serving = Side(hosts.far, victim, "b", "10.90.0.3")
        port = ports.free_port()
        ctx.start(serving.words, "rping", "-s", "-P", "-a", serving.address, "-p", port)
        words = ["rping", "-c", "-a", serving.address, "-p", port]
        check(client(ctx, asking, *words, "-C", 1).status == 0, "no server")
        running = ctx.start(asking.words, *words)
        time.sleep(1)
        check(running.poll() is None, "the client ended by itself")
        victim.stop()
        ctx.eventually(lambda: running.poll() is not None, "the client notices", timeout=20)


# -- the end ---------------------------------------------------------------------------------------

add(SUITES, "other_service_ends_cleanly", other_service_is_alive_and_ends_cleanly)
