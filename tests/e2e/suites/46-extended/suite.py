"""The extended verbs, by a program that checks every byte, completion and errno (tests/e2e/extended)."""

import functools
import os
import pathlib

from harness.suite import Service, Suite, contains

EXTENDED = pathlib.Path(os.environ["VRDMA_BUILD"], "tests/e2e/extended/vrdma-extended")

suite = Suite("extended", Service())


def scenario(ctx, name):
    contains(ctx.succeeds(ctx.on("a"), EXTENDED, name, timeout=50), "everything as it must be")


for each in ("polling", "windows", "domains", "arguments"):
    suite.add(each, functools.partial(scenario, name=each), timeout=60)


@suite.case(timeout=60)
def refused_request_is_named_in_the_log(ctx):
    env = {**os.environ, "VRDMA_LOG": "debug"}
    output = ctx.run(ctx.on("a"), EXTENDED, "arguments", timeout=50, env=env).output
    for part in ("verb=post_send", "num_sge:", "state:", "verb=create_ah", "is_global"):
        contains(output, part)
