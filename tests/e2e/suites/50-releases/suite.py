"""The provider, built once and here, under the libibverbs of other Debian releases, each with its own
programs and in a container as docs/containers.md describes it: an ordinary user without capabilities, an
empty environment, the provider copied into the image and one vNIC's directory mounted.

bookworm is Debian 12 (rdma-core 44, its private interface 34), trixie Debian 13 (56, 34), sid Debian's
unstable release, which moves: a private interface that the provider does not know skips its cases, with
the number. tests/unit/verbs_libibverbs_abi holds the layouts between against tables."""

import functools
import pathlib

from harness import consumers, releases
from harness.container import USER
from harness.releases import Release
from harness.suite import Service, Skip, Suite, check, contains, equal
from lab import service as lab_service

KNOWN_ABIS = (34, 57, 59, 64, 65)
COMMON = ("ibverbs-utils", "perftest", "python3-pyverbs")
BOOKWORM = Release("bookworm", (*COMMON, "ucx-utils"))
TRIXIE = Release("trixie", (*COMMON, "ucx-utils"))
SID = Release("sid", COMMON)  # its UCX has no transport for verbs
PROGRAM = pathlib.Path(__file__).with_name("write_to_itself.py")


def config(runtime_dir):
    access = f'owner = {USER}\nmode = "0600"\n'
    text = lab_service.two_tenants(runtime_dir)
    return text.replace('network = "blue"\n', 'network = "blue"\n' + access)


suite = Suite("releases", Service(config, installed=True),
              needs=releases.make(BOOKWORM, TRIXIE, SID))


def made(release):
    releases.have(release)
    abi = release.private_abi()
    if abi not in KNOWN_ABIS:
        raise Skip(f"Debian {release.name} has rdma-core {release.rdma_core()} with private interface "
                   f"{abi}; the provider knows {KNOWN_ABIS}")
    print(f"Debian {release.name}: rdma-core {release.rdma_core()}, private interface {abi}")
    return release


def add(release, name, run, *arguments):
    def case(ctx):
        run(ctx, made(release), *arguments)
    suite.add(f"{release.name}_{name}", case, timeout=75)


def pair(ctx, server, client, program, *options):
    """On vNIC a the server out of one release, on b the client out of the other."""
    side = {"a": server, "b": client}
    return ctx.pair_succeeds(program, *options, timeout=60,
                             wrap=lambda vnic: releases.words(ctx, side[vnic], vnic))


def devinfo(ctx, release):
    output = ctx.succeeds(releases.words(ctx, release, "a"), "ibv_devinfo", "-v", timeout=60)
    for words in ("vrdma0", "PORT_ACTIVE (4)", "GID[  3]:\t\t::ffff:10.0.0.1, RoCE v2"):
        contains(output, words)
    check("Failed" not in output and "Warning" not in output, "ibv_devinfo complains")


def pingpong(ctx, release, kind):
    ended = pair(ctx, release, release, f"ibv_{kind}_pingpong", "-g", 3, "-c", "-e", "-n", 200)
    contains(ended.client.output, "usec/iter")
    check("invalid data" not in ended.client.output, "the received data is wrong")


def perftest(ctx, release, program, *options):
    ended = pair(ctx, release, release, program, "-F", *options)
    for side in (ended.client, ended.server):
        check("error" not in side.output.lower(), "there is an error message")


def pyverbs(ctx, release):
    with consumers.moving(ctx, at_least=200_000):
        output = ctx.succeeds(releases.words(ctx, release, "a"), "python3", "-c",
                              PROGRAM.read_text(encoding="utf-8"), timeout=60)
    equal(output, "right\n", "the program's output")


def ucx_info(ctx, release):
    text = ctx.succeeds(releases.words(ctx, release, "a"), "ucx_info", "-d", timeout=60)
    for transport in ("rc_verbs", "ud_verbs"):
        contains(text, f"#      Transport: {transport}\n#         Device: vrdma0:1\n")


