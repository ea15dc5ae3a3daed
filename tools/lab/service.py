"""A vrdmad with a runtime directory of its own in a temporary directory."""

import json
import os
import pathlib
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time

from lab import processes


def two_tenants(runtime_dir, extra_service="", system_view="false", extra=""):
    """Vnics a and b of two tenants in one virtual network."""
    return f"""[service]
runtime_dir = "{runtime_dir}"
system_view = {system_view}
{extra_service}
[[network]]
name = "blue"
id = 10
[[vnic]]
name = "a"
network = "blue"
address = "10.0.0.1"
[[vnic]]
name = "b"
network = "blue"
address = "10.0.0.2"
{extra}"""


class ServiceFailed(Exception):
    pass


class Service:
    """`config` is a function from the runtime directory to TOML text."""

    def __init__(self, tree, config=two_tenants, user=None, log=None, inside=(),
                 within=None):
        self.tree = tree
        self.user = user
        self.inside = list(inside)  # a command that takes ours as its arguments, such as nsenter
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="vrdma-", dir=within))
        self.base.chmod(0o755)
        self.runtime_dir = self.base / "run"
        self.config_file = self.base / "vrdmad.toml"
        self.config_file.write_text(config(self.runtime_dir), encoding="utf-8")
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(self.base, entry.pw_uid, entry.pw_gid)
        self.log = pathlib.Path(log) if log else self.base / "vrdmad.log"
        self.process = None
        self.ready_line = ""

    def start(self, timeout=30.0):
        with open(self.log, "ab") as log, processes.uninterrupted():
            self.process = processes.start(
                [*self.inside, self.tree.vrdmad, "--config", self.config_file], user=self.user,
                stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        self.ready_line = self._wait_until_ready(timeout)
        return self

    def _wait_until_ready(self, timeout):
        deadline = time.monotonic() + timeout
        text = b""
        while b"\n" not in text:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            if not readable:
                self.kill()
                raise ServiceFailed(f"vrdmad was not ready within {timeout:.0f} s\n" +
                                    self.log_text())
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                status = self.process.wait()
                raise ServiceFailed(f"vrdmad ended with status {status} before it was ready\n" +
                                    self.log_text())
            text += piece
        line = text.decode(errors="replace").splitlines()[0]
        if " ready " not in line:
            self.kill()
            raise ServiceFailed("vrdmad's first line is not its ready line: " + line)
        return line

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, grace=10.0):
        """SIGTERM; the exit status, or None when it had to be killed."""
        if self.process is None:
            return 0
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.running():
            self.process.kill()
            self.process.wait()

    def left_behind(self):
        """What a stopped service should have taken away with it and did not; one line each."""
        found = []
        for path in sorted(self.runtime_dir.rglob("*")) if self.runtime_dir.exists() else ():
            found.append(f"file {path}")
        if self.runtime_dir.exists():
            found.append(f"directory {self.runtime_dir}")
        for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            if str(self.base) in line:
                found.append("mount " + line.split()[4])
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            # Ours: vrdmad only; whoever calls us may have the directory on his command line.
            if str(self.base).encode() in command and b"vrdmad\0" in command:
                found.append(f"process {entry.name}: " +
                             command.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def remove(self):
        """Takes the temporary directory away, whatever is in it."""
        shutil.rmtree(self.base, ignore_errors=True)

    def run_prefix(self, vnic, mode="auto", tree=None):
        """The words before a program that let it see `vnic`."""
        return [(tree or self.tree).vrdma_run, "--runtime-dir", self.runtime_dir, "--vnic", vnic,
                "--mode", mode, "--"]

    def ctl(self, *arguments, timeout=10.0):
        """vrdmactl; returns subprocess.CompletedProcess with text."""
        return subprocess.run(
            [str(self.tree.vrdmactl), "--runtime-dir", str(self.runtime_dir), *arguments],
            capture_output=True, text=True, timeout=timeout, check=False)

    def ctl_json(self, *arguments):
        done = self.ctl("--json", *arguments)
        if done.returncode != 0:
            raise ServiceFailed(f"vrdmactl {' '.join(arguments)} ended with status "
                                f"{done.returncode}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None
