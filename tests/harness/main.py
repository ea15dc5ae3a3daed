"""tests/run after the build: chooses, lists, runs and counts cases. Usage: tests/run --help."""

import argparse
import fnmatch
import os
import pathlib
import shutil
import signal
import sys
import time

from harness import e2e, unit
from harness.results import Report

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/run", description="Builds vRDMA and runs its tests.",
        epilog="A case is one GoogleTest case (unit/PROGRAM/SUITE.NAME) or one end-to-end case "
               "(e2e/SUITE/NAME). The last line of the output counts them. Logs: build/test-logs. "
               "Exit status: 0 no case failed, 1 otherwise. VRDMA_BUILD=DIR builds and tests in "
               "DIR instead of build/release.")
    parser.add_argument("--filter", action="append", default=[], metavar="TEXT",
                        help="only cases whose name contains TEXT or matches the pattern TEXT "
                             "(* and ?); may be repeated")
    parser.add_argument("--list", action="store_true", help="print the cases' names and end")
    parser.add_argument("--quick", action="store_true", help="leave out slow end-to-end cases")
    return parser.parse_args()


def wanted(name, filters):
    return not filters or any(text in name or fnmatch.fnmatchcase(name, text) for text in filters)


def choose_programs(build, options):
    chosen = []
    for program in unit.programs(build):
        if options.filter or options.list:
            if program.is_gtest:
                program.cases = [case for case in unit.list_cases(program)
                                 if wanted(f"unit/{program.name}/{case}", options.filter)]
                if not program.cases:
                    continue
            elif not wanted(f"unit/{program.name}", options.filter):
                continue
        chosen.append(program)
    return chosen


def choose_cases(options):
    """[(suite, cases)]; the case that is the end of the service comes with any other."""
    chosen = []
    for suite in e2e.load_suites():
        cases = [case for case in suite.cases
                 if wanted(case.id, options.filter) and not (options.quick and case.slow)]
        if cases:
            chosen.append((suite, cases))
    return chosen


def print_list(programs, suites):
    for program in programs:
        if program.cases is None:
            print("unit/" + program.name)
        else:
            for case in program.cases:
                print(f"unit/{program.name}/{case}")
    for suite, cases in suites:
        for case in cases:
            print(case.id + ("  (slow)" if case.slow else ""))
        if suite.service is not None:
            print(f"e2e/{suite.name}/{e2e.ENDS_CLEANLY}")


def end_by_exception(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    options = arguments()
    build = pathlib.Path(os.environ["VRDMA_BUILD"])
    logs = SOURCE / "build" / "test-logs"
    programs, suites = choose_programs(build, options), choose_cases(options)
    if options.list:
        print_list(programs, suites)
        return 0
    if not programs and not suites:
        print("no case matches", *options.filter, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, end_by_exception)
    shutil.rmtree(logs, ignore_errors=True)
    started, report, places = time.monotonic(), Report(), e2e.Places(build, logs)
    try:
        unit.run_all(programs, logs / "unit", report.add_program)
        for suite, cases in suites:
            e2e.SuiteRun(suite, places).run(cases, report.add)
    except KeyboardInterrupt:
        print("interrupted")
        report.finish(time.monotonic() - started)
        return 130
    finally:
        places.remove()
    return report.finish(time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
