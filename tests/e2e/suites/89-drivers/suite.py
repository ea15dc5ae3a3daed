"""Ports on the drivers that go through the kernel in other ways than af_packet: between two services
in two network namespaces (harness/two_hosts.py), and toward the kernel itself.

wire_xdp    af_xdp on veth. XDP wants frames that fit a page: a port MTU of 3300, path MTUs up to 2048
wire_tap    tap, bridged to the wire on either side; what a tap does routed is asked by ping. DPDK gives
            it no frame above Ethernet's: path MTUs up to 1024

What a driver gives is written down in docs/operations.md and asked here from the port itself."""

import time

from harness.suite import check, contains, equal
from harness.two_hosts import (AF_XDP, BUILD, TAP, TAP_MTU, XDP_MTU, config, make_suite,
                               other_service_is_alive_and_ends_cleanly, run_pair, succeeds,
                               wait_for_the_wire)

WIRE_VERIFY = BUILD / "tests/e2e/wire_verify/vrdma-wire-verify"

xdp = make_suite("wire_xdp", "vrdma", device=AF_XDP, mtu=XDP_MTU, wire_mtu=XDP_MTU)
tap = make_suite("wire_tap", "vrdma", device=TAP, mtu=TAP_MTU, wire_mtu=TAP_MTU)
SUITES = (xdp, tap)


def is_tap(ctx):
    return port(ctx.service)["devargs"] == TAP


def port(service):
    return service.ctl_json("port", "show", "p0")


def wait_for(ctx, service, state):
    return ctx.eventually(lambda: port(service)["state"] == state and port(service),
                          f"port p0 {state}")


def bridge_taps(ctx):
    """Each tap and its host's end of the wire become one Ethernet; again after one was made anew."""
    hosts = ctx.surroundings
    for host, service in ((hosts.near, ctx.service), (hosts.far, hosts.far_service)):
        wait_for(ctx, service, "up")
        host.run("sh", "-c", "ip link show bridge0 2>&- >&- || "
                 f"ip link add bridge0 mtu {TAP_MTU} type bridge mcast_snooping 0 forward_delay 0")
        for member in ("wire0", "tap0"):
            host.run("ip", "link", "set", member, "master", "bridge0", "up")
        host.run("ip", "link", "set", "bridge0", "up")


def ready(ctx):
    if is_tap(ctx):
        bridge_taps(ctx)
    wait_for_the_wire(ctx)


def add(suites, name, run, *arguments, timeout=60):
    def case(ctx):
        ready(ctx)
        run(ctx, *arguments)
    for suite in suites:
        suite.add(name, case, timeout=timeout)


# -- what the driver gives -------------------------------------------------------------------------


def port_says_what_it_has(ctx, driver, mtu):
    for service in (ctx.service, ctx.surroundings.far_service):
        shown = port(service)
        equal((shown["driver"], shown["mtu"], shown["queues"], shown["wakes"]),
              (driver, mtu, 1, True), "driver, MTU, queues and whether it wakes")


def worker_sleeps(service):
    return service.ctl_json("status")["workers"][0]["state"] == "asleep"


def idle_port_costs_no_processor(ctx):
    ctx.eventually(lambda: worker_sleeps(ctx.service), "the worker sleeps")
    before = ctx.service.ctl_json("status")["workers"][0]["turns"]
    time.sleep(1)
    turns = ctx.service.ctl_json("status")["workers"][0]["turns"] - before
    check(turns < 10_000, f"{turns} turns in an idle second")


def interface_receives_all_multicast(ctx):
    name = "tap0" if is_tap(ctx) else "wire0"
    near = ctx.surroundings.near
    details = near.run("ip", "-details", "link", "show", name)
    check("allmulti 1" in details or "ALLMULTI" in details, details)


add((xdp,), "port_says_what_it_has", port_says_what_it_has, "net_af_xdp", XDP_MTU)
add((tap,), "port_says_what_it_has", port_says_what_it_has, "net_tap", TAP_MTU)
add(SUITES, "idle_port_costs_no_processor", idle_port_costs_no_processor)
add(SUITES, "interface_receives_all_multicast", interface_receives_all_multicast)

# -- programs --------------------------------------------------------------------------------------


def perftest(ctx, program, *options):
    ended = succeeds(ctx, program, "-F", *options)
    contains(ended.client.output, f"{path_mtu(ctx)}[B]", "the MTU that it took from the vNIC")
    for side in (ended.client, ended.server):
        check("error" not in side.output.lower(), "there is an error message")


def path_mtu(ctx):
    return 1024 if is_tap(ctx) else 2048


def every_byte_is_right(ctx, transport, rounds, *options):
    ended = succeeds(ctx, WIRE_VERIFY, "-t", transport, "-n", rounds, "-q", 4, "-m", path_mtu(ctx),
                     *options)
    contains(ended.client.output, "every byte right")
    contains(ended.server.output, "every byte right")


for verb in ("write", "read", "send"):
    add(SUITES, f"{verb}_bw_rc", perftest, f"ib_{verb}_bw", "-s", 16385, "-n", 100)
add(SUITES, "write_lat_rc", perftest, "ib_write_lat", "-s", 64, "-n", 10)
add(SUITES, "send_bw_ud", perftest, "ib_send_bw", "-c", "UD", "-s", 1024, "-n", 50)
add(SUITES, "every_byte_of_rc_is_right", every_byte_is_right, "rc", 100)
add(SUITES, "every_byte_of_ud_is_right", every_byte_is_right, "ud", 50)


