"""Is every byte right, and is none visible too early?

vrdma-verify checks every byte and every completion of random operations between processes; perftest checks
none. vrdma-last-byte polls the end of messages on every copy path. Both print the seed or the numbers that
replay a failure."""

import functools
import os
import pathlib

from harness.suite import Service, Suite, check, contains
from lab.service import two_tenants

BUILD = pathlib.Path(os.environ["VRDMA_BUILD"])
VERIFY = BUILD / "tests/e2e/verify/vrdma-verify"
LAST_BYTE = BUILD / "tests/e2e/last_byte_poll/vrdma-last-byte"

suite = Suite("data", Service())


def verify(ctx, *options, timeout, env=None):
    output = ctx.succeeds(ctx.on("a"), VERIFY, *options, timeout=timeout - 5,
                          env=None if env is None else {**os.environ, **env})
    contains(output, " 0 errors")


@suite.case(timeout=600)
def a_million_operations_of_all_transports(ctx):
    verify(ctx, "-n", 1000000, "-t", "rc,uc,ud", timeout=600)


@suite.case(timeout=200)
def threads_of_one_process(ctx):
    verify(ctx, "-n", 20000, "--threads", "-t", "rc,uc,ud", timeout=200)


@suite.case(timeout=200)
def memory_reached_through_the_process(ctx):
    verify(ctx, "-n", 10000, "--memory", "malloc", timeout=200, env={"VRDMA_MEMORY": "process"})


@suite.case(timeout=200)
def with_events(ctx):
    verify(ctx, "-n", 20000, "--events", "on", timeout=200)


workers = Suite("data-two-workers",
                Service(config=lambda directory: two_tenants(directory).replace(
                    "[service]\n", "[service]\nworkers = 2\n", 1)))


@workers.case()
def the_service_runs_two_workers(ctx):
    contains(ctx.ctl("status", "--json").stdout, '"workers"')
    check('"id": 1' in ctx.ctl("--json", "status").stdout.replace('"id":1', '"id": 1'),
          "there is no second worker")


@workers.case(timeout=200)
def across_workers(ctx):
    verify(ctx, "-n", 20000, "-p", 2, "-t", "rc,uc,ud", timeout=200)


def last_byte(ctx, memory, operations, env=None):
    output = ctx.succeeds(ctx.on("a"), LAST_BYTE, "-n", operations, "--memory", memory, timeout=290,
                          env=None if env is None else {**os.environ, **env})
    contains(output, "0 violations")


suite.add("last_byte_of_adopted_memory",
          functools.partial(last_byte, memory="malloc", operations=1000000), timeout=300)
suite.add("last_byte_of_shared_memory",
          functools.partial(last_byte, memory="memfd", operations=200000), timeout=300)
suite.add("last_byte_of_process_memory",
          functools.partial(last_byte, memory="malloc", operations=20000,
                            env={"VRDMA_MEMORY": "process"}), timeout=300)
