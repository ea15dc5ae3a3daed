"""The extended verbs, by a program that checks every byte, completion and errno (tests/e2e/extended)."""

import functools
import os
import pathlib

from harness.suite import Service, Suite, check, contains
from lab.service import two_tenants

EXTENDED = pathlib.Path(os.environ["VRDMA_BUILD"], "tests/e2e/extended/vrdma-extended")

suite = Suite("extended", Service())


def scenario(ctx, name):
    contains(ctx.succeeds(ctx.on("a"), EXTENDED, name, timeout=50), "everything as it must be")


for each in ("polling", "windows", "domains", "groups", "arguments"):
    suite.add(each, functools.partial(scenario, name=each), timeout=60)


XRC_SHARE = EXTENDED.with_name("vrdma-xrc-share")


@suite.case(timeout=60)
def xrc_domain_of_two_processes(ctx):
    contains(ctx.succeeds(ctx.on("a"), XRC_SHARE, timeout=50), "everything as it must be")


def on_two_workers(ctx, placement):
    """Whether processes on a service with two workers can share an XRC domain, and the log."""
    workers = f'workers = 2\nplacement = "{placement}"\n'
    with ctx.new_service(config=lambda folder: two_tenants(folder, workers)) as service:
        ended = ctx.run(service.run_prefix("a"), XRC_SHARE, timeout=50)
        return ended.status == 0, service.log_text()


@suite.case(timeout=60)
def xrc_domain_on_two_workers_is_refused_with_a_reason(ctx):
    shared, log = on_two_workers(ctx, "spread")
    check(not shared, "two workers shared an XRC domain")
    contains(log, 'set placement = "network"')


@suite.case(timeout=60)
def xrc_domain_with_all_programs_on_one_worker_is_shared(ctx):
    shared, _ = on_two_workers(ctx, "network")
    check(shared, "programs on one worker cannot share an XRC domain")


@suite.case(timeout=60)
def refused_request_is_named_in_the_log(ctx):
    env = {**os.environ, "VRDMA_LOG": "debug"}
    output = ctx.run(ctx.on("a"), EXTENDED, "arguments", timeout=50, env=env).output
    for part in ("verb=post_send", "num_sge:", "state:", "verb=create_ah", "is_global"):
        contains(output, part)


@suite.case(timeout=60)
def operation_that_is_not_there_is_named_in_the_log(ctx):
    env = {**os.environ, "VRDMA_LOG": "debug"}
    output = ctx.run(ctx.on("a"), EXTENDED, "domains", timeout=50, env=env).output
    for verb in ("advise_mr", "alloc_dm", "alloc_null_mr", "create_counters", "create_flow",
                 "create_flow_action_esp", "create_rwq_ind_table", "create_wq", "import_dm",
                 "import_mr", "import_pd", "modify_cq", "modify_qp_rate_limit", "query_ece"):
        contains(output, f"verb={verb} errno=95")
