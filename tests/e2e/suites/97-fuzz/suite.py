"""Each fuzz target runs for a minute and reaches the code that it claims to reach."""

import re
import shutil

from harness.e2e import SOURCE
from harness.suite import Skip, Suite, check


def needs_clang():
    missing = [tool for tool in ("clang++-14", "llvm-profdata-14", "llvm-cov-14")
               if shutil.which(tool) is None]
    if missing:
        raise Skip(f"needs {', '.join(missing)} (Debian: clang-14 libclang-rt-14-dev llvm-14)")


# One thread each.
TARGETS = ("wire_parse", "responder", "transport_pair")
suite = Suite("fuzz", None, needs=needs_clang, at_once=len(TARGETS),
              builds={"fuzz": ["fuzz_" + target for target in TARGETS]})


def fuzz_for_a_minute(ctx, target, folder, claimed):
    """Runs the target; `claimed` names the files of which it reaches so many percent of the lines."""
    build = ctx.places.build.parent / "fuzz"
    ended = ctx.run("env", "VRDMA_FUZZ_BUILT=1", f"VRDMA_FUZZ_BUILD={build}",
                    SOURCE / "tests/fuzz/run", target, folder, "60", timeout=400)
    print(ended.output)
    check(ended.status == 0, "the fuzzer found something (see above)")
    for name, percent in claimed.items():
        row = re.search(rf"^\S*{re.escape(name)}\s.*?([0-9.]+)%", ended.output, re.MULTILINE)
        check(row is not None and float(row.group(1)) >= percent,
              f"less than {percent} % of the lines of {name} were reached")


@suite.case(timeout=420, slow=True)
def parser_survives_a_minute_of_any_bytes(ctx):
    fuzz_for_a_minute(ctx, "wire_parse", "dataplane/wire", {"network.cpp": 90, "parse.cpp": 90})


@suite.case(timeout=420, slow=True)
def responder_survives_a_minute_of_lying_peers(ctx):
    fuzz_for_a_minute(ctx, "responder", "dataplane/transport",
                      {"rc_responder.cpp": 85, "uc_receiver.cpp": 90})


@suite.case(timeout=420, slow=True)
def queue_pairs_finish_after_a_minute_of_any_network(ctx):
    fuzz_for_a_minute(ctx, "transport_pair", "dataplane/transport",
                      {"rc_requester.cpp": 85, "rc_requester_answers.cpp": 80,
                       "rc_requester_timers.cpp": 80, "loss_recovery.cpp": 80,
                       "rc_responder.cpp": 85, "uc_sender.cpp": 90})
