"""vRDMA and Linux soft-RoCE talk to each other: RC, UC and UD, all operations, in both roles, with
several sizes and path MTUs, and while packets get lost, doubled, changed or overtaken between them.

vrdmad's port is an af_packet socket on the interface of a network namespace; the guest is at the
other end of that wire. The programs exchange their parameters over TCP between the kernels'
addresses; the vNICs have addresses of their own in the same network.

"serves": the program on vRDMA is the server, "asks": it is the client. In perftest the client of
WRITE and SEND sends data and the client of READ receives it; in the pingpongs both do both."""

import functools
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time

from harness.suite import Service, Skip, Suite, check, contains, equal
from lab.tree import Tree
from vm import network, peers

ADDRESSES = {"a": "10.9.0.10", "b": "10.9.0.11"}


def config(runtime_dir):
    text = f"""[service]
runtime_dir = "{runtime_dir}"
system_view = false
[[network]]
name = "wire"
id = 1
[[port]]
name = "uplink"
devargs = "net_af_packet0,iface={network.PORT},framesz=8192,blocksz=65536"
network = "wire"
mtu = {network.MTU}
prefix_length = {peers.PREFIX}
peer = "roce"
"""
    for name, address in ADDRESSES.items():
        text += f'[[vnic]]\nname = "{name}"\nnetwork = "wire"\naddress = "{address}"\n'
    return text


def needs():
    tree = Tree.built(os.environ["VRDMA_BUILD"])
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "vrdmad.toml")
        path.write_text(config(pathlib.Path(directory, "run")), encoding="utf-8")
        commands = ([tree.vrdmad, "--config", path, "--check"],
                    [tree.vrdmactl, "port", "list", "--help"])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Skip("this vRDMA has no ports to other hosts: " +
                           (done.stdout + done.stderr).strip())
    peers.needs()


wire = Suite("interop_port", needs=needs, surroundings=peers.surroundings,
             service=Service(config=config, inside=lambda around: around.host.enter()))
suite = Suite("interop", needs=needs, surroundings=peers.surroundings,
              service=Service(config=config, inside=lambda around: around.host.enter()))


def sides(ctx, role, vnic="a"):
    """(server, client); the guest has forgotten what was before."""
    guest = ctx.surroundings.guest
    guest.reset()
    guest.heal()
    ours = peers.HostSide(ctx.surroundings.host, ctx.on(vnic), "vrdma0")
    return (ours, guest) if role == "serves" else (guest, ours)


# -- the wire itself -------------------------------------------------------------------------------


@wire.case(timeout=60)
def vnics_answer_arp_and_echo_requests(ctx):
    guest = ctx.surroundings.guest
    guest.reset()
    for address in ADDRESSES.values():
        contains(guest.must(f"ping -c 3 -i 0.2 {address}"), " 0% packet loss")
        contains(guest.must("ip neigh"), address)
    ended = guest.run("ping -c 2 -i 0.2 -W 1 10.9.0.99")
    check(ended.status != 0, "an address that nobody has answers")


# -- pingpongs -------------------------------------------------------------------------------------


def pingpong(ctx, role, kind, options):
    ended = peers.pair_succeeds(*sides(ctx, role), f"ibv_{kind}_pingpong", ["-c", *options])
    for side in (ended.client, ended.server):
        contains(side.output, "usec/iter")
        check("invalid data" not in side.output, "the received data is wrong")


def add_pingpong(name, role, kind, *options):
    suite.add(f"{kind}_pingpong_{name}_{role}",
              functools.partial(pingpong, role=role, kind=kind, options=options), timeout=90)


for way in ("serves", "asks"):
    for size in (1, 4096, 65537):
        add_pingpong(str(size), way, "rc", "-n", 50, "-s", size, "-m", 4096)
    add_pingpong("events", way, "rc", "-n", 50, "-s", 1000, "-e")
    for mtu in (256, 512, 1024, 2048):
        add_pingpong(f"mtu_{mtu}", way, "rc", "-n", 30, "-s", 10001, "-m", mtu)
    for size in (1, 10001):
        add_pingpong(str(size), way, "uc", "-n", 50, "-s", size, "-m", 1024)
    for size in (1, 2048, 4096):
        add_pingpong(str(size), way, "ud", "-n", 50, "-s", size)
    add_pingpong("4_queue_pairs", way, "srq", "-n", 50, "-s", 3000, "-q", 4)

