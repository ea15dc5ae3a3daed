"""The unit tests: GoogleTest programs that CMake registered with CTest.

CTest knows programs; we count GoogleTest cases. So the list, the time limits and the environment
are CTest's, and we start the programs ourselves, with GTEST_OUTPUT=json. A program that ends without a
report (it crashed, or its time was up) counts as one failed case under its own name, as does a test
of CTest's that is no GoogleTest program."""

import concurrent.futures
import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time

from harness.results import Outcome


@dataclasses.dataclass
class Program:
    name: str
    command: list  # None: it is not built
    timeout: float
    environment: dict
    directory: str
    labels: list
    serial: bool
    skip_status: int
    cases: list = None  # None: all of them

    @property
    def is_gtest(self):
        return "gtest" in self.labels and self.command is not None


def programs(build):
    done = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"],
                          capture_output=True, text=True, check=True)
    found = []
    for test in json.loads(done.stdout)["tests"]:
        properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
        environment = dict(entry.split("=", 1) for entry in properties.get("ENVIRONMENT", []))
        found.append(Program(test["name"], test.get("command"), float(properties.get("TIMEOUT", 300)),
                             environment, properties.get("WORKING_DIRECTORY", str(build)),
                             properties.get("LABELS", []), bool(properties.get("RUN_SERIAL")),
                             int(properties.get("SKIP_RETURN_CODE", -1))))
    return found


def list_cases(program):
    """Names Suite.Case, as --gtest_filter takes them."""
    done = subprocess.run([*program.command, "--gtest_list_tests"], capture_output=True, text=True,
                          cwd=program.directory, timeout=60, check=True,
                          env={**os.environ, **program.environment})
    cases, suite = [], ""
    for line in done.stdout.splitlines():
        text = line.split("#")[0].rstrip()
        if not text or text.startswith("Running main()"):
            continue
        if text.startswith(" "):
            cases.append(suite + text.strip())
        else:
            suite = text
    return cases


def run(program, log_directory):
    """Runs a program; returns its Outcomes."""
    log_directory.mkdir(parents=True, exist_ok=True)
    log_path = log_directory / (program.name + ".log")
    if program.command is None:
        return [Outcome("unit/" + program.name, "failed", 0, None, "its program is not built")]
    if not program.is_gtest:
        return [_run_plain(program, log_path)]
    with tempfile.TemporaryDirectory(prefix="vrdma-test-") as directory:
        report = os.path.join(directory, "report.json")
        command = [*program.command, f"--gtest_output=json:{report}", "--gtest_color=no"]
        if program.cases is not None:
            command.append("--gtest_filter=" + ":".join(program.cases))
        status, seconds = _run(command, program, log_path)
        try:
            with open(report, encoding="utf-8") as file:
                document = json.load(file)
        except (OSError, ValueError):
            return [Outcome("unit/" + program.name, "failed", seconds, log_path,
                            f"{_how(status, program)} and left no report")]
    outcomes = _outcomes(document, program, log_path)
    if status != 0 and not any(outcome.state == "failed" for outcome in outcomes):
        outcomes.append(Outcome("unit/" + program.name, "failed", seconds, log_path,
                                f"all cases passed, but it {_how(status, program)}"))
    return outcomes


def run_all(selected, log_directory, on_outcomes):
    """Runs programs, as many at once as there are CPUs; serial ones alone, at the end."""
    parallel = [program for program in selected if not program.serial]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        futures = {pool.submit(run, program, log_directory): program for program in parallel}
        try:
            for future in concurrent.futures.as_completed(futures):
                on_outcomes(futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):
                process.kill()
            raise
    for program in selected:
        if program.serial:
            on_outcomes(program, run(program, log_directory))


_running = set()  # so that an interrupted run need not wait for them


def _run(command, program, log_path):
    started = time.monotonic()
    with open(log_path, "wb") as log, \
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                             stderr=subprocess.STDOUT, cwd=program.directory,
                             env={**os.environ, **program.environment}) as process:
        _running.add(process)
        try:
            status = process.wait(program.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            status = None
        _running.discard(process)
    return status, time.monotonic() - started


def _run_plain(program, log_path):
    status, seconds = _run(program.command, program, log_path)
    name = "unit/" + program.name
    if status == 0:
        return Outcome(name, "passed", seconds, log_path)
    if status == program.skip_status:
        last = log_path.read_text(errors="replace").strip().splitlines()[-1:]
        return Outcome(name, "skipped", seconds, log_path, last[0] if last else "no reason given")
    return Outcome(name, "failed", seconds, log_path, _how(status, program))


def _how(status, program):
    if status is None:
        return f"did not end within {program.timeout:.0f} s"
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _outcomes(document, program, log_path):
    log = log_path.read_text(errors="replace")
    outcomes = []
    for suite in document.get("testsuites", []):
        for case in suite.get("testsuite", []):
            full = f"{suite['name']}.{case['name']}"
            seconds = float(case.get("time", "0s").rstrip("s"))
            name = f"unit/{program.name}/{full}"
            if case.get("failures"):
                message = case["failures"][0].get("failure", "").strip()
                outcomes.append(Outcome(name, "failed", seconds, log_path, message))
            elif case.get("result") == "SKIPPED":
                outcomes.append(Outcome(name, "skipped", seconds, log_path,
                                        _skip_reason(log, full)))
            elif case.get("status") == "NOTRUN":
                if program.cases is None or full in program.cases:
                    outcomes.append(Outcome(name, "skipped", seconds, log_path,
                                            "disabled in its source"))
            else:
                outcomes.append(Outcome(name, "passed", seconds, log_path))
    return outcomes


def _skip_reason(log, full):
    """GoogleTest 1.12 has the reason in its output only, between the case's lines."""
    match = re.search(r"\[ RUN +\] " + re.escape(full) + r"\n(.*?)\[ +SKIPPED \]", log, re.DOTALL)
    lines = [line.strip() for line in match.group(1).splitlines()] if match else []
    lines = [line for line in lines if line and not re.search(r": Skipped$", line)]
    return " ".join(lines) or "no reason given"
