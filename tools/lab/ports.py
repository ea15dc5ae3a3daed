"""TCP ports for programs that exchange their addresses over one."""

import random
import socket
import time

# Below the range from which the kernel takes ports for outgoing connections.
_FIRST, _LAST = 18600, 29900
_LISTEN = "0A"


def free_port():
    for _ in range(200):
        port = random.randint(_FIRST, _LAST)
        with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free TCP port between %d and %d" % (_FIRST, _LAST))


def listens(port, tables="/proc/net"):
    """Whether somebody listens; read from the kernel, because connecting would take a turn.
    `tables`: another network namespace's are in /proc/PID/net."""
    wanted = "%04X" % port
    for table in ("tcp", "tcp6"):
        try:
            with open(f"{tables}/{table}", encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if fields[1].endswith(":" + wanted) and fields[3] == _LISTEN:
                        return True
        except OSError:
            continue
    return False


def wait_until_listening(port, process, timeout=10.0, tables="/proc/net"):
    """True when somebody listens; False when the process ended or the time is up."""
    deadline = time.monotonic() + timeout
    while not listens(port, tables):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
