#!/usr/bin/env python3
"""Moves data with Mooncake's transfer engine, out of its own Python wheel, and looks at every byte.

    mooncake_transfer.py serve                  prints `ready NAME ADDRESS`, then answers (transferred.serve)
    mooncake_transfer.py move NAME ADDRESS      writes into that memory and reads it back

Peers find each other by Mooncake's handshake over TCP; the data goes by its protocol "rdma", over the
devices that its own search of the topology finds."""

import sys

import transferred
from mooncake.engine import TransferEngine


def succeeds(status, what):
    if status != 0:
        raise SystemExit(f"{what} gave {status}, expected 0")


def make_engine():
    engine = TransferEngine()
    succeeds(engine.initialize("127.0.0.1", "P2PHANDSHAKE", "rdma", ""), "initialize")
    return engine


def make_memory(engine):
    memory = transferred.Memory()
    succeeds(engine.register_memory(memory.address, transferred.SIZE), "register_memory")
    return memory


def serve():
    engine = make_engine()
    memory = make_memory(engine)
    print(f"ready 127.0.0.1:{engine.get_rpc_port()} {memory.address}", flush=True)
    transferred.serve(sys.stdin, memory)


def move(name, address):
    engine = make_engine()
    source, target = make_memory(engine), make_memory(engine)
    transferred.move(
        lambda size: succeeds(engine.transfer_sync_write(name, source.address, address, size),
                              f"transfer_sync_write of {size} bytes"),
        lambda size: succeeds(engine.transfer_sync_read(name, target.address, address, size),
                              f"transfer_sync_read of {size} bytes"), source, target)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        move(sys.argv[2], int(sys.argv[3]))
