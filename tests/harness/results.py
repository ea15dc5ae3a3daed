"""Outcomes of cases, and how they are shown."""

import dataclasses
import pathlib
import sys

_LOG_LINES = 120


@dataclasses.dataclass
class Outcome:
    name: str
    state: str  # "passed", "failed", "skipped"
    seconds: float
    log: pathlib.Path = None
    reason: str = ""


class Report:
    def __init__(self):
        self.outcomes = []
        self._shown_logs = set()

    def count(self, state):
        return sum(outcome.state == state for outcome in self.outcomes)

    def add(self, outcome):
        """One line for a case that passed; reason and log for the others."""
        self.outcomes.append(outcome)
        if outcome.state == "passed":
            print(f"ok    {outcome.name} ({outcome.seconds:.1f} s)")
        else:
            self._show_trouble(outcome)
        sys.stdout.flush()

    def add_program(self, program, outcomes):
        """One line for a unit test program; skipped and failed cases one by one."""
        self.outcomes.extend(outcomes)
        counts = {state: sum(outcome.state == state for outcome in outcomes)
                  for state in ("passed", "failed", "skipped")}
        word = "FAIL" if counts["failed"] else "ok"
        seconds = sum(outcome.seconds for outcome in outcomes)
        others = "".join(f", {counts[state]} {state}" for state in ("failed", "skipped")
                         if counts[state])
        print(f"{word:<5} unit/{program.name}: {counts['passed']} passed{others}"
              f" ({seconds:.1f} s)")
        for outcome in outcomes:
            if outcome.state != "passed":
                self._show_trouble(outcome)
        sys.stdout.flush()

    def _show_trouble(self, outcome):
        if outcome.state == "skipped":
            print(f"SKIP  {outcome.name}: {outcome.reason}")
            return
        print(f"FAIL  {outcome.name} ({outcome.seconds:.1f} s): {outcome.reason}")
        if outcome.log is None or outcome.log in self._shown_logs or not outcome.log.exists():
            return
        self._shown_logs.add(outcome.log)
        lines = outcome.log.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > _LOG_LINES:
            print(f"      | ... {len(lines) - _LOG_LINES} lines before are in {outcome.log}")
        for line in lines[-_LOG_LINES:]:
            print("      | " + line)

    def finish(self, seconds):
        """The summary; its last line is for programs. Returns the exit status."""
        failed = [outcome for outcome in self.outcomes if outcome.state == "failed"]
        slowest = sorted(self.outcomes, key=lambda outcome: -outcome.seconds)[:5]
        print(f"\n{len(self.outcomes)} cases in {seconds:.0f} s; slowest: " +
              ", ".join(f"{outcome.name} {outcome.seconds:.1f} s" for outcome in slowest))
        if failed:
            print("failed:")
            for outcome in failed:
                print(f"  {outcome.name}  (log: {outcome.log})")
        print(f"{len(self.outcomes) - len(failed) - self.count('skipped')} passed, "
              f"{len(failed)} failed, {self.count('skipped')} skipped")
        sys.stdout.flush()
        return 1 if failed or not self.outcomes else 0