def path_mtu_above_the_ports_is_refused_with_the_reason(ctx):
    ended = run_pair(ctx, "ibv_rc_pingpong", "-g", 3, "-m", 4096, "-n", 10)
    check(ended.server.status not in (0, None), "the server did not fail")
    contains(ended.server.output, "the path MTU and its headers are longer than the port's MTU")


add(SUITES, "path_mtu_above_the_ports_is_refused_with_the_reason",
    path_mtu_above_the_ports_is_refused_with_the_reason)

# -- toward the kernel -----------------------------------------------------------------------------


def ping(ctx, host, target, *options):
    return ctx.run(host.enter(), "ping", "-c", 3, "-i", "0.2", "-W", 2, *options, target)


def kernel_reaches_the_vnic(ctx, host, service, mtu):
    wait_for(ctx, service, "up")
    contains(ping(ctx, host, "10.91.0.1").output, " 0% packet loss")
    contains(ping(ctx, host, "10.91.0.1", "-s", mtu - 28, "-M", "do").output, " 0% packet loss")
    known = [n for n in port(service)["neighbours"] if n["address"].endswith("0a5b:0009")]
    equal(len(known), 1, "neighbours with the kernel's address")
    ctx.eventually(lambda: worker_sleeps(service), "the worker sleeps")
    contains(ping(ctx, host, "10.91.0.1").output, " 0% packet loss")


@xdp.case(timeout=60)
def kernel_of_another_host_reaches_the_vnic(ctx):
    hosts = ctx.surroundings
    hosts.near.run("ip", "link", "add", "ping0", "mtu", 1500, "type", "veth", "peer", "name", "ping0",
                   "mtu", 1500, "netns", hosts.far.pid)
    hosts.far.run("ip", "address", "add", "10.91.0.9/24", "dev", "ping0")
    for host in (hosts.near, hosts.far):
        host.run("ip", "link", "set", "ping0", "up")
    with ctx.new_service(config("c", "10.91.0.1", "net_af_xdp1,iface=ping0", "auto", mtu=1500),
                         inside=hosts.near.enter()) as service:
        kernel_reaches_the_vnic(ctx, hosts.far, service, 1300)


@tap.case(timeout=60)
def kernel_of_the_host_reaches_the_vnic_without_a_bridge(ctx):
    near = ctx.surroundings.near
    with ctx.new_service(config("c", "10.91.0.1", "net_tap1,iface=ping0", "auto"),
                         inside=near.enter()) as service:
        wait_for(ctx, service, "up")
        near.run("ip", "address", "add", "10.91.0.9/24", "dev", "ping0")
        kernel_reaches_the_vnic(ctx, near, service, 1300)


@xdp.case(timeout=60)
def interface_whose_frames_do_not_fit_xdp_is_refused_with_the_reason(ctx):
    near = ctx.surroundings.near
    near.run("ip", "link", "add", "long0", "mtu", 9000, "type", "veth", "peer", "name", "long1",
             "mtu", 9000)
    for end in ("long0", "long1"):
        near.run("ip", "link", "set", end, "up")
    with ctx.new_service(config("c", "10.91.0.1", "net_af_xdp1,iface=long0", "auto"),
                         inside=near.enter()) as service:
        contains(wait_for(ctx, service, "absent")["reason"], "for XDP the MTU")
        for end in ("long0", "long1"):
            near.run("ip", "link", "set", end, "mtu", XDP_MTU)
        equal(wait_for(ctx, service, "up")["mtu"], XDP_MTU, "MTU")


# -- it vanishes -----------------------------------------------------------------------------------


def port_vanishes_and_comes_back(ctx):
    hosts = ctx.surroundings
    services = (ctx.service, hosts.far_service)
    every_byte_is_right(ctx, "rc", 10)
    before = [port(service)["attachments"] for service in services]
    if not is_tap(ctx):
        hosts.cut_wire()
        for service in services:
            check(wait_for(ctx, service, "absent")["reason"], "the reason is empty")
        hosts.join_wire()
    else:
        for host in (hosts.near, hosts.far):
            host.run("ip", "link", "delete", "tap0")
        for service, count in zip(services, before):
            ctx.eventually(lambda s=service, c=count: port(s)["attachments"] > c, "it came back")
    ready(ctx)
    for service, count in zip(services, before):
        shown = port(service)
        equal(shown["attachments"], count + 1, "attachments")
        check(shown["link_losses"] >= 1, "the loss was not counted")
    every_byte_is_right(ctx, "rc", 50)


def link_goes_down_and_up(ctx):
    near = ctx.surroundings.near
    name = "tap0" if is_tap(ctx) else "wire0"
    near.run("ip", "link", "set", name, "down")
    contains(wait_for(ctx, ctx.service, "down")["reason"], "down")
    near.run("ip", "link", "set", name, "up")
    ready(ctx)
    every_byte_is_right(ctx, "rc", 20)


add(SUITES, "port_vanishes_and_comes_back", port_vanishes_and_comes_back, timeout=90)
add(SUITES, "link_goes_down_and_up", link_goes_down_and_up)
add(SUITES, "other_service_ends_cleanly", other_service_is_alive_and_ends_cleanly)
