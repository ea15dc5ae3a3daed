"""Runs end-to-end suites: one vrdmad for each suite, one process for each case.

A case's process leads a process group and is the group's only way out: whatever the case started is
killed with it. After the last case the suite's vrdmad is stopped and searched for remains, which is
a case of its own (service_ends_cleanly). A vrdmad that dies under a case fails that case and is started
anew for the next."""

import contextlib
import importlib.util
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from harness.context import Context
from harness.results import Outcome
from harness.suite import Failed, Skip, Suite
from lab import service as lab_service
from lab.tree import Tree

HARNESS = pathlib.Path(__file__).parent
SUITES = HARNESS.parent / "e2e" / "suites"
SOURCE = HARNESS.parent.parent
ENDS_CLEANLY = "service_ends_cleanly"


def load_suites():
    """All Suite objects of all tests/e2e/suites/NN-name/suite.py, in the order of their folders."""
    suites = []
    for path in sorted(SUITES.glob("[0-9][0-9]-*/suite.py")):
        name = "suite_" + path.parent.name.replace("-", "_")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        spec.loader.exec_module(module)
        sys.path.pop(0)
        suites += [value for value in vars(module).values() if isinstance(value, Suite)]
    names = [suite.name for suite in suites]
    if len(set(names)) != len(names):
        raise RuntimeError("two suites have the same name: " + ", ".join(sorted(names)))
    return suites


