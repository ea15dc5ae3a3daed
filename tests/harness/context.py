"""What a case gets: the suite's service and ways to run programs on its vNICs.

Every program's command line, output and exit status go to the case's log (standard output)."""

import contextlib
import os
import subprocess
import tempfile
import time

from harness.suite import Failed, check
from lab import pair as lab_pair
from lab import ports, processes
from lab import service as lab_service


class Context:
    def __init__(self, tree, places, service=None, user=None, surroundings=None):
        self.tree = tree
        self.places = places
        self.service = service
        self.user = user
        self.surroundings = surroundings

    # -- services of a case's own ------------------------------------------------------------

    @contextlib.contextmanager
    def new_service(self, config=lab_service.two_tenants, start=True, user=None, installed=False,
                    private_mounts=False, **options):
        """A vrdmad for this case only, stopped and removed at the end of the `with`."""
        service = self.places.make_service(config, user=user, installed=installed,
                                           private_mounts=private_mounts, **options)
        try:
            yield service.start() if start else service
        finally:
            if service.running() and service.stop() is None:
                print("vrdmad had to be killed")
            print("--- vrdmad's log\n" + service.log_text(), flush=True)
            service.remove()

    # -- programs ----------------------------------------------------------------------------

    def on(self, vnic, mode="auto"):
        """Words that put a program on a vNIC."""
        return self.service.run_prefix(vnic, mode)

    def run(self, *words, timeout=15.0, user=None, env=None, cwd=None):
        """Runs a program to its end. Words may be nested lists. Returns lab.pair.Ended."""
        command = _flat(words)
        options = {}
        if env is not None:
            options["env"] = env
        if cwd is not None:
            options["cwd"] = cwd
        with tempfile.TemporaryFile() as out:
            process = processes.start(command, user=user or self.user, stdout=out,
                                      stderr=subprocess.STDOUT, **options)
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                processes.end(process, 1.0)
                status = None
            out.seek(0)
            ended = lab_pair.Ended(command, status, out.read().decode(errors="replace"))
        print(ended.describe(), flush=True)
        return ended

    def start(self, *words, user=None, **options):
        """Starts a program; it is killed with the case at the latest."""
        return processes.start(_flat(words), user=user or self.user, **options)

    def succeeds(self, *words, **options):
        """Runs a program that must succeed; returns its output."""
        ended = self.run(*words, **options)
        check(ended.status == 0, f"{ended.command[-1]}: exit status {ended.status}, expected 0")
        return ended.output

    def pair(self, program, *options, server="a", client="b", mode="auto", port_option="-p",
             address="127.0.0.1", timeout=30.0, wrap=None):
        """Program as a server on one vNIC and as its client on the other; returns PairEnded."""
        with self.start_pair(program, *options, server=server, client=client, mode=mode,
                             port_option=port_option, address=address, timeout=timeout,
                             wrap=wrap) as pair:
            ended = pair.finish()
        print(ended.describe(), flush=True)
        return ended

    def start_pair(self, program, *options, server="a", client="b", mode="auto",
                   port_option="-p", address="127.0.0.1", timeout=30.0, wrap=None):
        """The same, running: `with ctx.start_pair(...) as pair: ...; pair.finish()`."""
        port = ports.free_port()
        wrap = wrap or (lambda vnic: self.on(vnic, mode))
        command = [program, port_option, port, *options]
        return lab_pair.Pair(_flat([wrap(server), command]),
                             _flat([wrap(client), command, address]), port,
                             server_user=self.user, client_user=self.user, timeout=timeout)

    def pair_succeeds(self, *arguments, **options):
        ended = self.pair(*arguments, **options)
        check(ended.client.status == 0, f"client: exit status {ended.client.status}, expected 0")
        check(ended.server.status == 0, f"server: exit status {ended.server.status}, expected 0")
        return ended

    def ctl(self, *arguments):
        done = self.service.ctl(*arguments)
        print(f"$ vrdmactl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
              f"[status {done.returncode}]\n", flush=True)
        return done

    # -- waiting -----------------------------------------------------------------------------

    def eventually(self, question, what, timeout=10.0):
        """Waits until `question()` is true; returns what it returned."""
        deadline = time.monotonic() + timeout
        while True:
            answer = question()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise Failed(f"did not happen within {timeout:.0f} s: {what}")
            time.sleep(0.02)


def is_root():
    return os.geteuid() == 0


def _flat(words):
    flat = []
    for word in words:
        if isinstance(word, (list, tuple)):
            flat.extend(_flat(word))
        else:
            flat.append(str(word))
    return flat
