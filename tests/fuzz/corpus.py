#!/usr/bin/env python3
"""Writes the checked-in inputs of the fuzz targets whose bytes are a script.

    tests/fuzz/corpus.py

One input for each kind of exchange; the layout of the bytes stands in the target's source. Run it
again when the layout changes.
"""

import pathlib

CORPUS = pathlib.Path(__file__).parent / "corpus"

VRDMA, LEARN, HOSTILE, REFERENCE, UC, MOVE, V6 = (1 << i for i in range(7))
PEERS = {
    "standard": 0, "vrdma": VRDMA, "learning": VRDMA | LEARN, "reference": REFERENCE, "uc": UC,
    "forged_standard": HOSTILE, "forged_vrdma": HOSTILE | VRDMA, "forged_uc": HOSTILE | UC,
}
OPERATIONS = SEND, SEND_IMM, WRITE, WRITE_IMM, READ, SWAP, ADD, SEND_INVALIDATE = range(8)
DROP, TWICE, DELAY, CORRUPT, MARK, _, BESIDE, INSTEAD = range(8)


def head(kind, *, loss=0, scarce=0, failing_timer=9, mark=0, restart=0):
    connection = [1, 3, failing_timer | 0x10, 0x3f, 15, 5, 15, 9, 3, scarce, 20]
    network = [3, 9] + [0, mark, loss, 0] * 2 + [8, 0] * 2 + [5, 40, restart, 10, 7]
    return bytes([kind, 20, 60] + connection + network)


def post(operation, length, *, side=0, fence=0, failing=0, pause=0):
    what = side << 1 | operation << 2 | fence << 5 | failing << 7
    return bytes([what]) + length.to_bytes(2, "little") + bytes([pause])


def fate(kind, *, link=0, skip=0, arguments=b""):
    return bytes([1 | link << 1 | kind << 2 | skip << 5]) + arguments


def transport_pair():
    all_kinds = b"".join(post(operation, length, side=side)
                         for length in (0, 100, 3000) for operation in OPERATIONS
                         for side in (0, 1))
    faults = b"".join(fate(kind, link=link, skip=skip, arguments=arguments)
                      for skip in (1, 5)
                      for kind, arguments in ((DROP, b""), (TWICE, b"\x40"), (DELAY, b"\x20"),
                                              (CORRUPT, b""), (MARK, b""))
                      for link in (0, 1))
    # PSN, syndrome, MSN, opcode, length of a READ, bits of a SACK, beside and instead.
    forged = b"".join(fate(kind, link=link, skip=2, arguments=bytes([at]) + flips)
                      for kind in (BESIDE, INSTEAD)
                      for at, flips in ((11, b"\x01\0"), (12, b"\x60\0"), (15, b"\x01\0"),
                                        (0, b"\x01\0"), (26, b"\x04\0"), (20, b"\xff\x01"))
                      for link in (0, 1))
    inputs = {}
    for name, kind in PEERS.items():
        inputs[f"{name}_plain"] = head(kind) + all_kinds
        inputs[f"{name}_faults"] = head(kind, loss=10, scarce=60) + all_kinds + faults
        if kind & HOSTILE:
            inputs[f"{name}_forged"] = head(kind) + all_kinds + forged
        inputs[f"{name}_failing"] = head(kind, scarce=200) + b"".join(
            post(operation, 700, failing=1, pause=90) for operation in OPERATIONS)
    inputs["standard_marked"] = head(0, mark=1) + all_kinds
    inputs["vrdma_restart"] = head(VRDMA | MOVE, restart=1 | 4 << 2) + all_kinds
    inputs["vrdma_reads_v6"] = head(VRDMA | V6, loss=60) + b"".join(
        post(READ, 8000, fence=i & 1) for i in range(12))
    return inputs


# What the peer of the responder lies about (request_maker.cpp), with the bytes of the lie.
LIES = {
    "psn_ahead": (1, b"\x03"), "psn_behind": (1, b"\xfe"), "psn_far": (2, b"\0\x80"),
    "address": (4, b"\x01\x0f"), "key": (8, b"\x01\x04"), "length": (16, b"\x01\x08"),
    "payload": (32, b"\x11\x01"), "opcode": (64, b"\x02"), "flip": (128, b""),
}