def ucx(ctx, release):
    environment = {"UCX_TLS": "rc_v", "UCX_NET_DEVICES": "vrdma0:1"}
    with consumers.moving(ctx, at_least=100 * 65536):
        ctx.pair_succeeds("ucx_perftest", "-t", "tag_bw", "-s", 65536, "-n", 100, "-w", 2, timeout=60,
                          wrap=lambda vnic: releases.words(ctx, release, vnic,
                                                           environment=environment))


for release in (BOOKWORM, TRIXIE, SID):
    add(release, "devinfo", devinfo)
    for kind in ("rc", "uc", "ud", "srq"):
        add(release, f"{kind}_pingpong_with_events", pingpong, kind)
    add(release, "ib_write_bw", perftest, "ib_write_bw", "-n", 100)
    add(release, "ib_read_lat", perftest, "ib_read_lat", "-n", 100)
    add(release, "ib_atomic_bw", perftest, "ib_atomic_bw", "-n", 100)
    add(release, "ib_send_lat_with_events", perftest, "ib_send_lat", "-e", "-n", 100)
    add(release, "ib_send_bw_ud", perftest, "ib_send_bw", "-c", "UD", "-s", 2048, "-n", 100)
    add(release, "pyverbs", pyverbs)
    if "ucx-utils" in release.packages:
        add(release, "ucx_info_lists_both_transports", ucx_info)
add(BOOKWORM, "ucx_rc_verbs", ucx)  # trixie's ucx_perftest runs under MPI only


def across(ctx, server, client):
    for kind in ("rc", "ud"):
        ended = pair(ctx, made(server), made(client), f"ibv_{kind}_pingpong", "-g", 3, "-c", "-e",
                     "-n", 100)
        check("invalid data" not in ended.client.output, "the received data is wrong")


for server, client in ((BOOKWORM, TRIXIE), (TRIXIE, SID), (SID, BOOKWORM)):
    suite.add(f"server_in_{server.name}_client_in_{client.name}",
              functools.partial(across, server=server, client=client), timeout=90)


@suite.case(timeout=75)
def server_in_a_container_client_on_the_host(ctx):
    release = made(TRIXIE)
    wrap = {"a": releases.words(ctx, release, "a"), "b": ctx.on("b")}
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-c", "-e", "-n", 100, wrap=wrap.get)


# -- what a container gives its program, and what vRDMA makes of it ----------------------------


@suite.case(timeout=75)
def programs_have_no_environment_and_no_capability(ctx):
    """What the other cases rely on."""
    words = releases.words(ctx, made(BOOKWORM), "a")
    equal(ctx.succeeds(words, "python3", "-c", "print(open('/proc/self/environ').read())",
                       timeout=60), "\n",
          "environment")
    status = ctx.succeeds(words, "python3", "-c", "print(open('/proc/self/status').read())",
                          timeout=60)
    for line in (f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}", "Groups:\t \n", "NoNewPrivs:\t1",
                 *(f"Cap{name}:\t{0:016x}" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))):
        contains(status, line)


@suite.case(timeout=75)
def container_without_a_vnic_sees_no_device(ctx):
    words = releases.words(ctx, made(BOOKWORM))
    check("vrdma" not in ctx.run(words, "ibv_devices", timeout=60).output, "there is a device")


@suite.case(timeout=75)
def container_with_two_vnics_needs_VRDMA_TREE(ctx):
    release = made(BOOKWORM)
    ended = ctx.run(releases.words(ctx, release, "a", "b"), "ibv_devices", timeout=60)
    check("vrdma" not in ended.output, "one of two vNICs was chosen")
    tree = {"VRDMA_TREE": ctx.service.runtime_dir / "vnic/b"}
    output = ctx.succeeds(releases.words(ctx, release, "a", "b", environment=tree), "ibv_devinfo",
                          "-v", timeout=60)
    contains(output, "::ffff:10.0.0.2, RoCE v2")
