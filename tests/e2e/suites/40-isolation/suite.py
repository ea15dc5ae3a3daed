"""Tenants that are in different networks, or that do what they may not, get an error of their own."""

import os
import re

from harness.context import is_root
from harness.suite import Service, Skip, Suite, check, contains, equal
from lab.service import two_tenants


def can_hand_over_userfaultfd():
    return is_root() and os.path.exists("/dev/userfaultfd")


def tenants(runtime_dir):
    return two_tenants(runtime_dir, extra=f"""[[network]]
name = "green"
id = 11
[[vnic]]
name = "x"
network = "green"
address = "10.0.0.2"
[[vnic]]
name = "z"
network = "green"
address = "10.0.0.9"
process_memory = false
[[vnic]]
name = "plain"
network = "green"
address = "10.0.0.10"
mode = "0666"
[[vnic]]
name = "faulting"
network = "green"
address = "10.0.0.11"
mode = "0666"
userfaultfd = {"true" if can_hand_over_userfaultfd() else "false"}
""")


suite = Suite("isolation", Service(config=tenants))


@suite.case(timeout=40)
def rc_into_another_network_fails_with_retry_exceeded(ctx):
    ended = ctx.pair("ibv_rc_pingpong", "-g", 3, "-n", 5, server="a", client="z", timeout=30)
    check(ended.client.status not in (0, None), "the client did not fail")
    contains(ended.client.output, "transport retry counter exceeded")


@suite.case(timeout=40)
def write_into_another_network_fails(ctx):
    ended = ctx.pair("ib_write_bw", "-F", "-s", 64, "-n", 5, server="a", client="z", timeout=30)
    check(ended.client.status not in (0, None), "the client did not fail")
    contains(ended.client.output, "Completion with error")
    # perftest prints the status' number: 12 is IBV_WC_RETRY_EXC_ERR.
    contains(ended.client.output, "12")


@suite.case(timeout=40)
def ud_into_another_network_is_lost(ctx):
    before = received(ctx, "a")
    ended = ctx.pair("ibv_ud_pingpong", "-g", 3, "-n", 5, server="a", client="z", timeout=4)
    check(not ended.succeeded(), "a message arrived")
    equal(received(ctx, "a"), before, "messages that a received")


def received(ctx, vnic):
    answer = ctx.service.ctl_json("counters", "--vnic", vnic)
    counters = answer["vnics"][0]["counters"]
    return next(counter["value"] for counter in counters
                if counter["name"] == "receive_operations")


@suite.case(timeout=60)
def same_address_in_two_networks_are_two_vnics(ctx):
    """a talks to the 10.0.0.2 of its own network; that of the other network hears nothing."""
    before = received(ctx, "x")
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 20, server="a", client="b")
    equal(received(ctx, "x"), before, "messages that x received")


@suite.case(timeout=60)
def a_failed_neighbour_does_not_disturb_a_transfer(ctx):
    with ctx.start_pair("ib_write_bw", "-F", "-D", 3, "-s", 4096) as transfer:
        ctx.pair("ibv_rc_pingpong", "-g", 3, "-n", 5, server="b", client="z", timeout=20)
        ended = transfer.finish()
    print(ended.describe())
    check(ended.succeeded(), "the transfer failed")


@suite.case()
def socket_mode_keeps_other_users_out(ctx):
    if not is_root():
        raise Skip("needs root, to become another user")
    # A staged vrdma-run, because nobody may not be able to enter the checkout.
    program = ctx.places.staged() / "bin" / "vrdma-run"
    ended = ctx.run(program, "--runtime-dir", ctx.service.runtime_dir, "--vnic", "a", "--",
                    "ibv_devices", user="nobody")
    equal(ended.status, 2, "the exit status")
    contains(ended.output, "permission denied")
    contains(ended.output, "mode 0660")


@suite.case(timeout=60)
def process_memory_is_refused_where_the_operator_says_so(ctx):
    ended = ctx.run(ctx.on("z"), "env", "VRDMA_MEMORY=process", "VRDMA_LOG=info",
                    "ibv_rc_pingpong", "-g", 3)
    equal(ended.status, 1, "the exit status")
    contains(ended.output, "Couldn't register MR")
    contains(ended.output, "process_memory")
    contains(ended.output, "VRDMA_MEMORY=process")  # why it could not be reached otherwise
    # Everybody else does not notice.
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 20, server="x", client="z")


@suite.case(timeout=60)
def userfaultfd_is_handed_over_where_the_operator_says_so(ctx):
    if not can_hand_over_userfaultfd():
        raise Skip("needs root and /dev/userfaultfd")
    ctx.user = "nobody"
    for vnic, reason in (("plain", "adopted, single thread"), ("faulting", "adopted, userfaultfd")):
        ended = ctx.pair_succeeds(
            "ibv_rc_pingpong", "-g", 3, "-n", 20, server=vnic, client=vnic,
            wrap=lambda name: [ctx.places.staged() / "bin" / "vrdma-run", "--runtime-dir",
                               ctx.service.runtime_dir, "--vnic", name, "--", "env",
                               "VRDMA_LOG=info"])
        contains(ended.client.output, reason)


@suite.case()
def control_socket_keeps_other_users_out(ctx):
    if not is_root():
        raise Skip("needs root, to become another user")
    ended = ctx.run(ctx.places.staged() / "bin" / "vrdmactl", "--runtime-dir",
                    ctx.service.runtime_dir, "status", user="nobody")
    equal(ended.status, 1, "the exit status")
    check(re.search("permission", ended.output, re.IGNORECASE), "the reason is not said")


def needs_another_user():
    if not is_root():
        raise Skip("needs root, to become another user; as an ordinary user all suites show this")


user = Suite("ordinary-user", Service(user="nobody", installed=True), needs=needs_another_user)


@user.case(timeout=60)
def pingpong_rc_and_ud(ctx):
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 100, "-c")
    ctx.pair_succeeds("ibv_ud_pingpong", "-g", 3, "-n", 100, "-s", 1024)


@user.case(timeout=60)
def pingpong_with_events(ctx):
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 100, "-c", "-e")


@user.case(timeout=120)
def perftest_programs(ctx):
    for program in ("ib_write_bw", "ib_read_bw", "ib_send_bw", "ib_atomic_bw"):
        size = [] if "atomic" in program else ["-s", 4096]
        ctx.pair_succeeds(program, "-F", *size, "-n", 100, timeout=40)


@user.case()
def vrdmactl_of_the_same_user(ctx):
    ctx.succeeds(ctx.tree.vrdmactl, "--runtime-dir", ctx.service.runtime_dir, "status")
