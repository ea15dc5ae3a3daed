"""Records all frames of an interface to a pcapng file, until SIGTERM: python3 -m vm.record
INTERFACE FILE

Prints "recording" when it has begun. Ends with status 1 when the kernel had to drop frames."""

import signal
import socket
import struct
import sys
import time

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_NANOSECONDS = 9


def _block(kind, body):
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def begin(file):
    file.write(_block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1)))
    resolution = struct.pack("<HHB3x", 9, 1, _NANOSECONDS)
    file.write(_block(1, struct.pack("<HHI", 1, 0, 0) + resolution + struct.pack("<HH", 0, 0)))


def add(file, frame, nanoseconds):
    file.write(
        _block(
            6,
            struct.pack("<IIIII", 0, nanoseconds >> 32, nanoseconds & 0xffffffff, len(frame),
                        len(frame)) + frame))


class _Ended(Exception):
    pass


def _end(_number, _frame):
    raise _Ended


def main():
    interface, path = sys.argv[1:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as tap, \
            open(path, "wb") as file:
        tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        tap.bind((interface, _ETH_P_ALL))
        begin(file)
        try:
            signal.signal(signal.SIGTERM, _end)
            print("recording", flush=True)
            while True:
                frame = tap.recv(65536)
                add(file, frame, time.time_ns())
        except _Ended:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tap.setblocking(False)
        try:  # what has arrived before we were told to end
            while True:
                add(file, tap.recv(65536), time.time_ns())
        except BlockingIOError:
            pass
        _, dropped = struct.unpack("II", tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    if dropped:
        print(f"the kernel dropped {dropped} frames", file=sys.stderr)
    return 1 if dropped else 0


if __name__ == "__main__":
    sys.exit(main())
