"""Multicast: every member of a group of the network gets every message, on one host and between
two, and nobody else does. vrdma-group-verify checks each copy; mckey and perftest are the
distribution's.

multicast          one host, programs on two workers
multicast_wire     two hosts, veth and af_packet, two workers on the near one
multicast_memif    two hosts, shared memory of DPDK"""

import contextlib
import re
import signal

from harness.program import Program
from harness.suite import Service, Suite, check, contains, equal
from harness.two_hosts import (AF_PACKET, BUILD, config, make_suite, on_far, on_near,
                               other_service_is_alive_and_ends_cleanly, wait_for_the_wire)
from lab.service import two_tenants

VERIFY = BUILD / "tests/e2e/group_verify/vrdma-group-verify"
GROUP = "239.1.2.3"
GROUP6 = "ff1e::1:2:3"


def tenants(runtime_dir):
    return two_tenants(runtime_dir, extra_service="workers = 2", extra="""[[network]]
name = "green"
id = 11
[[vnic]]
name = "c"
network = "blue"
address = "10.0.0.3"
[[vnic]]
name = "x"
network = "green"
address = "10.0.0.4"
""")


suite = Suite("multicast", Service(config=tenants))
wire = make_suite("multicast_wire", "roce", workers=2)
memif = make_suite("multicast_memif", "vrdma", memif=True)


def member(ctx, on, *options, role="listen"):
    program = Program(ctx, *on, VERIFY, role, *options)
    program.says("listening", "a member listens")
    return program


def send(ctx, on, *options):
    contains(ctx.succeeds(on, VERIFY, "send", *options, timeout=30), "sent")


# -- one host --------------------------------------------------------------------------------------


def reaches_all(ctx, group, source):
    common = ["--group", group, "--messages", 100]
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(member(ctx, ctx.on(vnic), *common, "--queue-pairs", count))
                   for vnic, count in (("a", 1), ("b", 3), ("b", 20), ("c", 1))]
        send(ctx, ctx.on("c"), *common)
        for one in members:
            contains(one.ends_well(), f"every copy right: 100 messages from {source}")


suite.add("every_member_of_an_ipv4_group_gets_every_message",
          lambda ctx: reaches_all(ctx, GROUP, "10.0.0.3"), timeout=60)
suite.add("every_member_of_an_ipv6_group_gets_every_message",
          lambda ctx: reaches_all(ctx, GROUP6, "fe80::"), timeout=60)


@suite.case(timeout=40)
def largest_messages_reach_all(ctx):
    common = ["--messages", 20, "--bytes", 4096]
    with member(ctx, ctx.on("a"), *common, "--queue-pairs", 40) as one:
        send(ctx, ctx.on("b"), *common)
        one.ends_well()


@suite.case(timeout=40)
def other_networks_and_other_groups_hear_nothing(ctx):
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(member(ctx, ctx.on(vnic), "--group", group, "--seconds", 4,
                                           role="silence"))
                for vnic, group in (("x", GROUP), ("b", "239.1.2.4"))]
        with member(ctx, ctx.on("a")) as one:
            send(ctx, ctx.on("b"))
            one.ends_well()
        for each in deaf:
            contains(each.ends_well(), "nothing was heard")


