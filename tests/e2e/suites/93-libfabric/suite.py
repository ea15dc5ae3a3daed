"""libfabric as Debian ships it: connected endpoints of its verbs provider, which rdma_cm connects,
reliable datagrams over them, `verbs;ofi_rxm`, and reliable datagrams made of unreliable ones,
`verbs;ofi_rxd`. fi_pingpong compares every byte (-c).

libfabric        two vNICs of one host
libfabric_wire   two hosts

The verbs provider takes the addresses of its connected endpoints from the system's network
interfaces, and fi_pingpong uses the address for a TCP connection of its own, too: the network
namespaces of these cases have the vNICs' addresses at an interface that no vNIC uses."""

import contextlib
import re

from harness import consumers, two_hosts
from harness.suite import Service, Suite, check, contains
from lab import pair as lab_pair
from lab import ports
from vm.network import Namespace

needs = consumers.programs("fi_info", "fi_pingpong")
same = Suite("libfabric", Service(), needs=needs)
wire = consumers.on_two_hosts("libfabric_wire", "vrdma", needs)

LARGEST = 6 << 20


def fi_pingpong(ctx):
    port = ports.free_port()
    command = ["fi_pingpong", "-p", "verbs;ofi_rxd", "-e", "rdm", "-c", "-S", "all", "-I", "5"]
    with consumers.moving(ctx, at_least=2 * 5 * LARGEST):
        with lab_pair.Pair([*consumers.on(ctx, "a"), *command, "-B", str(port)],
                           [*consumers.on(ctx, "b"), *command, "-P", str(port), "127.0.0.1"], port,
                           timeout=50) as pair:
            ended = pair.finish()
        print(ended.describe(), flush=True)
    check(ended.client.status == 0, f"client: exit status {ended.client.status}, expected 0")
    # rxd takes no leave: when the client has gone before it acknowledged the last packet, the server
    # repeats that for long. All its results are there by then.
    check(ended.server.status in (0, None), f"server: exit status {ended.server.status}")
    for side in (ended.client, ended.server):
        contains(side.output, "=5")
        check(re.search(r"^6m\s", side.output, re.M), "no result of 6 MiB")


same.add("reliable_datagrams_of_all_sizes_arrive", fi_pingpong, timeout=75)
wire.add("reliable_datagrams_of_all_sizes_arrive", fi_pingpong, timeout=75)


# -- connected endpoints ---------------------------------------------------------------------------


@contextlib.contextmanager
def namespaces(ctx):
    """[(words that enter it, pid, address)] of the server on vNIC a and the client on b."""
    if ctx.surroundings is not None:
        hosts = ctx.surroundings
        for host, address in ((hosts.near, two_hosts.NEAR), (hosts.far, two_hosts.FAR)):
            host.run("ip", "address", "replace", address + "/24", "dev", "tcp0")
        yield [(hosts.near, two_hosts.NEAR), (hosts.far, two_hosts.FAR)]
        return
    alone = Namespace()
    try:
        addresses = ["10.0.0.1", "10.0.0.2"]
        for address in addresses:
            alone.run("ip", "address", "add", address + "/32", "dev", "lo")
        yield [(alone, address) for address in addresses]
    finally:
        alone.end()


def connected_pingpong(ctx, provider, endpoint, server_statuses=(0,)):
    port = ports.free_port()
    command = ["fi_pingpong", "-p", provider, "-e", endpoint, "-c", "-S", "all", "-I", "5"]
    with namespaces(ctx) as (server, client), consumers.moving(ctx, at_least=2 * 5 * LARGEST):
        with lab_pair.Pair(
                [*server[0].enter(), *consumers.on(ctx, "a"), *command, "-B", str(port)],
                [*client[0].enter(), *consumers.on(ctx, "b"), *command, "-P", str(port), server[1]],
                port, timeout=50, tables=f"/proc/{server[0].pid}/net") as pair:
            ended = pair.finish()
        print(ended.describe(), flush=True)
    check(ended.client.status == 0, f"client: exit status {ended.client.status}, expected 0")
    check(ended.server.status in server_statuses, f"server: exit status {ended.server.status}")
    for side in (ended.client, ended.server):
        contains(side.output, "=5")
        check(re.search(r"^6m\s", side.output, re.M), "no result of 6 MiB")


def connected_endpoints(ctx):
    connected_pingpong(ctx, "verbs", "msg")


def reliable_datagrams(ctx):
    # A server that is late finds its client's last message and the end of the connection at once,
    # and then waits for that message for ever now and then. All its results are there by then.
    connected_pingpong(ctx, "verbs;ofi_rxm", "rdm", server_statuses=(0, None))


same.add("connected_endpoints_move_all_sizes", connected_endpoints, timeout=75)
wire.add("connected_endpoints_move_all_sizes", connected_endpoints, timeout=75)
same.add("reliable_datagrams_over_connected_endpoints_arrive", reliable_datagrams, timeout=75)
wire.add("reliable_datagrams_over_connected_endpoints_arrive", reliable_datagrams, timeout=75)


@same.case()
def fi_info_shows_datagrams_and_reliable_ones(ctx):
    text = ctx.succeeds(consumers.on(ctx, "a"), "fi_info", "-d", "vrdma0-dgram")
    for protocol in ("FI_PROTO_IB_UD", "FI_PROTO_RXD"):
        contains(text, protocol)


wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
