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


suite = Suite("fuzz", None, needs=needs_clang)


@suite.case(timeout=420, slow=True)
def parser_survives_a_minute_of_any_bytes(ctx):
    ended = ctx.run(SOURCE / "tests/fuzz/run", "wire_parse", "dataplane/wire", "60", timeout=400)
    print(ended.output)
    check(ended.status == 0, "the fuzzer found something (see above)")
    for name in ("network.cpp", "parse.cpp"):
        row = re.search(rf"^\S*{re.escape(name)}\s.*?([0-9.]+)%", ended.output, re.MULTILINE)
        check(row is not None and float(row.group(1)) >= 90.0,
              f"less than 90 % of the lines of {name} were reached")