@suite.case(timeout=40)
def killed_member_leaves_its_group(ctx):
    members = [member(ctx, ctx.on("a"), "--queue-pairs", 32) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for each in members:
            stack.enter_context(each)
        for each in members:
            each.process.send_signal(signal.SIGKILL)
        ctx.eventually(lambda: all(qp["vnic"] != "a" for qp in
                                   ctx.service.ctl_json("qp", "list")["qps"]), "they are gone")
    with member(ctx, ctx.on("a"), "--queue-pairs", 64) as one:
        send(ctx, ctx.on("b"))
        one.ends_well()


def groups_of(service, *words):
    """Network, group, vNIC and number of queue pairs of each entry of `vrdmactl group list`, and
    what its port says."""
    return [(one["network"], one["group"], one["vnic"], len(one["qpns"]), one["port"])
            for one in service.ctl_json("group", "list", *words)["groups"]]


def gid_of(group):
    return "0000:0000:0000:0000:0000:ffff:" + ":".join(
        f"{int(a):02x}{int(b):02x}" for a, b in [group.split(".")[:2], group.split(".")[2:]])


@suite.case(timeout=40)
def group_list_tells_who_is_in_which_group(ctx):
    with contextlib.ExitStack() as stack:
        for vnic, group, count in (("b", GROUP, 3), ("a", GROUP, 1), ("a", "239.1.2.4", 2),
                                   ("b", GROUP, 2), ("x", GROUP, 1)):
            stack.enter_context(member(ctx, ctx.on(vnic), "--group", group, "--seconds", 30,
                                       "--queue-pairs", count, role="silence"))
        everything = [("blue", gid_of(GROUP), "a", 1, "none"), ("blue", gid_of(GROUP), "b", 5, "none"),
                      ("blue", gid_of("239.1.2.4"), "a", 2, "none"),
                      ("green", gid_of(GROUP), "x", 1, "none")]
        ctx.eventually(lambda: groups_of(ctx.service) == everything, "all have joined")
        equal(groups_of(ctx.service, "--vnic", "b"), everything[1:2], "the groups of b")
        cut = ctx.service.ctl_json("group", "list", "--limit", "1")
        equal((len(cut["groups"]), cut["total"]), (1, 4), "entries shown, and all")
        qpns = {qp["qpn"] for qp in ctx.service.ctl_json("qp", "list")["qps"]}
        for one in ctx.service.ctl_json("group", "list")["groups"]:
            check(set(one["qpns"]) <= qpns, f"there are no such queue pairs: {one}")
        table = ctx.ctl("group", "list").stdout
        check(re.search(r"blue +239\.1\.2\.4 +a +none +0x[0-9a-f]{6}, 0x[0-9a-f]{6}\n", table),
              "the table has no such line: " + table)
    ctx.eventually(lambda: not groups_of(ctx.service), "all have left")


@suite.case(timeout=60)
def mckey_joins_and_receives(ctx):
    mckey(ctx, [*ctx.on("a")], "10.0.0.1", [*ctx.on("b")], "10.0.0.2")


@suite.case(timeout=60)
def mckey_of_another_network_receives_nothing(ctx):
    with Program(ctx, *ctx.on("x"), "mckey", "-m", GROUP, "-b", "10.0.0.4", "-C", 5) as deaf:
        mckey(ctx, [*ctx.on("a")], "10.0.0.1", [*ctx.on("b")], "10.0.0.2")
        check(deaf.process.poll() is None, "it heard something: " + deaf.output())


def mckey(ctx, receiver, receiver_address, sender, sender_address):
    common = ["-m", GROUP, "-C", 50, "-S", 500]
    # It says that it has joined, but not at once where nobody reads along.
    with Program(ctx, *receiver, "stdbuf", "-oL", "mckey", *common, "-b", receiver_address) as one:
        one.says("joined", "the receiver has joined")
        # Its sender does not wait for its sends and destroys its queue pair: some of them never leave.
        for _ in range(30):
            contains(ctx.succeeds(sender, "mckey", *common, "-s", "-b", sender_address,
                                  timeout=20), "data transfers complete")
            if one.process.poll() is not None:
                break
        output = one.ends_well(10.0)
        contains(output, "receiving data transfers\ndata transfers complete")


def perftest(ctx):
    # Its group is an IPv6 one, and it insists that the vNIC's address is of the same kind.
    ended = ctx.pair_succeeds("ib_send_bw", "-c", "UD", "-g", "-s", 1024, "-n", 200, "-F", "-x", 1,
                              timeout=25)
    contains(ended.client.output, "1024")


suite.add("ib_send_bw_to_a_group", perftest, timeout=40)

# -- two hosts -------------------------------------------------------------------------------------


def port_counter(service, name):
    counters = service.ctl_json("port", "show", "p0")["counters"]
    return next(c["value"] for c in counters if c["name"] == name)


def reaches_both_hosts(ctx, group, source, there_and_back=False):
    wait_for_the_wire(ctx)
    common = ["--group", group, "--messages", 100, "--gap-us", 2000]
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(member(ctx, on, *common, "--queue-pairs", count))
                   for on, count in ((on_near(ctx), 1), (on_near(ctx), 2), (on_far(ctx), 3))]
        send(ctx, on_far(ctx) if there_and_back else on_near(ctx), *common)
        for one in members:
            contains(one.ends_well(), f"every copy right: 100 messages from {source}")


