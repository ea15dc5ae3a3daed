"""UCX as Debian ships it, unmodified, over its transports for plain verbs devices: rc_verbs, and
ud_verbs, which also makes rc_verbs' connections.

ucx         two vNICs of one host
ucx_wire    two hosts

UCX_TLS allows nothing else than the transport under test, UCX's own log must name it, and the
vNICs must have counted the bytes: UCX would rather take TCP than fail."""

import os
import re

from harness import consumers
from harness.suite import Failed, Service, Suite, check, contains

DEVICE = "vrdma0:1"
needs = consumers.programs("ucx_info", "ucx_perftest")
same = Suite("ucx", Service(), needs=needs)
wire = consumers.on_two_hosts("ucx_wire", "vrdma", needs)
BOTH = (same, wire)

# Short, copied, zero copy; eager and rendezvous; the last is as large as it gets in seconds.
SIZES = ((8, 50), (2048, 50), (8192, 20), (65536, 20), (1 << 20, 5), (4 << 20, 3))


def add(suites, name, run, *arguments, timeout=90, **options):
    for suite in suites:
        suite.add(name, lambda ctx: run(ctx, *arguments, **options), timeout=timeout)


def environment(transport):
    # UCX's aliases: rc_v is rc_verbs with ud_verbs for its connections.
    os.environ["UCX_TLS"] = {"rc_verbs": "rc_v", "ud_verbs": "ud_v"}[transport]
    os.environ["UCX_NET_DEVICES"] = DEVICE
    os.environ["UCX_LOG_LEVEL"] = "info"


def pair(ctx, *options):
    """ucx_perftest on both vNICs; its rows of results, {test: iterations}."""
    ended = ctx.pair_succeeds("ucx_perftest", *options, "-f", "-v",
                              wrap=lambda vnic: consumers.on(ctx, vnic), timeout=45)
    for side in (ended.client, ended.server):
        for word in (" ERROR ", " FATAL "):
            check(word not in side.output, f"UCX says{word.rstrip()}")
    return ended, {name or "": int(iterations) for name, iterations in re.findall(
        r"^(\w*),?\s*(\d+)(?:,[0-9.a-z]+){7}\s*$", ended.client.output, re.M)}


def batch(ctx, lines):
    """A file of tests that one pair of processes runs one after the other."""
    path = ctx.service.base / f"ucx-{os.getpid()}.batch"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def protocol(ctx, transport, test, sizes=SIZES, *options, moves=1.0):
    """A test of UCX's protocol layer (ucp), for all sizes in one connection."""
    environment(transport)
    lines = [f"s{size} -s {size} -n {count} -w 2" for size, count in sizes]
    total = sum(size * count for size, count in sizes)
    with consumers.moving(ctx, at_least=int(total * moves)):
        ended, rows = pair(ctx, "-t", test, "-b", batch(ctx, lines), *options)
    missing = [f"s{size}" for size, _ in sizes if f"s{size}" not in rows]
    check(not missing, f"no results of {missing}, but of {sorted(rows)}")
    uses_only(ended.client.output, transport)


def uses_only(log, transport):
    """UCX tells at level info what an endpoint is made of: `ep_cfg[0]: tag(rc_verbs/vrdma0:1)`.
    Datagrams keep an endpoint of rc_verbs alive when errors are to be handled, `ka(...)`."""
    chosen = re.findall(r"ep_cfg\[\d+\]: (.*)", log)
    check(chosen, "UCX does not say what it chose")
    for line in chosen:
        used = set(re.findall(r"([a-z_0-9]+)/", line.replace(f"ka(ud_verbs/{DEVICE})", "")))
        if used != {transport}:
            raise Failed(f"UCX chose {line}, expected {transport} only")