class Places:
    """The build, its staged installation (made when first asked for) and the logs."""

    def __init__(self, build, logs):
        self.build = pathlib.Path(build)
        self.logs = pathlib.Path(logs)
        self.tree = Tree.built(self.build)
        # Everything temporary of this run is in here.
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="vrdma-tests-"))
        self.scratch.chmod(0o755)
        self._stage = None

    def staged(self):
        if self._stage is None:
            stage = self.scratch / "installed"
            done = subprocess.run(["cmake", "--install", self.build, "--prefix", stage],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Failed("cmake --install failed:\n" + done.stdout + done.stderr)
            self._stage = stage
        return self._stage

    def build_also(self, preset, targets):
        """Builds targets of another preset; its build folder."""
        build = self.build.parent / preset
        commands = [["cmake", "--build", str(build), "-j", str(os.cpu_count() or 1), "--target",
                     *targets]]
        if not (build / "build.ninja").exists():
            commands.insert(0, ["cmake", "-S", str(SOURCE), "--preset", preset, "-B", str(build)])
        for command in commands:
            print("== " + " ".join(command), flush=True)
            if subprocess.run(command, check=False).returncode != 0:
                raise Failed("failed: " + " ".join(command))
        return build

    def make_service(self, config, user=None, installed=False, private_mounts=False, inside=(),
                     **options):
        """A lab.service.Service that is not started yet."""
        tree = Tree.installed(self.staged()) if installed else self.tree
        inside = list(inside)
        if private_mounts:
            inside += ["unshare", "--mount", "--propagation", "private", "bash",
                      HARNESS / "private_mounts.sh", self.build / "lib"]
        return lab_service.Service(tree, config, user=user, inside=inside, within=self.scratch,
                                   **options)

    def remove(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


class SuiteRun:
    def __init__(self, suite, places):
        self.suite = suite
        self.places = places
        self.logs = places.logs / "e2e" / suite.name
        self.service = None
        self.surroundings = None

    def run(self, cases, on_outcome):
        self.logs.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                self._prepare(stack)
            except Exception as reason:  # pylint: disable=broad-except  # whatever is missing
                state = "skipped" if isinstance(reason, Skip) else "failed"
                log = self.logs / "preparation.log"
                log.write_text(traceback.format_exc(), encoding="utf-8")
                for case in cases:
                    on_outcome(Outcome(case.id, state, 0, log, _first_line(reason)))
                return
            self._run_cases(cases, on_outcome)

    def _prepare(self, stack):
        if self.suite.needs is not None:
            self.suite.needs()
        for preset, targets in self.suite.builds.items():
            self.places.build_also(preset, targets)
        if self.suite.surroundings is not None:
            self.surroundings = stack.enter_context(self.suite.surroundings(self.logs))

    def _run_cases(self, cases, on_outcome):
        at_once = min(self.suite.at_once, os.cpu_count() or 1)
        if at_once > 1:
            self._run_at_once(cases, at_once, on_outcome)
            return
        try:
            for case in cases:
                on_outcome(self._run_case(case))
            if self.service is not None:
                on_outcome(self._end_service())
        finally:
            if self.service is not None:
                self.service.kill()
                self.service.remove()
                self.service = None

    def _run_at_once(self, cases, at_once, on_outcome):
        """Cases without a service, some at the same time."""
        waiting, running = list(cases), []
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(_Running(waiting.pop(0), self._context(), self.logs))
                first = min(case.deadline for case in running)
                readable, _, _ = select.select([case.reader for case in running], [], [],
                                               max(first - time.monotonic(), 0))
                now = time.monotonic()
                for case in [case for case in running
                             if case.reader in readable or case.deadline <= now]:
                    running.remove(case)
                    on_outcome(case.outcome())
        finally:
            for case in running:
                case.end()

    # -- the suite's service -----------------------------------------------------------------

    def _start_service(self):
        wanted = self.suite.service
        service = self.places.make_service(
            wanted.config, user=wanted.user if os.geteuid() == 0 else None,
            installed=wanted.installed, private_mounts=wanted.private_mounts,
            inside=wanted.inside(self.surroundings) if wanted.inside else (),
            log=self.logs / "vrdmad.log")
        try:
            service.start()
        except BaseException:
            service.kill()
            service.remove()
            raise
        self.service = service

    def _end_service(self):
        started = time.monotonic()
        log = self.logs / "vrdmad.log"
        status = self.service.stop()
        if status == 0:
            left = self.service.left_behind()
            problem = "left behind: " + "; ".join(left) if left else ""
        elif status is None:
            problem = "vrdmad did not end within 10 s of SIGTERM"
        else:
            problem = f"vrdmad ended with status {status} after SIGTERM, expected 0"
        return Outcome(f"e2e/{self.suite.name}/{ENDS_CLEANLY}", "failed" if problem else "passed",
                       time.monotonic() - started, log, problem)

    # -- one case ----------------------------------------------------------------------------

    def _run_case(self, case):
        log = self.logs / (case.name + ".log")
        started = time.monotonic()
        log.write_text("", encoding="utf-8")
        if self.suite.service is not None and self.service is None:
            try:
                self._start_service()
            except (lab_service.ServiceFailed, Failed, OSError) as error:
                log.write_text(str(error), encoding="utf-8")
                return Outcome(case.id, "failed", time.monotonic() - started, log,
                               "the suite's vrdmad did not start")
        outcome = _Running(case, self._context(), self.logs).outcome()
        if self.service is not None and not self.service.running():
            status = self.service.process.returncode
            with open(log, "a", encoding="utf-8") as file:
                file.write("--- vrdmad's log\n" + self.service.log_text())
            self.service.remove()
            self.service = None
            outcome.state, outcome.reason = "failed", (
                f"vrdmad ended with status {status} during the case"
                f"{'; the case: ' + outcome.reason if outcome.reason else ''}")
        return outcome

    def _context(self):
        wanted = self.suite.service
        tree = self.service.tree if self.service is not None else self.places.tree
        user = wanted.user if wanted is not None and os.geteuid() == 0 else None
        return Context(tree, self.places, self.service, user, self.surroundings)


def _first_line(reason):
    return (str(reason).splitlines() or [type(reason).__name__])[0]


def _be_the_case(case, context, log, writer):
    status = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        file = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        answer = ["passed", ""]
        try:
            case.run(context)
        except Skip as reason:
            answer = ["skipped", str(reason)]
        except Failed as reason:
            answer = ["failed", _first_line(reason)]
            where = [frame for frame in traceback.extract_tb(reason.__traceback__)
                     if "/suites/" in frame.filename][-1:]
            for frame in where:
                print(f"{frame.filename}:{frame.lineno}: {frame.line}")
            print("failed: " + str(reason))
        except Exception as error:  # pylint: disable=broad-except  # a case may raise anything
            answer = ["failed", f"{type(error).__name__}: {error}"]
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(writer, json.dumps(answer).encode()[:60000])
        status = 0
    finally:
        os._exit(status)  # pylint: disable=protected-access


class _Running:
    """A case in its own process. `reader` is readable when it has ended."""

    def __init__(self, case, context, logs):
        self.case = case
        self.started = time.monotonic()
        self.deadline = self.started + case.timeout
        self.log = logs / (case.name + ".log")
        self.log.write_text("", encoding="utf-8")
        self.reader, writer = os.pipe()
        sys.stdout.flush()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.reader)
            _be_the_case(case, context, self.log, writer)  # does not return
        os.close(writer)

    def outcome(self):
        """Waits for it, until its time is up."""
        try:
            state, reason = self._await()
        finally:
            self.end()
        return Outcome(self.case.id, state, time.monotonic() - self.started, self.log, reason)

    def _await(self):
        left = max(self.deadline - time.monotonic(), 0)
        readable, _, _ = select.select([self.reader], [], [], left)
        if not readable:
            return "failed", f"did not end within {self.case.timeout:.0f} s"
        text = b""
        while piece := os.read(self.reader, 65536):
            text += piece
        if not text:
            _, status = os.waitpid(self.child, 0)
            return "failed", f"the case's process ended with wait status {status:#x}"
        state, reason = json.loads(text)
        return state, reason

    def end(self):
        """Kills whatever the case has left."""
        os.close(self.reader)
        try:
            os.killpg(self.child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.waitpid(self.child, 0)
        except ChildProcessError:
            pass