def unjoined_group_is_dropped_and_counted(ctx):
    wait_for_the_wire(ctx)
    far = ctx.surroundings.far_service
    before = port_counter(far, "foreign_group")
    send(ctx, on_near(ctx), "--group", "239.9.9.9", "--messages", 10)
    ctx.eventually(lambda: port_counter(far, "foreign_group") == before + 10,
                   "the far host counts what nobody wanted")


def group_list_tells_what_the_port_says(ctx):
    wait_for_the_wire(ctx)
    local = "ff12::1:2:3"  # link-local, and reported all the same
    silent = "224.0.0.1"
    with contextlib.ExitStack() as stack:
        for group in (GROUP, local, silent):
            stack.enter_context(member(ctx, on_near(ctx), "--group", group, "--seconds", 30,
                                       role="silence"))

        def states():
            return sorted(entry[4] for entry in groups_of(ctx.service))

        check("joined" in states() or "joining" in states(), "nobody joins")
        # The second report comes a second after the first.
        ctx.eventually(lambda: states() == ["joined", "joined", "unreported"], "they have joined")
    ctx.eventually(lambda: not groups_of(ctx.service), "all have left")


def mckey_between_hosts(ctx):
    wait_for_the_wire(ctx)
    mckey(ctx, on_far(ctx), "10.90.0.2", on_near(ctx), "10.90.0.1")


def add(name, run, timeout=20):
    for one in (wire, memif):
        one.add(name, run, timeout=timeout)


add("members_on_both_hosts_get_every_message_of_the_near_one",
    lambda ctx: reaches_both_hosts(ctx, GROUP, "10.90.0.1"), timeout=60)
add("members_on_both_hosts_get_every_message_of_the_far_one",
    lambda ctx: reaches_both_hosts(ctx, GROUP, "10.90.0.2", True), timeout=60)
add("ipv6_group_spans_both_hosts", lambda ctx: reaches_both_hosts(ctx, GROUP6, "fe80::"),
    timeout=60)
add("unjoined_group_is_dropped_and_counted", unjoined_group_is_dropped_and_counted)
add("mckey_between_hosts", mckey_between_hosts, timeout=60)
add("group_list_tells_what_the_port_says", group_list_tells_what_the_port_says, timeout=40)


@wire.case(timeout=60)
def snooping_switch_learns_who_belongs_to_a_group(ctx):
    """The far host's kernel is the switch: a bridge that sends groups only where members are, and
    asks for them itself."""
    hosts = ctx.surroundings
    run = hosts.far.run
    hosts.near.run("ip", "link", "add", "snooped", "mtu", 4200, "type", "veth", "peer", "name",
                   "switchport", "mtu", 4200, "netns", hosts.far.pid)
    run("ip", "link", "add", "switch", "type", "bridge", "mcast_snooping", 1, "mcast_querier", 1,
        "mcast_query_response_interval", 100, "mcast_last_member_interval", 20,
        "mcast_startup_query_interval", 100, "mcast_startup_query_count", 60)
    run("ip", "link", "set", "switchport", "master", "switch", "up")
    run("ip", "link", "set", "switch", "up")
    hosts.near.run("ip", "link", "set", "snooped", "up")
    devargs = AF_PACKET.replace("net_af_packet0", "net_af_packet1").replace("wire0", "snooped")

    def known(group):
        return group in run("bridge", "mdb", "show", "dev", "switch")

    with ctx.new_service(config("s", "10.90.1.1", devargs, "roce"),
                         inside=hosts.near.enter()) as service:
        ctx.eventually(lambda: service.ctl_json("port", "show", "p0")["state"] == "up", "up")
        on = [*hosts.near.enter(), *service.run_prefix("s")]
        with contextlib.ExitStack() as stack:
            groups = (GROUP, GROUP6)
            for group in groups:
                stack.enter_context(member(ctx, on, "--group", group, "--seconds", 40,
                                           role="silence"))
            for group in groups:
                ctx.eventually(lambda group=group: known(group), f"the switch knows {group}", 20)
            ctx.eventually(lambda: port_counter(service, "group_queries") > 0,
                           "the switch has asked", 20)
            # Two of each group unasked, and answers.
            ctx.eventually(lambda: port_counter(service, "group_reports") > 4,
                           "its questions are answered", 20)
        for group in groups:
            ctx.eventually(lambda group=group: not known(group), f"{group} has no members", 20)


add("other_service_ends_cleanly", other_service_is_alive_and_ends_cleanly)
