#!/usr/bin/python3
"""Is what went over the wire RoCEv2, in the eyes of others than its authors?

    tests/verify_capture.py [--scapy N] [--no-tshark] FILE.pcapng...

Looks at every frame to UDP port 4791: lengths, the header checksum, and the invariant CRC, computed
here from the clause (IBA volume 1 annex A17.3.3) with the CRC of Python's zlib; no code is shared
with vrdmad. Up to N of the frames, evenly chosen, are given to scapy's implementation of RoCE as
well (IPv4 only). Then tshark takes all files apart: it must see as many packets with the same
opcodes, none malformed.

Prints what was found, one line a problem, and ends with status 1 when there was one or when there
was no RoCE packet at all. As a module: read_pcapng(), check_frame(), Summary, verify()."""

import argparse
import collections
import dataclasses
import shutil
import struct
import subprocess
import sys
import zlib

ROCE_PORT = 4791
ETHERNET, VLAN, IPV4, IPV6, UDP = 1, 0x8100, 0x0800, 0x86dd, 17
BTH_BYTES, ICRC_BYTES, UDP_BYTES = 12, 4, 8
MOST_PROBLEMS = 20

# Tenants' data is data: tshark would guess protocols in it and find them malformed.
NOT_GUESSED = ["--disable-heuristic", "eth_over_ib"]
for _name in ("smc", "smb_direct", "rpcordma", "nvme-rdma", "lnet", "iser", "infiniband.eoib",
              "infiniband_sdp", "fcoib", "drbd"):
    NOT_GUESSED += ["--disable-protocol", _name]

_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0a0d0d0a, 1, 3, 6


class CaptureError(Exception):
    pass


# -- reading (draft-ietf-opsawg-pcapng) ------------------------------------------------------------


