"""A server and a client program, the way perftest and the ibv_*_pingpong programs work."""

import dataclasses
import os
import subprocess
import tempfile
import time

from lab import ports, processes

# ib_write_bw and others print their result and can then hang in the last handshake when the other
# side was killed; a server whose client has ended gets this long.
_SERVER_GRACE = 5.0


@dataclasses.dataclass
class Ended:
    command: list
    status: int  # None: had to be ended by us
    output: str  # standard output and standard error

    def describe(self):
        how = "did not end in time" if self.status is None else f"status {self.status}"
        return f"$ {' '.join(map(str, self.command))}\n{self.output}[{how}]\n"


@dataclasses.dataclass
class PairEnded:
    server: Ended
    client: Ended

    def succeeded(self):
        return self.server.status == 0 and self.client.status == 0

    def describe(self):
        return self.server.describe() + self.client.describe()


class Pair:
    """Both programs started; use as a context manager, `finish()` for the result. `tables`: of the
    server's network namespace, see ports.listens()."""

    def __init__(self, server, client, port, server_user=None, client_user=None, timeout=30.0,
                 tables="/proc/net"):
        self._deadline = time.monotonic() + timeout
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self._commands = [server, client]
        self.server = processes.start(server, user=server_user, stdout=self._files[0],
                                      stderr=subprocess.STDOUT)
        self.client = None
        if ports.wait_until_listening(port, self.server, min(timeout, 15.0), tables):
            self.client = processes.start(client, user=client_user, stdout=self._files[1],
                                          stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.client, self.server):
            if process is not None:
                processes.end(process, 1.0)
        for file in self._files:
            file.close()

    def _wait(self, process, deadline):
        if process is None:
            return None
        try:
            return process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            processes.end(process, 1.0)
            return None

    def _text(self, index):
        self._files[index].seek(0)
        return self._files[index].read().decode(errors="replace")

    def client_output(self):
        """So far."""
        file = self._files[1]
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

    def finish(self):
        client = self._wait(self.client, self._deadline)
        server = self._wait(self.server, min(self._deadline, time.monotonic() + _SERVER_GRACE))
        client_text = self._text(1) if self.client is not None else \
            "(not started: the server did not listen)\n"
        return PairEnded(Ended(self._commands[0], server, self._text(0)),
                         Ended(self._commands[1], client, client_text))


def run_pair(server, client, port, **options):
    with Pair(server, client, port, **options) as pair:
        return pair.finish()