def packet(operation, length, *, lie=(0, b""), flags=4):
    """One that begins a message; then the bytes of who executes, of time and of the answer."""
    request = bytes([lie[0], flags | 1, operation]) + length.to_bytes(2, "little") + bytes(6)
    return request + lie[1] + b"\x55" + (b"\x04\x01" if lie[0] == 128 else b"") + bytes(3)


def more(count):
    """Packets that go on with a message."""
    return (bytes([0, 4, 0x55]) + bytes(3)) * count


def responder():
    inputs = {}
    for service, uc in (("rc", 0), ("uc", 1)):
        peers = (("standard", 0), ("vrdma", 1)) if not uc else (("", 0),)
        for peer, vrdma in peers:
            start = bytes([uc, 0, 0]) + (b"" if uc else bytes([vrdma])) + bytes([3])
            start += b"" if uc else b"\x10"
            kinds = range(4 if uc else 8)
            name = f"{service}_{peer}".rstrip("_")
            inputs[f"{name}_short"] = start + b"".join(packet(k, 100) for k in kinds)
            inputs[f"{name}_long"] = start + b"".join(packet(k, 1000) + more(3) for k in kinds)
            for lie, said in LIES.items():
                inputs[f"{name}_{lie}"] = start + b"".join(
                    packet(k, 300) + more(1) + packet(k, 300, lie=said) + more(2) for k in kinds)
    return inputs


RC, RC_READ_ONLY, UC_QP, UD_QP = range(4)
TARGETS = 9  # the areas of wire_device.cpp, and its window
RECEIVE, TENANT_READ, TENANT_SEND, TIME, DEREGISTER, ANEW = (n << 2 for n in range(15, 9, -1))


def at_device(qp, operation, length, *, target=0, lie=(0, b""), flags=4):
    """A packet that begins a message to a range of a target, which is longer than the message."""
    return (bytes([qp, lie[0], flags | 1, operation]) + length.to_bytes(2, "little") +
            bytes([target, 0, 0, 3, 4]) + lie[1] + b"\x55" +
            (b"\x04\x01" if lie[0] == 128 else b""))


def more_at_device(qp, count):
    return bytes([qp, 0, 4, 0x55]) * count


def wire_device():
    inputs = {}
    for peer, vrdma in (("standard", 0), ("vrdma", 1)):
        for name, qp, kinds in (("rc", RC, 8), ("rc_read_only", RC_READ_ONLY, 8), ("uc", UC_QP, 4),
                                ("ud", UD_QP, 2)):
            fresh = bytes([ANEW | qp]) + bytes([RECEIVE | qp]) * 2  # a refusal ends a queue pair
            start = bytes([vrdma])
            inputs[f"{peer}_{name}_targets"] = start + b"".join(
                fresh + at_device(qp, k, 100, target=target)
                for k in range(kinds) for target in range(TARGETS))
            inputs[f"{peer}_{name}_long"] = start + b"".join(
                fresh + at_device(qp, k, length) + more_at_device(qp, 2)
                for k in range(kinds) for length in (900, 8999))
            inputs[f"{peer}_{name}_lies"] = start + b"".join(
                fresh + at_device(qp, k, 300) + at_device(qp, k, 300, lie=lie)
                for k in range(kinds) for lie in LIES.values())
        # Answers to what the tenant asks for: acknowledgements, and responses of all kinds.
        asks = bytes([ANEW, TENANT_READ, TENANT_SEND, TENANT_READ])
        inputs[f"{peer}_answers"] = bytes([vrdma]) + b"".join(
            asks + at_device(RC, 2, 1000, lie=(64, bytes([opcode]))) * 2 + bytes([TIME, 200])
            for opcode in (*range(0x0d, 0x13), 0x81, 0xc1))
        inputs[f"{peer}_deregistered"] = (bytes([vrdma]) + at_device(RC, 2, 100) +
                                          at_device(UC_QP, 2, 100) + bytes([DEREGISTER]) +
                                          at_device(UC_QP, 2, 100) + at_device(RC, 2, 100))
        inputs[f"{peer}_early"] = bytes([vrdma]) + b"".join(
            bytes([RECEIVE | RC]) + at_device(RC, k, 200, lie=(1, bytes([ahead])))
            for k in range(8) for ahead in (2, 1, 0))
    return inputs


def main():
    for target, inputs in (("transport_pair", transport_pair()), ("responder", responder()),
                           ("wire_device", wire_device())):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
