"""Do the tools of the interoperability suite work? vrdmad has no part in this.

Two guests with a stock Debian kernel and soft-RoCE boot, exchange packets with each other and with
a namespace of this machine, and what they sent is checked by three implementations of the invariant
CRC, of which vRDMA's is none. Then a failure of the next suite is vRDMA's."""

import functools
import struct

import verify_capture
from harness.suite import Service, Suite, check, contains, equal
from vm import peers, record

LEAST_BOOT, MOST_BOOT = 1, 60  # seconds; usually 5 to 8

suite = Suite("vm", needs=peers.needs, surroundings=functools.partial(peers.surroundings, guests=2))


def guests(ctx):
    for guest in ctx.surroundings.guests:
        guest.reset()
        guest.heal()
    return ctx.surroundings.guests


@suite.case(timeout=120)
def guests_boot(ctx):
    print(f"the image was ready after {ctx.surroundings.image_seconds:.1f} s")
    for guest in guests(ctx):
        print(f"{guest.name}: {guest.boot_seconds:.1f} s")
        check(LEAST_BOOT < guest.boot_seconds < MOST_BOOT,
              f"booting took {guest.boot_seconds:.1f} s")
        check("insmod" not in guest.console(), "a kernel module did not load:\n" + guest.console())


@suite.case(timeout=60)
def commands_answer_with_status_and_output(ctx):
    guest, _ = guests(ctx)
    ended = guest.run("echo one; echo two >&2; exit 7")
    equal((ended.status, ended.output), (7, "one\ntwo\n"), "status and output")
    long = guest.run("seq 30000")
    equal(long.output.split(), [str(number) for number in range(1, 30001)], "a long output")
    equal(guest.run("true").output, "", "no output")
    equal(guest.run("echo", "it's", "a b").output, "it's a b\n", "words with quotes and spaces")


@suite.case(timeout=60)
def commands_run_side_by_side_and_can_be_ended(ctx):
    guest, _ = guests(ctx)
    first, second = guest.start("echo begun; sleep 1000 & wait"), guest.start("echo second")
    equal(second.wait(20).output, "second\n", "the second command's output")
    equal(first.poll(), None, "the first command's end")
    ended = first.wait(0.1)
    equal((ended.status, ended.output), (None, "begun\n"), "status and output of what was killed")
    left = guest.start("sleep 1000")
    guest.reset()
    equal(left.wait(20).status, 137, "status after reset()")
    contains(guest.run("ps").output, "agent")
    check("sleep 1000" not in guest.run("ps").output, "what was killed is still there")


@suite.case(timeout=60)
def rxe_is_active_and_has_its_gids(ctx):
    for guest in guests(ctx):
        output = guest.must("ibv_devinfo -v -d rxe0")
        for part in ("PORT_ACTIVE (4)", "active_mtu:\t\t4096 (5)", "GID[  0]:\t\tfe80::",
                     f"GID[  1]:\t\t::ffff:{guest.address}, RoCE v2"):
            contains(output, part)


@suite.case(timeout=60)
def packets_of_the_whole_mtu_pass(ctx):
    ping = ["ping", "-c", "3", "-i", "0.2", "-M", "do", "-s", str(ctx.surroundings.wire.mtu - 28)]
    host = peers.HostSide(ctx.surroundings.host)
    first, second = guests(ctx)
    for side, address in ((host, first.address), (first, second.address), (second, host.address)):
        ended = side.run(*ping, address)
        print(ended.describe())
        contains(ended.output, " 0% packet loss")
    ended = first.run(*ping[:-1], str(ctx.surroundings.wire.mtu), host.address)
    check(ended.status != 0, "a packet above the MTU passed")


def pair(ctx, program, options):
    first, second = guests(ctx)
    peers.pair_succeeds(first, second, program, options)


for kind in ("rc", "uc", "ud", "srq"):
    suite.add(
        f"ibv_{kind}_pingpong",
        functools.partial(pair, program=f"ibv_{kind}_pingpong",
                          options=["-c", "-n", 50, "-s", 1024]), timeout=90)
for verb in ("write", "read", "send", "atomic"):
    suite.add(
        f"ib_{verb}_bw",
        functools.partial(pair, program=f"ib_{verb}_bw",
                          options=["-F", "-n", 100, *(["-s", 16384] if verb != "atomic" else [])]),
        timeout=90)


def every_byte_is_right(ctx, transport):
    ended = peers.pair_succeeds(*guests(ctx), peers.wire_verify(),
                                ["-t", transport, "-n", 20, "-q", 2], timeout=100)
    contains(ended.client.output, "every byte right")


for transport_name in ("rc", "uc", "ud"):
    suite.add(f"every_byte_of_{transport_name}_is_right",
              functools.partial(every_byte_is_right, transport=transport_name), timeout=120)