for transport in ("rc_verbs", "ud_verbs"):
    short = transport.removesuffix("_verbs")
    both = BOTH if transport == "rc_verbs" else (same,)
    add(BOTH, f"tag_lat_{short}", protocol, transport, "tag_lat", SIZES, moves=2)
    add(both, f"tag_bw_{short}", protocol, transport, "tag_bw")
    add((same,), f"stream_bw_{short}", protocol, transport, "stream_bw")
    add(both, f"am_bw_{short}", protocol, transport, "ucp_am_bw")
    add(both, f"put_bw_{short}", protocol, transport, "ucp_put_bw")
    add(both, f"get_{short}", protocol, transport, "ucp_get")
    for operation in ("add", "fadd", "swap", "cswap"):
        # By messages: this layer wants all of its atomics from the device or none, and verbs has no
        # swap. uct_fadd_rc and the like use the device's.
        add(both if operation == "cswap" else (same,), f"{operation}_{short}", protocol, transport,
            f"ucp_{operation}", ((8, 50),))
    add(BOTH, f"tag_lat_{short}_sleeping", protocol, transport, "tag_lat",
        ((8, 300), (65536, 20), (1 << 20, 5)), "-E", "sleep", moves=2)
add((same,), "put_lat_rc", protocol, "rc_verbs", "ucp_put_lat", moves=2)
add((same,), "tag_sync_lat_rc", protocol, "rc_verbs", "tag_sync_lat", moves=2)
add((same,), "stream_bw_rc_sleeping", protocol, "rc_verbs", "stream_bw",
    ((4096, 200), (1 << 20, 20)), "-E", "sleep")
add((same,), "tag_bw_rc_error_handling", protocol, "rc_verbs", "tag_bw", SIZES, "-e")
add((same,), "tag_bw_rc_scattered", protocol, "rc_verbs", "tag_bw", ((8192, 50),), "-D", "iov,iov")


def transport_layer(ctx, transport, test, size, *options, moves=1.0, atomic=False):
    """A test of UCX's transport layer (uct): the named transport or an error."""
    environment(transport)
    count = 200 if size <= 65536 else 10
    with consumers.moving(ctx, at_least=0 if atomic else int(size * count * moves),
                          atomics=count if atomic else 0):
        ended, _ = pair(ctx, "-x", transport, "-d", DEVICE, "-t", test, "-s", size, "-n", count,
                        "-w", 2, *options)
    contains(ended.client.output, f"{count},")


for layout, size in (("short", 64), ("bcopy", 4096), ("zcopy", 4096)):
    add((same,), f"uct_am_lat_rc_{layout}", transport_layer, "rc_verbs", "am_lat", size, "-D",
        layout, moves=2)
    add((same,), f"uct_am_bw_ud_{layout}", transport_layer, "ud_verbs", "am_bw", size // 2, "-D",
        layout)
for layout, size in (("short", 64), ("bcopy", 8192), ("zcopy", 4 << 20)):
    add((same,), f"uct_put_lat_rc_{layout}", transport_layer, "rc_verbs", "put_lat", size, "-D",
        layout, moves=2)
for layout, size in (("bcopy", 8192), ("zcopy", 4 << 20)):
    add((same,), f"uct_get_rc_{layout}", transport_layer, "rc_verbs", "get", size, "-D", layout)
for operation in ("add_mr", "fadd", "cswap"):
    add((same,), f"uct_{operation}_rc", transport_layer, "rc_verbs", operation, 8, atomic=True)


@same.case()
def ucx_info_shows_both_transports_with_the_version_of_gid_3(ctx):
    text = ctx.succeeds(consumers.on(ctx, "a"), "ucx_info", "-d")
    for transport in ("rc_verbs", "ud_verbs"):
        check(re.search(rf"Transport: {transport}\n#\s+Device: {DEVICE}\n", text),
              f"ucx_info does not list {transport} of {DEVICE}")
    for atomic in ("atomic_add", "atomic_fadd", "atomic_cswap"):
        contains(text, f"{atomic}: 64 bit")


@same.case()
def fallback_to_tcp_is_noticed(ctx):
    """What the other cases rely on: without vRDMA in UCX_TLS our counters stand still."""
    os.environ.update(UCX_TLS="tcp", UCX_NET_DEVICES="lo", UCX_LOG_LEVEL="info")
    with consumers.moving(ctx) as moved:
        pair(ctx, "-t", "tag_bw", "-s", 65536, "-n", 100, "-w", 2)
    check(moved.bytes() == 0, f"TCP moved {moved.bytes()} bytes through the vNICs")


def other_service_ends_cleanly(ctx):
    consumers.two_hosts.other_service_is_alive_and_ends_cleanly(ctx)


wire.add("other_service_ends_cleanly", other_service_ends_cleanly)