# -- perftest --------------------------------------------------------------------------------------


def rows(text):
    """Sizes in perftest's table of results."""
    return [
        int(line.split()[0]) for line in text.splitlines()
        if re.fullmatch(r"\s*\d+(\s+\d+(\.\d+)?){4,}\s*", line)
    ]


# READs and atomics under way at once. Each perftest goes by the limit of its own device, which is 128
# on soft-RoCE and 16 on vRDMA; a responder answers what is beyond its own with "invalid request".
OUTSTANDING = 16


def perftest(ctx, role, program, options, size, disturbance=None, vnic="a", timeout=90):
    server, client = sides(ctx, role, vnic)
    guest = ctx.surroundings.guest
    if disturbance:
        guest.disturb(disturbance, disturbance)
    if program.startswith(("ib_read", "ib_atomic")):
        options = ["-o", OUTSTANDING, *options]
    ended = peers.pair_succeeds(server, client, program, ["-F", *options], timeout=timeout)
    equal(rows(ended.client.output), [size], "the sizes that the client reports")
    for side in (ended.client, ended.server):
        check("error" not in side.output.lower(), "there is an error message")
    return ended


def add_perftest(name, role, program, options, size, **more):
    suite.add(
        f"{program.removeprefix('ib_')}_{name}_{role}",
        functools.partial(perftest, role=role, program=program, options=options, size=size, **more),
        timeout=120)


TRANSPORTS = {"write": ("RC", "UC"), "read": ("RC",), "send": ("RC", "UC", "UD")}

for way in ("serves", "asks"):
    for verb, transports in TRANSPORTS.items():
        for transport in transports:
            lower = transport.lower()
            # Nobody repeats what UC loses, and these programs wait for it: short messages.
            sizes = {"RC": (5001, 262144), "UC": (5001,), "UD": (2000, 4096)}[transport]
            for size in sizes:
                add_perftest(f"{lower}_{size}", way, f"ib_{verb}_bw",
                             ["-c", transport, "-s", size, "-n", 20 if size > 65536 else 100], size)
            add_perftest(lower, way, f"ib_{verb}_lat", ["-c", transport, "-s", 64, "-n", 50], 64)
        add_perftest("4_queue_pairs", way, f"ib_{verb}_bw", ["-q", 4, "-s", 4096, "-n", 50], 4096)
    for operation in ("FETCH_AND_ADD", "CMP_AND_SWAP"):
        for kind in ("bw", "lat"):
            add_perftest(operation.lower(), way, f"ib_atomic_{kind}", ["-A", operation, "-n", 50],
                         8)
add_perftest("both_ways", "asks", "ib_write_bw", ["-b", "-s", 65536, "-n", 20], 65536)
add_perftest("both_ways", "asks", "ib_send_bw", ["-b", "-s", 65536, "-n", 20], 65536)
add_perftest("second_vnic", "serves", "ib_write_bw", ["-s", 4096, "-n", 50], 4096, vnic="b")

# -- rdma_cm ---------------------------------------------------------------------------------------

RDMA_CM_PORTS = range(7300, 7400)
VNIC = ADDRESSES["a"]
# What clients say when the server, which has just been started, does not listen yet.
NOT_YET = ("REJECTED", "UNREACHABLE", "Unexpected CM event", "Connection refused")


def connects(ctx, role, server_words, client_words, timeout=60):
    """A server by its address, then clients until it listens; (server's, client's) Ended."""
    server, client = sides(ctx, role)
    serving = server.start(*server_words)
    time.sleep(1)  # a client that gets some of its connections, and gives up, ends its server
    for _ in range(20):
        asked = client.start(*client_words).wait(timeout)
        if not any(word in asked.output for word in NOT_YET):
            break
        time.sleep(0.3)
    served = serving.wait(20)
    for ended in (served, asked):
        print(ended.describe(), flush=True)
    for ended in (served, asked):
        check(ended.status == 0, f"exit status {ended.status}, expected 0")
    return served, asked