@suite.case(timeout=180)
def captured_packets_satisfy_zlib_scapy_and_tshark(ctx):
    first, second = guests(ctx)
    path = ctx.places.scratch / "guests.pcapng"
    with ctx.surroundings.recording(first.name, path):
        for program, options in peers.SAMPLES:
            peers.pair_succeeds(first, second, program, options)
    peers.verify(path, least=1000)


@suite.case(timeout=120)
def packets_get_lost_on_request(ctx):
    first, second = guests(ctx)
    first.disturb(outgoing="loss 1%", incoming="loss 1%")
    peers.pair_succeeds(second, first, "ibv_rc_pingpong", ["-c", "-n", 100, "-s", 8192],
                        timeout=100)
    outgoing, incoming = first.lost()
    print(f"lost: {outgoing} outgoing, {incoming} incoming")
    check(outgoing and incoming, f"{outgoing} outgoing and {incoming} incoming packets were lost")


# -- vrdmad in a namespace, which the next suite needs ---------------------------------------------

service = Suite("vm_service", needs=peers.needs,
                surroundings=functools.partial(peers.surroundings, guests=0),
                service=Service(inside=lambda around: around.host.enter()))


@service.case(timeout=60)
def programs_in_the_namespace_use_its_vnics(ctx):
    server, client = (peers.HostSide(ctx.surroundings.host, ctx.on(vnic), "vrdma0")
                      for vnic in "ab")
    peers.pair_succeeds(server, client, "ib_write_bw", ["-F", "-n", 50])
    peers.pair_succeeds(server, client, "ibv_rc_pingpong", ["-c", "-n", 50])
    for transport in ("rc", "uc", "ud"):
        ended = peers.pair_succeeds(server, client, peers.wire_verify(),
                                    ["-t", transport, "-n", 200, "-q", 3])
        contains(ended.client.output, "every byte right")


# -- the verifier itself, on known packets ---------------------------------------------------------

verifier = Suite("verify_capture")

# A congestion notification packet that a ConnectX-4 Lx sent; scapy's tests have it too.
CNP = bytes.fromhex(
    "000000000002000000000001080045c2003c718c4000401191610a0011010a001201000012b700280000"
    "8100ffff4000011800000000" + "00" * 16 + "82fd002a")
IP = 14
# UDP checksum; FECN, BECN and reserved bits. Type of service and time to live have the header's
# checksum.
UNCOVERED = {IP + 26, IP + 27, IP + 32}


@verifier.case()
def packet_of_a_nic_is_accepted(_ctx):
    packet = verify_capture.check_frame(CNP)
    equal((packet.opcode, packet.problem), (0x81, ""), "the packet")


@verifier.case()
def every_changed_byte_is_noticed(_ctx):
    for position in range(IP, len(CNP)):
        changed = bytearray(CNP)
        changed[position] ^= 1
        packet = verify_capture.check_frame(bytes(changed))
        noticed = packet is None or packet.problem != ""
        equal(noticed, position not in UNCOVERED, f"whether a change of byte {position} is noticed")


@verifier.case()
def mutable_fields_are_not_covered_by_the_invariant_crc(_ctx):
    changed = bytearray(CNP)
    changed[IP + 8] -= 1  # a router
    changed[IP + 1] |= 1  # a congested switch
    changed[IP + 10:IP + 12] = b"\0\0"
    total = sum(struct.unpack("!10H", changed[IP:IP + 20]))
    changed[IP + 10:IP + 12] = struct.pack("!H", 0xffff - ((total & 0xffff) + (total >> 16)))
    equal(verify_capture.check_frame(bytes(changed)).problem, "", "the problem")


@verifier.case()
def other_frames_are_passed_over(_ctx):
    for frame in (CNP[:12] + b"\x08\x06" + CNP[14:], CNP[:IP + 9] + b"\x06" + CNP[IP + 10:],
                  CNP[:IP + 22] + b"\x12\xb5" + CNP[IP + 24:], CNP[:40]):
        equal(verify_capture.check_frame(frame), None, "what is made of the frame")


@verifier.case()
def file_with_a_wrong_packet_fails(ctx):
    wrong = bytearray(CNP)
    wrong[-1] ^= 0x80
    files = (("right", CNP, 0), ("wrong", bytes(wrong), 1), ("none", CNP[:40], 1))
    for name, frame, status in files:
        path = ctx.places.scratch / f"{name}.pcapng"
        with open(path, "wb") as file:
            record.begin(file)
            record.add(file, frame, 1)
        ended = ctx.run("tests/verify_capture.py", "--no-tshark", path)
        equal(ended.status, status, f"the status for {path.name}")
