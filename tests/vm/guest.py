"""A running test guest: QEMU without acceleration, one virtio network card, and a line to its agent
(in_guest/agent), over which commands go in and their output and exit status come back.

The line is a socket that child processes inherit: a suite boots the guest, its cases use it one
after the other, each beginning with reset(). What an earlier user has left in the line is
recognized by its id and passed over."""

import base64
import itertools
import os
import pathlib
import select
import socket
import time

from lab import processes
from lab.pair import Ended

QEMU = "qemu-system-x86_64"


class GuestFailed(Exception):
    pass


class Job:
    """A command that runs in the guest."""
    def __init__(self, guest, words, number):
        self.guest = guest
        self.command = words
        self.id = number

    def poll(self):
        """Its Ended, or None while it runs."""
        return self.guest.answer(self, 0)

    def wait(self, timeout):
        """Its Ended; after `timeout` seconds it is killed, and the status is None."""
        ended = self.guest.answer(self, timeout)
        if ended is None:
            self.kill()
            ended = self.guest.answer(self, 10)
            if ended is None:
                raise GuestFailed(f"the guest's agent does not answer\n{self.guest.console()}")
            ended.status = None
        return ended

    def kill(self, name="KILL"):
        self.guest.send(f"kill {self.id} {name}")


class Guest:
    """`address`: the kernel's, with its prefix length; `number` makes its MAC address."""
    def __init__(self, image, network, name, number, address, console, memory_mib=512, cpus=1):
        self.name = name
        self.address = address.split("/")[0]
        self.mtu = network.mtu
        self.mac = f"52:54:00:00:00:{number:02x}"
        self.boot_seconds = None
        self._console = pathlib.Path(console)
        self._pending = b""
        self._answers = {}
        self._numbers = itertools.count(1)
        self._process = None
        network.add_tap(name)
        ours, theirs = socket.socketpair()
        self._line = ours
        append = ("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off "
                  "nokaslr cryptomgr.notests random.trust_cpu=on net.ifnames=0 "
                  f"VRDMA_ADDRESS={address} VRDMA_MTU={network.mtu}")
        devices = [
            f"-chardev file,id=console,path={self._console} -serial chardev:console",
            f"-chardev socket,id=agent,fd={theirs.fileno()} -device virtio-serial-pci",
            "-device virtserialport,chardev=agent,name=vrdma",
            # No limit to what is under way: QEMU would wait for it, and once did for a minute.
            f"-netdev tap,id=net,ifname={name},script=no,downscript=no,sndbuf=0",
            # Packets on the wire are what a card would send, for those who look at them there.
            f"-device virtio-net-pci,netdev=net,mac={self.mac},romfile=,csum=off,host_tso4=off,"
            "host_tso6=off,host_ufo=off,host_ecn=off",
        ]
        command = [
            *network.switch.enter(), QEMU, "-nodefaults", "-no-user-config", "-no-reboot",
            *f"-display none -M pc -accel tcg -cpu max -smp {cpus} -m {memory_mib}".split(),
            "-kernel", image.vmlinux, "-initrd", image.initrd, "-append", append,
            *" ".join(devices).split(),
        ]
        with processes.uninterrupted(), open(f"{self._console}.qemu", "wb") as log:
            self._started = time.monotonic()
            self._process = processes.start(command, pass_fds=[theirs.fileno()], stdout=log,
                                            stderr=log)
        theirs.close()

    def boot(self, timeout=90):
        """Waits until the agent is there."""
        up = Job(self, ["boot"], "up")
        if self.answer(up, timeout) is None:
            raise GuestFailed(f"{self.name} did not boot within {timeout} s\n{self.console()}")
        self.boot_seconds = time.monotonic() - self._started
        return self

    # -- commands ----------------------------------------------------------------------------------

    def start(self, *words):
        """Starts a command: words, or one text for the shell."""
        number = f"{os.getpid()}-{next(self._numbers)}"
        text = words[0] if len(words) == 1 else " ".join(_quoted(word) for word in words)
        self.send(f"run {number} {base64.b64encode(text.encode()).decode()}")
        return Job(self, [f"[{self.name}]", *map(str, words)], number)

    def run(self, *words, timeout=30):
        return self.start(*words).wait(timeout)

    def reset(self, timeout=20):
        """Kills whatever still runs."""
        number = f"{os.getpid()}-{next(self._numbers)}"
        self.send(f"reset {number}")
        if self.answer(Job(self, ["reset"], number), timeout) is None:
            raise GuestFailed(f"the agent of {self.name} does not answer\n{self.console()}")

    def wait_until_listening(self, port, timeout=20):
        """Whether somebody listens on the TCP port before the time is up."""
        turns = int(timeout / 0.05)
        return self.run(
            f"for turn in $(seq {turns}); do grep -qi ':{port:04X} 0*:0000 0A' /proc/net/tcp "
            "/proc/net/tcp6 && exit 0; usleep 50000; done; exit 1", timeout=4 * timeout).status == 0

    # -- the line to the agent ---------------------------------------------------------------------

    def send(self, line):
        try:
            self._line.sendall(f"\n{line}\n".encode())
        except OSError as error:
            raise GuestFailed(f"{self.name}: {error}\n{self.console()}") from error

    def answer(self, job, timeout):
        deadline = time.monotonic() + timeout
        while job.id not in self._answers:
            left = max(deadline - time.monotonic(), 0)
            readable, _, _ = select.select([self._line], [], [], left)
            if not readable:
                return None
            piece = self._line.recv(65536)
            if not piece:
                raise GuestFailed(f"{self.name} is gone\n{self.console()}")
            *lines, self._pending = (self._pending + piece).split(b"\n")
            for line in lines:
                self._take(line.split())
        status, output = self._answers.pop(job.id)
        return Ended(job.command, status, output)

    def _take(self, words):
        if len(words) in (3, 4) and words[0] == b"=" and words[2].isdigit():
            text = base64.b64decode(words[3]) if len(words) == 4 else b""
            self._answers[words[1].decode()] = int(words[2]), text.decode(errors="replace")

    # -- its end -----------------------------------------------------------------------------------

    def running(self):
        return self._process.poll() is None

    def console(self):
        """The last lines of its console, and what QEMU said."""
        text = ""
        for path in (self._console, pathlib.Path(f"{self._console}.qemu")):
            if path.exists():
                text += path.read_text(encoding="utf-8", errors="replace")[-4000:]
        return f"--- console of {self.name}\n{text}"

    def power_off(self, timeout=10):
        """Returns whether it ended by itself."""
        try:
            self.send("run off " + base64.b64encode(b"poweroff -f").decode())
            self._process.wait(timeout)
        except Exception:  # pylint: disable=broad-except  # it is ended in any case
            return False
        finally:
            self.end()
        return True

    def end(self):
        processes.end(self._process, 2.0)
        self._line.close()


def _quoted(word):
    return "'" + str(word).replace("'", "'\\''") + "'"