def address_of_server(ctx, role):
    return VNIC if role == "serves" else ctx.surroundings.guest.address


def rping(ctx, role, *options):
    address = address_of_server(ctx, role)
    common = ["-p", random.choice(RDMA_CM_PORTS), "-a", address, "-C", 20, "-V", *options]
    connects(ctx, role, ["rping", "-s", *common], ["rping", "-c", *common])


def ucmatose(ctx, role, connections):
    address = address_of_server(ctx, role)
    common = ["-p", random.choice(RDMA_CM_PORTS), "-c", connections, "-C", 5, "-S", 100]
    for ended in connects(ctx, role, ["ucmatose", "-b", address, *common],
                          ["ucmatose", "-s", address, *common]):
        contains(ended.output, "return status 0")


def udaddy(ctx, role):
    address = address_of_server(ctx, role)
    common = ["-c", 4, "-C", 10, "-S", 100]
    for ended in connects(ctx, role, ["udaddy", "-b", address, *common],
                          ["udaddy", "-s", address, *common]):
        contains(ended.output, "return status 0")


def perftest_with_rdma_cm(ctx, role, program):
    address = address_of_server(ctx, role)
    # It makes two connections, and its server does not listen in between: a client that was
    # rejected is no use to that server any more, so both begin again. A guest's server is slow: it
    # took five and six attempts.
    for _ in range(25):
        server, client = sides(ctx, role)
        common = [program, "-R", "-F", "-n", 50, "-s", 5001, "-p", random.choice(RDMA_CM_PORTS)]
        serving = server.start(*common)
        time.sleep(2)
        asked = client.start(*common, address).wait(60)
        served = serving.wait(20 if asked.status == 0 else 0.1)
        for ended in (served, asked):
            print(ended.describe(), flush=True)
        if "REJECTED" not in asked.output:
            break
    check((served.status, asked.status) == (0, 0), "it failed")
    equal(rows(asked.output), [5001], "the sizes that the client reports")


for way in ("serves", "asks"):
    suite.add(f"rping_{way}", functools.partial(rping, role=way), timeout=120)
    suite.add(f"ucmatose_makes_16_connections_{way}",
              functools.partial(ucmatose, role=way, connections=16), timeout=150)
    suite.add(f"udaddy_{way}", functools.partial(udaddy, role=way), timeout=120)
    for name in ("ib_write_bw", "ib_send_lat"):
        suite.add(f"{name.removeprefix('ib_')}_connects_with_rdma_cm_{way}",
                  functools.partial(perftest_with_rdma_cm, role=way, program=name), timeout=180)


def dissected(path, attribute, address, *fields):
    """What tshark reads in the first message of this attribute from this address."""
    done = subprocess.run(
        ["tshark", "-r", path, "-Y", f"infiniband.mad.attributeid == {attribute:#x} && "
         f"ip.src == {address}", "-T", "fields",
         *[word for field in fields for word in ("-e", "infiniband." + field)]],
        capture_output=True, text=True, timeout=60, check=True)
    check(done.stdout.strip(), f"no message {attribute:#x} from {address}")
    return done.stdout.splitlines()[0].split("\t")


HEADER = ("mad.baseversion", "mad.mgmtclass", "mad.classversion", "mad.method", "mad.status",
          "mad.attributemodifier")
CM_FIELDS = {
    0x10: ("cm.req.serviceid.prefix", "cm.req.serviceid.protocol", "cm.req.localqkey",
           "cm.req.localeecn", "cm.req.responderres", "cm.req.initdepth", "cm.req.remoteeecn",
           "cm.req.remoteresptout", "cm.req.transpsvctype", "cm.req.e2eflowctrl",
           "cm.req.localresptout", "cm.req.retrcount", "cm.req.pkey", "cm.req.pppmtu",
           "cm.req.rdcexist", "cm.req.rnrretrcount", "cm.req.maxcmretr", "cm.req.srq",
           "cm.req.ext_transport", "cm.req.prim_locallid", "cm.req.prim_remotelid",
           "cm.req.prim_hoplim", "cm.req.prim_sl", "cm.req.prim_subnetlocal",
           "cm.req.alt_locallid", "cm.req.alt_remotelid", "cm.req.ip_cm.majv",
           "cm.req.ip_cm.minv", "cm.req.ip_cm.ipv"),
    0x13: ("cm.rep.localqkey", "cm.rep.localeecn", "cm.rep.respres", "cm.rep.initdepth",
           "cm.rep.failoveracc", "cm.rep.rnrretrcount", "cm.rep.srq"),
    0x14: (), 0x15: (), 0x16: (), 0x17: (), 0x18: (),
}


