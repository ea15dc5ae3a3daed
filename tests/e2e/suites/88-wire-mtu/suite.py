"""A vNIC says the MTU that the port of its network carries, so that programs which take their path
MTU from it work on an ordinary network of 1500 bytes, without being told."""

import contextlib
import re

from harness.program import Program
from harness.suite import check, contains, equal
from harness.two_hosts import (BUILD, config, make_suite, on_far, on_near,
                               other_service_is_alive_and_ends_cleanly, run_pair, succeeds,
                               wait_for_the_wire)

GROUP_VERIFY = BUILD / "tests/e2e/group_verify/vrdma-group-verify"

suite = make_suite("wire_mtu", "roce", mtu=None, wire_mtu=1500)


def active_mtus(ctx):
    """What a program on the near vNIC is told, and `vrdmactl vnic show`."""
    output = ctx.succeeds(ctx.on("a"), "ibv_devinfo")
    contains(output, "max_mtu:\t\t4096 (5)")
    return (int(re.search(r"active_mtu:\s+(\d+) ", output).group(1)),
            ctx.service.ctl_json("vnic", "show", "a")["active_mtu"])


def becomes(ctx, mtu):
    ctx.eventually(lambda: active_mtus(ctx) == (mtu, mtu), f"the active MTU is {mtu}")


@contextlib.contextmanager
def wire_of(ctx, mtu):
    """The interfaces have another MTU for a while, both ends at once: a veth's ends are two."""
    hosts = ctx.surroundings

    def change(to):
        for host in (hosts.near, hosts.far):
            host.run("ip", "link", "set", "wire0", "mtu", to)

    change(mtu)
    try:
        yield
    finally:
        change(hosts.wire_mtu)
        becomes(ctx, 1024)


@suite.case()
def active_mtu_is_what_the_port_carries(ctx):
    wait_for_the_wire(ctx)
    equal(active_mtus(ctx), (1024, 1024), "the active MTU, to programs and operators")


def perftest(ctx, program, *options):
    """Not a word about the MTU: it is the program's to find out."""
    ended = succeeds(ctx, program, "-F", "-x", 3, *options)
    contains(ended.client.output, "1024[B]", "the MTU that it took")


for verb, transports in (("write", ("RC", "UC", "XRC")), ("read", ("RC",)),
                         ("send", ("RC", "UD"))):
    for transport in transports:
        count = 200 if transport in ("RC", "XRC") else 50
        # UC and UD may lose what a busy receiver has no room for.
        size = () if transport in ("RC", "XRC") else ("-s", 1024)
        suite.add(f"{verb}_bw_{transport.lower()}_without_words",
                  lambda ctx, verb=verb, options=("-c", transport, "-n", count, *size):
                  perftest(ctx, f"ib_{verb}_bw", *options), timeout=60)


@suite.case(timeout=60)
def pingpongs_run(ctx):
    for kind in ("rc", "uc"):
        contains(succeeds(ctx, f"ibv_{kind}_pingpong", "-g", 3, "-n", 50).client.output,
                 "usec/iter")


@suite.case(timeout=60)
def datagrams_are_at_most_the_active_mtu(ctx):
    contains(succeeds(ctx, "ibv_ud_pingpong", "-g", 3, "-n", 20, "-s", 1024).client.output,
             "usec/iter")
    ended = run_pair(ctx, "ibv_ud_pingpong", "-g", 3, "-n", 20, "-s", 1025)
    contains(ended.server.output, "Requested size larger than port MTU")


@suite.case(timeout=60)
def messages_to_groups_are_at_most_the_active_mtu(ctx):
    wait_for_the_wire(ctx)
    near, far = on_near(ctx), on_far(ctx)
    common = ["--messages", 20, "--gap-us", 2000, "--bytes"]
    with Program(ctx, *far, GROUP_VERIFY, "listen", *common, 1024) as member:
        member.says("listening", "the member listens")
        contains(ctx.succeeds(near, GROUP_VERIFY, "send", *common, 1024), "sent")
        contains(member.ends_well(), "every copy right: 20 messages from 10.90.0.1")
    refused = ctx.run(near, GROUP_VERIFY, "send", *common, 1025)
    check(refused.status not in (0, None), "a longer message was sent")
    contains(refused.output, "local length error")


@suite.case(timeout=60)
def active_mtu_follows_the_interface_and_programs_are_told(ctx):
    wait_for_the_wire(ctx)
    with Program(ctx, *ctx.on("a"), "stdbuf", "-oL", "ibv_asyncwatch") as watch:
        watch.says("async event FD", "the program waits for events")
        check("IBV_EVENT" not in watch.output(), "it was told before anything happened")
        with wire_of(ctx, 4200):
            becomes(ctx, 4096)
            ctx.eventually(lambda: "IBV_EVENT_PORT_ACTIVE" in watch.output(), "it is told")
            contains(succeeds(ctx, "ib_write_bw", "-F", "-x", 3, "-n", 100).client.output,
                     "4096[B]", "the MTU that perftest took")
        print(watch.output(), flush=True)


@suite.case(timeout=60)
def device_that_comes_back_with_another_mtu_is_followed(ctx):
    hosts = ctx.surroundings
    wait_for_the_wire(ctx)
    for mtu, told in ((2400, 2048), (1500, 1024)):
        hosts.cut_wire()
        ctx.eventually(lambda: ctx.service.ctl_json("port", "show", "p0")["state"] == "absent",
                       "the device is gone")
        hosts.wire_mtu = mtu
        hosts.join_wire()
        wait_for_the_wire(ctx)
        becomes(ctx, told)


@suite.case(timeout=60)
def slots_of_the_rings_that_are_too_small_for_the_interface_count(ctx):
    hosts = ctx.surroundings
    wait_for_the_wire(ctx)
    with wire_of(ctx, 4200):
        with ctx.new_service(config("a", "10.90.0.3", "net_af_packet0,iface=wire0", "roce", None),
                             inside=hosts.near.enter()) as small:
            ctx.eventually(lambda: small.ctl_json("port", "show", "p0")["state"] == "up", "up")
            equal(small.ctl_json("port", "show", "p0")["mtu"], 2048 - 98, "the port's MTU")
            ended = succeeds(ctx, "ib_write_bw", "-F", "-x", 3, "-n", 100, client=small)
            contains(ended.client.output, "1024[B]", "the MTU that both took")


suite.add("other_service_ends_cleanly", other_service_is_alive_and_ends_cleanly)