def read_pcapng(path):
    """All frames of the Ethernet interfaces in the file."""
    with open(path, "rb") as file:
        data = file.read()
    order, links, position = "<", [], 0
    while position < len(data):
        if data[position:position + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[position + 8:position + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        if position + 12 > len(data):
            raise CaptureError(f"{path}: is cut off at byte {position}")
        kind, length = struct.unpack_from(order + "II", data, position)
        if length < 12 or length % 4 or position + length > len(data):
            raise CaptureError(f"{path}: the block at byte {position} has the length {length}")
        body = data[position + 8:position + length - 4]
        if kind == _INTERFACE:
            links.append(struct.unpack_from(order + "H", body)[0])
        elif kind == _ENHANCED:
            interface, _, _, captured, original = struct.unpack_from(order + "IIIII", body)
            if captured != original:
                raise CaptureError(f"{path}: has frames that are cut off; capture them whole")
            if links[interface] == ETHERNET:
                yield body[20:20 + captured]
        elif kind == _SIMPLE:
            raise CaptureError(
                f"{path}: has simple packet blocks, which do not say what is cut off")
        position += length


# -- one frame -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Packet:
    """What check_frame() found; `problem` is empty when everything is right."""

    opcode: int
    ip_version: int
    problem: str


def check_frame(frame):
    """A Packet, or None for what is not RoCEv2."""
    position = 14
    (kind, ) = struct.unpack_from("!H", frame, 12)
    while kind == VLAN and len(frame) >= position + 4:
        (kind, ) = struct.unpack_from("!H", frame, position + 2)
        position += 4
    if kind == IPV4:
        return _check_ipv4(frame[position:])
    if kind == IPV6:
        return _check_ipv6(frame[position:])
    return None


def _check_ipv4(packet):
    if len(packet) < 20 or packet[9] != UDP:
        return None
    header = 4 * (packet[0] & 15)
    (total, ) = struct.unpack_from("!H", packet, 2)
    (fragment, ) = struct.unpack_from("!H", packet, 6)
    if fragment & 0x1fff:
        return None
    if not _is_roce(packet, header):
        return None
    if fragment & 0x2000:
        return Packet(packet[header + UDP_BYTES], 4, "is an IP fragment")
    if header != 20:
        return Packet(packet[header + UDP_BYTES], 4, "has IP options, which RoCEv2 does not allow")
    masked = bytearray(packet[:total])
    masked[1] = masked[8] = 0xff  # type of service, time to live
    masked[10:12] = b"\xff\xff"
    problem = "" if _checksum(packet[:header]) == 0xffff else "its IPv4 header checksum is wrong"
    return _check_udp(packet, masked, header, total, 4, problem)


def _check_ipv6(packet):
    if len(packet) < 40 or packet[6] != UDP or not _is_roce(packet, 40):
        return None
    total = 40 + struct.unpack_from("!H", packet, 4)[0]
    masked = bytearray(packet[:total])
    masked[0] |= 0x0f  # traffic class and flow label
    masked[1:4] = b"\xff\xff\xff"
    masked[7] = 0xff  # hop limit
    return _check_udp(packet, masked, 40, total, 6, "")


def _is_roce(packet, header):
    return len(packet) >= header + UDP_BYTES + BTH_BYTES + ICRC_BYTES and \
        struct.unpack_from("!H", packet, header + 2)[0] == ROCE_PORT


def _checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return total


def _check_udp(packet, masked, header, total, version, problem):
    opcode = packet[header + UDP_BYTES]
    (length, ) = struct.unpack_from("!H", packet, header + 4)
    if total > len(packet):
        problem = f"its IP length is {total}, but {len(packet)} bytes are there"
    elif header + length != total:
        problem = f"its UDP length is {length}, its IP length leaves {total - header}"
    elif packet[header + UDP_BYTES + 1] & 15:
        problem = "its transport header version is not 0"
    elif (total - header - UDP_BYTES) % 4:
        problem = "its length is not a multiple of 4: padding is missing"
    if problem:
        return Packet(opcode, version, problem)
    masked[header + 6:header + 8] = b"\xff\xff"  # UDP checksum
    masked[header + UDP_BYTES + 4] = 0xff  # FECN, BECN, reserved
    # Eight bytes of ones stand for the local route header of InfiniBand.
    wanted = zlib.crc32(b"\xff" * 8 + masked[:total - ICRC_BYTES])
    (found, ) = struct.unpack_from("<I", packet, total - ICRC_BYTES)
    if found != wanted:
        problem = f"its invariant CRC is {found:#010x}, expected {wanted:#010x}"
    return Packet(opcode, version, problem)


# -- many ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Summary:
    frames: int = 0
    roce: int = 0
    opcodes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    scapy: int = 0
    tshark: int = 0
    problems: list = dataclasses.field(default_factory=list)

    def describe(self):
        kinds = ", ".join(f"{opcode:#04x}: {count}"
                          for opcode, count in sorted(self.opcodes.items()))
        lines = [
            f"{self.frames} frames, {self.roce} of them RoCEv2 ({kinds or 'none'})",
            f"scapy looked at {self.scapy}, tshark at {self.tshark}"
        ]
        lines += self.problems[:MOST_PROBLEMS]
        if len(self.problems) > MOST_PROBLEMS:
            lines.append(f"... and {len(self.problems) - MOST_PROBLEMS} more problems")
        return "\n".join([*lines, f"{len(self.problems)} problems"])


def verify(path, scapy=0, tshark=True):
    """The Summary of one file."""
    summary, chosen = Summary(), []
    for number, frame in enumerate(read_pcapng(path), 1):
        summary.frames += 1
        packet = check_frame(frame)
        if packet is None:
            continue
        summary.roce += 1
        summary.opcodes[packet.opcode] += 1
        if packet.problem:
            summary.problems.append(f"{path}: frame {number}, opcode {packet.opcode:#04x}: "
                                    f"{packet.problem}")
        elif scapy and packet.ip_version == 4:
            chosen.append((number, frame))
    if chosen:
        _ask_scapy(path, chosen[::max(len(chosen) // scapy, 1)][:scapy], summary)
    if tshark:
        _ask_tshark(path, summary)
    return summary


def _ask_scapy(path, frames, summary):
    try:
        # pylint: disable=import-outside-toplevel  # only who asks for it needs it
        from scapy.contrib.roce import BTH
        from scapy.layers.l2 import Ether
    except ImportError as error:
        raise CaptureError(
            f"{error}; it is in Debian's python3-scapy, for /usr/bin/python3") from error
    for number, frame in frames:
        header = Ether(frame)[BTH]
        wanted = header.compute_icrc(b"")
        summary.scapy += 1
        if wanted != struct.pack("!I", header.icrc):
            summary.problems.append(f"{path}: frame {number}: scapy expects the invariant CRC "
                                    f"{wanted.hex()}, found {header.icrc:08x}")


def _ask_tshark(path, summary):
    program = shutil.which("tshark")
    if program is None:
        raise CaptureError("tshark is not installed")
    fields = ("frame.number", "infiniband.bth.opcode", "_ws.malformed", "_ws.expert.message")
    command = [program, *NOT_GUESSED, "-n", "-r", str(path), "-Y", "infiniband", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CaptureError(f"tshark ended with status {done.returncode}: {done.stderr}")
    opcodes = collections.Counter()
    for line in done.stdout.splitlines():
        number, opcode, malformed, messages = (line.split("\t") + [""] * 3)[:4]
        summary.tshark += 1
        if opcode:
            opcodes[int(opcode.split(",")[0], 0)] += 1
        if malformed:
            summary.problems.append(
                f"{path}: frame {number}: tshark finds it malformed: {messages}")
    if opcodes != summary.opcodes:
        summary.problems.append(f"{path}: tshark sees the opcodes {dict(opcodes)}, "
                                f"expected {dict(summary.opcodes)}")


def main():
    parser = argparse.ArgumentParser(description="Checks captured RoCEv2 packets.")
    parser.add_argument("files", nargs="+", metavar="FILE.pcapng")
    parser.add_argument("--scapy", type=int, default=0, metavar="N",
                        help="give up to N packets of each file to scapy as well")
    parser.add_argument("--no-tshark", action="store_true")
    options = parser.parse_args()
    status = 0
    for path in options.files:
        try:
            summary = verify(path, options.scapy, not options.no_tshark)
        except (CaptureError, OSError) as error:
            print(f"verify_capture: {error}")
            return 1
        print(f"{path}: {summary.describe()}")
        if summary.problems or not summary.roce:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