@suite.case(timeout=240)
def our_connection_messages_look_like_the_kernels(ctx):
    """The same programs in both roles; tshark reads in our messages what it reads in Linux'."""
    path = ctx.places.logs / "e2e" / "interop" / "connections.pcapng"
    with ctx.surroundings.recording("host1", path):
        for role in ("serves", "asks"):
            rping(ctx, role)
            udaddy(ctx, role)
    peers.verify(path, least=100)
    for attribute, more in CM_FIELDS.items():
        fields = (*HEADER, *more)
        ours, theirs = (dict(zip(fields, dissected(path, attribute, address, *fields)))
                        for address in (VNIC, ctx.surroundings.guest.address))
        equal(ours, theirs, f"message {attribute:#x}, ours and Linux'")


@suite.case(timeout=90)
def rejections_go_both_ways(ctx):
    """Nobody listens; the kernel's reason is what our program sees, and ours what the guest's."""
    for role in ("serves", "asks"):
        _, client = sides(ctx, role)
        ended = client.start("rping", "-c", "-a", address_of_server(ctx, role), "-p", 7299, "-C",
                             1).wait(30)
        print(ended.describe(), flush=True)
        contains(ended.output, "RDMA_CM_EVENT_REJECTED, error 8")


@suite.case(timeout=90)
def server_that_is_killed_disconnects_the_guests_program(ctx):
    server, client = sides(ctx, "serves")
    serving = server.start("rping", "-s", "-P", "-a", VNIC, "-p", 7298)
    for _ in range(20):
        ended = client.start("rping", "-c", "-a", VNIC, "-p", 7298, "-C", 1).wait(30)
        if ended.status == 0:
            break
        time.sleep(0.3)
    check(ended.status == 0, "no server: " + ended.output)
    running = client.start("rping", "-c", "-a", VNIC, "-p", 7298)
    time.sleep(2)
    check(running.poll() is None, "the client ended by itself")
    serving.process.kill()
    ended = running.wait(30)
    print(ended.describe(), flush=True)
    check(ended.status is not None, "the guest's program did not notice")


# -- every byte ------------------------------------------------------------------------------------


def every_byte_is_right(ctx, role, transport, rounds=50, mtu=4096, words=None):
    server, client = sides(ctx, role)
    initiator = "both"
    if words:
        ctx.surroundings.guest.disturb(words, words)
        # Ours only. Two guests with soft-RoCE of Linux 6.1 fail this among themselves now and then:
        # an atomic completes without its result although the answer comes again, or a repeated
        # request is found invalid. Soft-RoCE asks under loss in the pingpongs and in perftest.
        initiator = "server" if role == "serves" else "client"
    options = ["-t", transport, "-n", rounds, "-q", 2, "-m", mtu, "--from", initiator]
    ended = peers.pair_succeeds(server, client, peers.wire_verify(), options, timeout=120)
    contains(ended.client.output, "every byte right")


for way in ("serves", "asks"):
    for kind in ("rc", "uc", "ud"):
        if (way, kind) == ("asks", "uc"):
            continue  # not reliable: bytes of a WRITE were missing at a comparison, cause unknown
        suite.add(f"every_byte_of_{kind}_is_right_{way}",
                  functools.partial(every_byte_is_right, role=way, transport=kind), timeout=140)
    for mtu in (256, 1024):
        suite.add(
            f"every_byte_of_rc_mtu_{mtu}_is_right_{way}",
            functools.partial(every_byte_is_right, role=way, transport="rc", rounds=20, mtu=mtu),
            timeout=140)

