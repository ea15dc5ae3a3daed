"""Each fuzz target runs for a minute, that of the device for a part of one, and reaches the code that
it claims to reach."""

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
TARGETS = ("wire_parse", "responder", "transport_pair", "wire_device")
suite = Suite("fuzz", None, needs=needs_clang, at_once=2,
              builds={"fuzz": ["fuzz_" + target for target in TARGETS]})


def fuzz(ctx, target, folder, claimed, seconds=60):
    """Runs the target; `claimed` names the files of which it reaches so many percent of the lines."""
    build = ctx.places.build.parent / "fuzz"
    ended = ctx.run("env", "VRDMA_FUZZ_BUILT=1", f"VRDMA_FUZZ_BUILD={build}",
                    SOURCE / "tests/fuzz/run", target, folder, seconds, timeout=400)
    print(ended.output)
    check(ended.status == 0, "the fuzzer found something (see above)")
    for name, percent in claimed.items():
        row = re.search(rf"^\S*{re.escape(name)}\s.*?([0-9.]+)%", ended.output, re.MULTILINE)
        check(row is not None and float(row.group(1)) >= percent,
              f"less than {percent} % of the lines of {name} were reached")


# The longest first, so that two are under way to the end.
@suite.case(timeout=420, slow=True)
def queue_pairs_finish_after_a_minute_of_any_network(ctx):
    fuzz(ctx, "transport_pair", "dataplane/transport",
         {"rc_requester.cpp": 85, "rc_requester_answers.cpp": 80, "rc_requester_timers.cpp": 80,
          "loss_recovery.cpp": 80, "rc_responder.cpp": 85, "uc_sender.cpp": 90})


@suite.case(timeout=420, slow=True)
def parser_survives_a_minute_of_any_bytes(ctx):
    fuzz(ctx, "wire_parse", "dataplane/wire", {"network.cpp": 90, "parse.cpp": 90})


@suite.case(timeout=420, slow=True)
def responder_survives_a_minute_of_lying_peers(ctx):
    fuzz(ctx, "responder", "dataplane/transport", {"rc_responder.cpp": 85, "uc_receiver.cpp": 90})


@suite.case(timeout=420, slow=True)
def memory_of_a_device_survives_lying_peers(ctx):
    # Not the rest of the file: probes, groups, management datagrams and XRC are not sent to it.
    fuzz(ctx, "wire_device", "dataplane/device", {"wire_path_receive.cpp": 75}, seconds=20)
