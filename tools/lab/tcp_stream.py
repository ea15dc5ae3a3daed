"""Bandwidth of a TCP stream over loopback: one process writes blocks, another reads them.

Both ends move whole blocks with one call each, so that the interpreter's share is small (about a
microsecond a block; blocks below 64 KiB would measure the interpreter)."""

import os
import socket
import time

_WARM_UP, _SECONDS = 0.1, 0.4


def _writer(connection, block):
    data = memoryview(bytes(block))
    try:
        while True:
            sent = 0
            while sent < block:
                try:
                    sent += connection.send(data[sent:])
                except BlockingIOError:
                    pass
    except OSError:
        os._exit(0)  # the reader has seen enough


def gigabytes_per_second(block, spinning):
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    listener.close()
    for connection in (sender, receiver):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(not spinning)
    child = os.fork()
    if child == 0:
        receiver.close()
        _writer(sender, block)
    sender.close()
    try:
        return _read(receiver, block)
    finally:
        receiver.close()
        os.kill(child, 9)
        os.waitpid(child, 0)


def _receive(connection, into, until):
    """Bytes received up to the time `until`, and the time it really was."""
    moved = 0
    while True:
        try:
            moved += connection.recv_into(into)
        except BlockingIOError:
            pass
        now = time.perf_counter()
        if now > until:
            return moved, now


def _read(connection, block):
    into = memoryview(bytearray(block))
    _, begun = _receive(connection, into, time.perf_counter() + _WARM_UP)
    moved, ended = _receive(connection, into, begun + _SECONDS)
    return moved / (ended - begun) / 1e9