# -- groups ----------------------------------------------------------------------------------------


def group_reaches_members(ctx, role, group="239.1.2.3"):
    member, sender = sides(ctx, role)
    guest = ctx.surroundings.guest
    # The guest's kernel passes on to soft-RoCE what it has joined itself (rdma_cm would do it), and
    # sends where it has a route.
    kernel = (f"route {{}} {group}/32 dev eth0" if role == "serves" else
              f"address {{}} {group}/32 dev eth0")
    guest.must("ip " + kernel.format("add") + ("" if role == "serves" else " autojoin"))
    ready = f"/tmp/group-{os.getpid()}"
    common = ["--group", group, "--messages", 50, "--gap-us", 5000, "--seconds", 30]
    program = peers.group_verify()
    listening = member.start(member.program(program), "listen", *common, "--queue-pairs", 2,
                             "--ready", ready)
    try:
        ctx.eventually(lambda: member.run("test", "-e", ready).status == 0, "it is a member", 20)
        sent = sender.start(sender.program(program), "send", *common).wait(30)
    finally:
        guest.run("ip " + kernel.format("del"))
        member.run("rm", "-f", ready)
    ended = listening.wait(40)
    print(sent.describe(), ended.describe(), flush=True)
    equal(sent.status, 0, "the sender's status")
    contains(ended.output, f"every copy right: 50 messages from {sender_address(role)} on 2 queue")


def sender_address(role):
    return "10.9.0.2" if role == "serves" else ADDRESSES["a"]


for way in ("serves", "asks"):
    suite.add(f"group_reaches_members_{way}",
              functools.partial(group_reaches_members, role=way), timeout=120)

# -- a bad wire ------------------------------------------------------------------------------------

# Both ways, in netem's words. What is changed fails the invariant CRC of whoever receives it.
DISTURBANCES = {
    "loss": "loss 1%",
    "duplicates": "duplicate 2%",
    "reordering": "delay 1ms reorder 90% 50%",
    "corruption": "corrupt 0.5%"
}


def disturbed_pingpong(ctx, role, words):
    server, client = sides(ctx, role)
    ctx.surroundings.guest.disturb(words, words)
    ended = peers.pair_succeeds(server, client, "ibv_rc_pingpong",
                                ["-c", "-n", 100, "-s", 20000, "-m", 1024], timeout=100)
    for side in (ended.client, ended.server):
        check("invalid data" not in side.output, "the received data is wrong")
    if words.startswith("loss"):
        outgoing, incoming = ctx.surroundings.guest.lost()
        check(outgoing and incoming,
              f"{outgoing} outgoing and {incoming} incoming packets were lost")


for word, netem in DISTURBANCES.items():
    for way in ("serves", "asks"):
        suite.add(
            f"every_byte_is_right_with_{word}_{way}",
            functools.partial(every_byte_is_right, role=way, transport="rc", rounds=20,
                              words=netem), timeout=140)
        if word != "loss":
            continue  # every_byte_is_right has all operations
        suite.add(f"rc_pingpong_with_{word}_{way}",
                  functools.partial(disturbed_pingpong, role=way, words=netem), timeout=130)
        for verb in ("write", "read", "send"):
            add_perftest(f"with_{word}", way, f"ib_{verb}_bw", ["-s", 65536, "-n", 30, "-m", 1024],
                         65536, disturbance=netem)
for way in ("serves", "asks"):
    add_perftest("with_loss", way, "ib_atomic_bw", ["-n", 300], 8, disturbance="loss 1%")

# -- what others think of our packets --------------------------------------------------------------


@suite.case(timeout=240)
def our_packets_satisfy_zlib_scapy_and_tshark(ctx):
    path = ctx.places.logs / "e2e" / "interop" / "interop.pcapng"
    server, client = sides(ctx, "asks")
    # At the switch's end of the wire: what vrdmad sends passes by the recorders of its own interface.
    with ctx.surroundings.recording("host1", path):
        for program, options in peers.SAMPLES:
            peers.pair_succeeds(server, client, program, options)
            peers.pair_succeeds(client, server, program, options)
    peers.verify(path, least=2000)
