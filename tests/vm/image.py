"""The guest's initial RAM disk, which is all it has: the host's own Debian programs and libraries,
a busybox and the kernel modules, as an uncompressed cpio archive (QEMU copies it in no time;
unpacking it under emulation would take seconds). It is made once and again when anything in it
changes."""

import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess

from vm import kernel

BUSYBOX = "/bin/busybox"
SHELL = "/bin/dash"
PERFTEST = [
    f"ib_{verb}_{kind}" for verb in ("write", "read", "send", "atomic") for kind in ("bw", "lat")
]
VERBS = [
    "ibv_devices", "ibv_devinfo", "ibv_rc_pingpong", "ibv_uc_pingpong", "ibv_ud_pingpong",
    "ibv_srq_pingpong"
]
RDMACM = ["rping", "ucmatose", "udaddy"]
PROGRAMS = [*PERFTEST, *VERBS, *RDMACM, "ip", "tc", "rdma", "ping"]
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
# Opened by name while programs run, so ldd does not know them.
OPENED_LATER = ["/lib/x86_64-linux-gnu/libgcc_s.so.1"]
IN_GUEST = pathlib.Path(__file__).parent / "in_guest"


class ImageFailed(Exception):
    pass


@dataclasses.dataclass
class Image:
    vmlinux: pathlib.Path
    initrd: pathlib.Path


def make_image(folder, more=()):
    """The kernel and the RAM disk, made below `folder` when they are not there yet. `more`: paths
    of programs that the guest has in /bin besides."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ready = kernel.get(folder)
    tree = _contents(ready, more)
    place = folder / f"initrd-{_digest(tree)}.cpio"
    if not place.exists():
        for old in folder.glob("initrd-*"):
            old.unlink()
        unfinished = place.with_suffix(".new")
        with open(unfinished, "wb") as file:
            _write_cpio(file, tree)
        unfinished.rename(place)
    return Image(ready.vmlinux, place)


def _contents(ready, more):
    """{path in the guest: (mode, bytes)}"""
    tree = {}

    def put(path, data, mode):
        tree[path.lstrip("/")] = (mode, data)

    def copy(path, into=None):
        mode = os.stat(path).st_mode & 0o777
        put(into or path, pathlib.Path(path).read_bytes(), stat.S_IFREG | mode)

    copy(BUSYBOX, "/bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in set(applets.split()) - {"busybox", "sh"}:
        put("/bin/" + applet, b"/bin/busybox", stat.S_IFLNK | 0o777)
    # busybox's shell takes its own ip, ping and tc, whatever is in PATH.
    copy(SHELL, "/bin/sh")
    put("/sbin/modprobe", b"/bin/busybox", stat.S_IFLNK | 0o777)

    providers = [str(path) for path in pathlib.Path(LIBRARIES, "libibverbs").glob("librxe-*.so")]
    if not providers:
        raise ImageFailed(
            f"there is no librxe-*.so in {LIBRARIES}/libibverbs (package ibverbs-providers)")
    for path in _libraries([SHELL, *map(_program, PROGRAMS), *providers, *map(str, more)]):
        copy(path)
    for name in PROGRAMS:
        copy(_program(name), "/bin/" + name)  # instead of busybox's, where it has one
    for path in more:
        copy(str(path), "/bin/" + pathlib.Path(path).name)
    for path in [*OPENED_LATER, *providers, "/etc/libibverbs.d/rxe.driver"]:
        copy(path)

    target = f"/lib/modules/{ready.version}/"
    for path in sorted(ready.modules.rglob("*")):
        if path.is_file():
            copy(str(path), target + str(path.relative_to(ready.modules)))
    put("/etc/modules.boot", "".join(f"{target}{path}\n" for path in ready.boot_modules).encode(),
        stat.S_IFREG | 0o644)

    put("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", stat.S_IFREG | 0o644)
    put("/etc/hosts", b"127.0.0.1 localhost\n", stat.S_IFREG | 0o644)
    put("/etc/mtab", b"/proc/mounts", stat.S_IFLNK | 0o777)
    copy(str(IN_GUEST / "init"), "/init")
    copy(str(IN_GUEST / "agent"), "/sbin/agent")
    for name in ("dev", "proc", "sys", "tmp", "root", "run", "var"):
        put(name, b"", stat.S_IFDIR | 0o755)
    for path in list(tree):
        for parent in pathlib.PurePath(path).parents:
            tree.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))
    tree["dev/console"] = (stat.S_IFCHR | 0o600, b"")  # else the init has no output
    return tree


def _program(name):
    path = shutil.which(name)
    if path is None:
        raise ImageFailed(f"{name} is not installed (tests/run installs it)")
    return path


def _libraries(programs):
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    if "not found" in done.stdout or done.returncode != 0:
        raise ImageFailed("libraries are missing:\n" + done.stdout + done.stderr)
    return sorted(set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", done.stdout, re.MULTILINE)))


def _digest(tree):
    digest = hashlib.sha256()
    for path, (mode, data) in sorted(tree.items()):
        digest.update(f"{path}\0{mode}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


# -- the archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst) ----------------


def _write_cpio(file, tree):
    # Sorted, folders come before what is in them.
    for number, (path, (mode, data)) in enumerate(sorted(tree.items()), 1):
        if path != ".":
            _write_entry(file, number, path, mode, data)
    _write_entry(file, 0, "TRAILER!!!", 0, b"")


def _write_entry(file, number, path, mode, data):
    name = path.encode() + b"\0"
    device = (5, 1) if stat.S_ISCHR(mode) else (0, 0)  # /dev/console
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    file.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))
