#!/usr/bin/env python3
"""Moves data with NIXL and the UCX out of its own Python wheel, and looks at every byte.

    nixl_transfer.py serve                      prints `ready METADATA ADDRESS`, then answers (transferred.serve)
    nixl_transfer.py move METADATA ADDRESS      writes into that memory and reads it back

UCX_TLS and UCX_NET_DEVICES say what UCX may use."""

import os
import sys

import transferred
from nixl import nixl_agent, nixl_agent_config

NOTHING = 0  # the number of the device that host memory is on


def make_agent(name):
    return nixl_agent(name, nixl_agent_config(backends=["UCX"]))


def make_memory(agent):
    memory = transferred.Memory()
    agent.register_memory([(memory.address, transferred.SIZE, NOTHING, "")], "DRAM")
    return memory


def serve():
    agent = make_agent("server")
    memory = make_memory(agent)
    print("ready", agent.get_agent_metadata().hex(), memory.address, flush=True)
    transferred.serve(sys.stdin, memory)


def move(metadata, address):
    agent = make_agent("client")
    source, target = make_memory(agent), make_memory(agent)
    server = agent.add_remote_agent(metadata)

    def transfer(operation, local, size):
        here, there = (agent.get_xfer_descs([(place, size, NOTHING)], "DRAM")
                       for place in (local.address, address))
        request = agent.initialize_xfer(operation, here, there, server)
        state = agent.transfer(request)
        while state == "PROC":
            state = agent.check_xfer_state(request)
        if state != "DONE":
            raise SystemExit(f"{operation} of {size} bytes ended with {state}, expected DONE")
        agent.release_xfer_handle(request)

    transferred.move(lambda size: transfer("WRITE", source, size),
                     lambda size: transfer("READ", target, size), source, target)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        move(bytes.fromhex(sys.argv[2]), int(sys.argv[3]))
    # Not by exit(): a library inside NIXL 1.5.1's wheel (libnl-route) crashes when it is unloaded,
    # also without any device.
    sys.stdout.flush()
    os._exit(0)
