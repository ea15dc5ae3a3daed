"""A small Ethernet for tests: a switch in a network namespace of its own, hosts (namespaces with
one port each) and guests (tap devices) around it.

A namespace lives as long as the process that holds it, and everything is in namespaces: when we
die, nothing of it remains. Frames of MTU bytes fit everywhere; 4096 bytes of payload and all
headers do."""

import pathlib
import subprocess

from lab import ports, processes

MTU = 4200
PORT = "port0"  # the name of a host's only interface


class NetworkFailed(Exception):
    pass


class Namespace:
    def __init__(self):
        with processes.uninterrupted():
            self._holder = processes.start(
                ["unshare", "--net", "sh", "-c", "echo && exec sleep infinity"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        answer = self._holder.stdout.readline()
        if answer != b"\n":
            self.end()
            raise NetworkFailed("no network namespace: " + answer.decode(errors="replace"))
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self):
        return self._holder.pid

    def enter(self):
        """Words that put a command into the namespace."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def run(self, *words):
        done = subprocess.run([*self.enter(), *map(str, words)], capture_output=True, text=True,
                              timeout=20, check=False)
        if done.returncode != 0:
            raise NetworkFailed(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return done.stdout

    def listens(self, port):
        return ports.listens(port, f"/proc/{self.pid}/net")

    def set(self, name, value):
        self.run("sh", "-c", f"echo {value} > /proc/sys/net/{name}")

    def end(self):
        processes.end(self._holder)
        self._holder.stdout.close()


class Host(Namespace):
    """The interface PORT with an address of the kernel's; packet sockets may use it besides."""
    def __init__(self, address):
        super().__init__()
        self.address = address.split("/")[0]


class Network:
    def __init__(self, mtu=MTU):
        self.mtu = mtu
        self._hosts = []
        self.switch = Namespace()
        # Frames are bridged, not looked at; and a switch has nothing to say.
        self.switch.set("ipv6/conf/all/disable_ipv6", 1)
        self.switch.set("ipv6/conf/default/disable_ipv6", 1)
        self.switch.run("ip", "link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
        self.switch.run("ip", "link", "set", "switch", "mtu", mtu, "up")

    def add_host(self, address):
        """`address`: such as 10.9.0.1/24."""
        host = Host(address)
        self._hosts.append(host)
        name = f"host{len(self._hosts)}"
        self.switch.run("ip", "link", "add", name, "mtu", self.mtu, "type", "veth", "peer", "name",
                        PORT, "mtu", self.mtu, "netns", host.pid)
        self._plug(name)
        host.set(f"ipv6/conf/{PORT}/disable_ipv6", 1)
        host.run("ip", "address", "add", address, "dev", PORT)
        host.run("ip", "link", "set", PORT, "up")
        return host

    def add_tap(self, name):
        """A tap device for QEMU, which is to be started with the words `switch.enter()`."""
        self.switch.run("ip", "tuntap", "add", name, "mode", "tap")
        self.switch.run("ip", "link", "set", name, "mtu", self.mtu)
        self._plug(name)

    def _plug(self, name):
        self.switch.run("ip", "link", "set", name, "master", "switch", "up")

    def end(self):
        for host in self._hosts:
            host.end()
        self.switch.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def why_not():
    """What this machine lacks for such a network; empty when nothing."""
    if not pathlib.Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    script = ("ip link add bridge0 type bridge && ip link add veth0 type veth peer name veth1 && "
              "ip tuntap add tap0 mode tap && ip link set tap0 master bridge0")
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True,
                          timeout=20, check=False)
    return "" if done.returncode == 0 else "no bridge, veth or tap devices: " + done.stderr.strip()
