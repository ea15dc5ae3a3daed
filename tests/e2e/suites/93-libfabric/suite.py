"""libfabric as Debian ships it: reliable datagrams made of its verbs provider's unreliable ones,
`verbs;ofi_rxd`. fi_pingpong compares every byte (-c). Connected endpoints of the verbs provider
need rdma_cm.

libfabric        two vNICs of one host
libfabric_wire   two hosts"""

import re

from harness import consumers, two_hosts
from harness.suite import Service, Suite, check, contains
from lab import pair as lab_pair
from lab import ports

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


@same.case()
def fi_info_shows_datagrams_and_reliable_ones(ctx):
    text = ctx.succeeds(consumers.on(ctx, "a"), "fi_info", "-d", "vrdma0-dgram")
    for protocol in ("FI_PROTO_IB_UD", "FI_PROTO_RXD"):
        contains(text, protocol)


wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
