"""Ports without any RDMA: the addresses of vNICs answer to the kernel of another network namespace, a
port comes and goes with its device, and two services meet over memif."""

import os
import subprocess

from harness.context import is_root
from harness.suite import Skip, Suite, check, contains, equal

# Interface names have at most 15 characters; the process keeps two runs apart.
OURS, THEIRS, SPACE = (f"vr{end}{os.getpid() % 100000}" for end in ("a", "b", "ns"))
ADDRESS, PEER = "10.87.0.1", "10.87.0.9"


def ip(*words, fail=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10, check=False)
    if fail and done.returncode != 0:
        raise Skip(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.returncode == 0


def make_wire():
    ip("link", "add", OURS, "type", "veth", "peer", "name", THEIRS, "netns", SPACE)
    ip("-n", SPACE, "addr", "add", PEER + "/24", "dev", THEIRS)
    ip("-n", SPACE, "link", "set", THEIRS, "up")
    ip("link", "set", OURS, "up")


def remove_wire():
    ip("link", "del", OURS, fail=False)
    ip("netns", "del", SPACE, fail=False)


def needs():
    if not is_root():
        raise Skip("network namespaces and packet sockets need root")
    remove_wire()
    ip("netns", "add", SPACE)
    make_wire()
    remove_wire()


def config(name, address, devargs):
    return lambda runtime_dir: f"""[service]
runtime_dir = "{runtime_dir}"
system_view = false
[[network]]
name = "blue"
id = 10
[[vnic]]
name = "{name}"
network = "blue"
address = "{address}"
[[port]]
name = "p0"
devargs = "{devargs.format(base=runtime_dir.parent)}"
network = "blue"
"""


suite = Suite("ports", needs=needs)
AF_PACKET = f"net_af_packet0,iface={OURS},framesz=8192,blocksz=65536"


def port(service):
    return service.ctl_json("port", "show", "p0")


def wait_for(ctx, service, state):
    return ctx.eventually(lambda: port(service)["state"] == state and port(service),
                          f"port p0 {state}")


def counter(service, name):
    return next(c["value"] for c in port(service)["counters"] if c["name"] == name)


def ping(ctx, target, *options):
    return ctx.run("ip", "netns", "exec", SPACE, "ping", "-c", 3, "-i", "0.2", "-W", 2, *options,
                   target)


class Wire:
    def __enter__(self):
        ip("netns", "add", SPACE)
        make_wire()

    def __exit__(self, *_):
        remove_wire()


@suite.case(timeout=60)
def vnic_answers_arp_and_echo_of_another_host(ctx):
    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        wait_for(ctx, service, "up")
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        contains(ping(ctx, ADDRESS, "-s", 1400, "-M", "do").output, " 0% packet loss")
        check(counter(service, "arp_answered") >= 1)
        equal(counter(service, "echo_answered"), 6)
        known = [n for n in port(service)["neighbours"] if n["address"].endswith("0a57:0009")]
        equal(len(known), 1, "neighbours with the other side's address")
        done = service.ctl("port", "show", "p0")
        contains(done.stdout, PEER)


@suite.case(timeout=60)
def vnic_answers_neighbour_solicitation(ctx):
    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        wait_for(ctx, service, "up")
        link_local = service.ctl_json("vnic", "show", "a")["gids"][0]
        ctx.eventually(lambda: " 0% packet loss" in ping(ctx, f"{link_local}%{THEIRS}", "-6").output,
                       "the link-local GID answers", timeout=30)
        check(counter(service, "solicitations_answered") >= 1)


@suite.case(timeout=60)
def interface_receives_all_multicast_while_a_port_uses_it(ctx):
    def all_multicast():
        return int(ctx.succeeds("cat", f"/sys/class/net/{OURS}/flags"), 16) & 0x200 != 0

    with Wire():
        check(not all_multicast(), "it does so already")
        with ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
            wait_for(ctx, service, "up")
            check(all_multicast(), "it does not")
        check(not all_multicast(), "it still does")


@suite.case(timeout=60)
def addresses_of_nobody_are_not_answered(ctx):
    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        wait_for(ctx, service, "up")
        contains(ping(ctx, "10.87.0.77").output, "100% packet loss")
        equal(counter(service, "arp_answered"), 0)


@suite.case(timeout=90)
def faults_are_injected_and_taken_away_while_the_port_runs(ctx):
    def fault(*words):
        done = service.ctl("port", "fault", "p0", *words)
        equal(done.returncode, 0, done.stderr)
        return done.stdout

    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        wait_for(ctx, service, "up")
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        contains(fault("duplicate=1", "direction=send"), "duplicate=1")
        contains(ping(ctx, ADDRESS).output, " duplicates")
        contains(fault("drop=1", "direction=receive"), "Faults: drop=1")
        contains(ping(ctx, ADDRESS).output, "100% packet loss")
        check(counter(service, "faults_dropped") >= 3)
        equal(port(service)["faults"]["direction"], "receive")
        contains(fault("delay=20ms", "reorder=4", "reorder_share=1"), "delay=20000us")
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        equal(fault("off"), "Faults: off\n")
        equal(port(service)["faults"], None)
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        refused = service.ctl("port", "fault", "p0", "drop=2")
        equal(refused.returncode, 1)
        contains(refused.stderr, "from 0 to 1")


@suite.case(timeout=60)
def port_vanishes_and_comes_back(ctx):
    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        wait_for(ctx, service, "up")
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        ip("link", "del", OURS)
        gone = wait_for(ctx, service, "absent")
        check(gone["reason"], "the reason is empty")
        make_wire()
        back = wait_for(ctx, service, "up")
        equal((back["attachments"], back["link_losses"]), (2, 1), "attachments and losses")
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")


@suite.case(timeout=60)
def service_starts_without_the_device_and_finds_it_later(ctx):
    ip("netns", "add", SPACE)
    try:
        with ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
            contains(wait_for(ctx, service, "absent")["reason"], OURS)
            make_wire()
            wait_for(ctx, service, "up")
            contains(ping(ctx, ADDRESS).output, " 0% packet loss")
    finally:
        remove_wire()


@suite.case(timeout=60)
def idle_port_costs_no_processor(ctx):
    with Wire(), ctx.new_service(config("a", ADDRESS, AF_PACKET)) as service:
        check(wait_for(ctx, service, "up")["wakes"], "the port cannot wake a worker")
        ctx.eventually(lambda: service.ctl_json("status")["workers"][0]["state"] == "asleep",
                       "the worker sleeps")
        before = service.ctl_json("status")["workers"][0]["turns"]
        contains(ping(ctx, ADDRESS).output, " 0% packet loss")
        turns = service.ctl_json("status")["workers"][0]["turns"] - before
        check(turns < 1_000_000, f"{turns} turns for three packets")


@suite.case(timeout=90)
def memif_waits_for_its_server_and_outlives_it(ctx):
    # Their directories differ: the socket is the case's own.
    socket = f"/tmp/{SPACE}.sock"
    memif = "net_memif0,role={{}},socket={},socket-abstract=no".format(socket)
    client = config("b", "10.87.0.2", memif.format("client"))
    server = config("a", ADDRESS, memif.format("server"))
    try:
        with ctx.new_service(client) as b:
            contains(wait_for(ctx, b, "waiting")["reason"], socket)
            with ctx.new_service(server) as a:
                wait_for(ctx, a, "up")
                wait_for(ctx, b, "up")
                a.kill()
            wait_for(ctx, b, "waiting")
            with ctx.new_service(server) as a:
                wait_for(ctx, a, "up")
                equal(wait_for(ctx, b, "up")["link_losses"], 1, "losses of the client's link")
    finally:
        if os.path.exists(socket):
            os.unlink(socket)


MEMIF_IN_ONE_SERVICE = """[service]
runtime_dir = "{directory}"
system_view = false
[[network]]
name = "blue"
id = 10
[[network]]
name = "red"
id = 11
[[port]]
name = "p0"
network = "blue"
devargs = "net_memif0,role=client,id=0,socket={socket},socket-abstract=no"
[[port]]
name = "p1"
network = "red"
devargs = "net_memif1,role=server,id=0,socket={socket},socket-abstract=no"
"""


@suite.case(timeout=120)
def both_ends_of_a_memif_in_one_service_end_cleanly(ctx):
    # Stopping one end is what the other notices, in DPDK's interrupt thread: a race, so many times.
    socket = f"/tmp/{SPACE}.sock"

    def both_ends(directory):
        return MEMIF_IN_ONE_SERVICE.format(directory=directory, socket=socket)

    for attempt in range(12):
        with ctx.new_service(both_ends) as service:
            ctx.eventually(lambda: [p["state"] for p in service.ctl_json("port", "list")["ports"]]
                           == ["up", "up"], "both ends are up")
            equal(service.stop(), 0, f"exit status of start {attempt}")
