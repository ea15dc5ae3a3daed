"""The provider under ThreadSanitizer, as programs with many threads use it (tests/unit/verbs/
threads_test.cpp). It sees each access of two threads that nothing orders, however rarely that goes
wrong."""

import pathlib

from harness.suite import Suite, check

PROGRAMS = {"verbs_threads_test": "tests/unit/verbs"}
SUPPRESSIONS = pathlib.Path(__file__).with_name("suppressions")

suite = Suite("threads", builds={"tsan": list(PROGRAMS)})


def run(ctx, name):
    build = ctx.places.build_also("tsan", [name])
    ended = ctx.run("env", f"TSAN_OPTIONS=exitcode=66 suppressions={SUPPRESSIONS}",
                    build / PROGRAMS[name] / name, timeout=80)
    check("ThreadSanitizer" not in ended.output, "ThreadSanitizer complained")
    check(ended.status == 0, f"{name}: exit status {ended.status}, expected 0")


@suite.case(timeout=120)
def provider_has_no_races(ctx):
    run(ctx, "verbs_threads_test")
