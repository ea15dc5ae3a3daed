"""A program that runs beside others; its output is in the case's log when it has ended."""

import subprocess
import tempfile

from harness.suite import equal
from lab import processes


class Program:
    def __init__(self, ctx, *words):
        self.ctx = ctx
        self.file = tempfile.TemporaryFile()
        self.words = [str(word) for word in words]
        self.process = processes.start(self.words, stdout=self.file, stderr=subprocess.STDOUT)

    def output(self):
        self.file.seek(0)
        return self.file.read().decode(errors="replace")

    def says(self, text, what):
        """Waits until it has said so, or has ended."""
        self.ctx.eventually(lambda: text in self.output() or self.process.poll() is not None, what)

    def ends_well(self, timeout=30.0):
        try:
            self.ctx.eventually(lambda: self.process.poll() is not None, "the program ends", timeout)
        finally:
            print("$", *self.words, "\n" + self.output(), flush=True)
        equal(self.process.poll(), 0, "exit status")
        return self.output()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        processes.end(self.process, 1.0)
        self.file.close()
