#!/usr/bin/env python3
"""Runs a program the way a container runtime would, out of the image that docs/containers.md describes.

    container.py --root DIR --installed DIR [--vnic DIR] [--env NAME=VALUE] -- PROGRAM ARGS...

A mount namespace of its own, whose root is DIR (which stays as it is: everything is written to
memory above it) with what the recipe copies into an image; /proc, /sys, a small /dev, and the vNICs'
directories bound under the paths that they have outside. The program is an ordinary user without any
capability, now or later, and its environment holds what --env names and nothing else. It becomes
this process, so its status and signals are the program's."""

import argparse
import ctypes
import os
import pathlib
import shutil
import stat
import sys

USER = 65534  # nobody
LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_DEVICES = ("null", "zero", "full", "random", "urandom")


def _call(name, *arguments):
    if getattr(_LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source, target, kind=None, flags=0, data=None):
    words = [None if word is None else str(word).encode() for word in (source, target, kind, data)]
    _call("mount", words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])


def _bind(source, target):
    if pathlib.Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.touch()
    _mount(source, target, flags=_MS_BIND | _MS_REC)


def _copy_into_image(root, installed):
    """The COPY lines of the recipe."""
    found = list(installed.glob("lib*/**/libvrdma-preload.so"))
    libraries = found[0].parent
    place = root / LIBRARIES / "libibverbs"
    place.mkdir(parents=True, exist_ok=True)
    for provider in (libraries / "libibverbs").glob("libvrdma-rdmav*.so"):
        shutil.copy(provider, place)
    shutil.copy(found[0], root / LIBRARIES)
    (root / "etc/libibverbs.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/libibverbs.d/vrdma.driver").write_text(
        f"driver /{LIBRARIES}/libibverbs/libvrdma\n", encoding="ascii")
    (root / "etc/ld.so.preload").write_text(f"/{LIBRARIES}/libvrdma-preload.so\n", encoding="ascii")
    shutil.copy(installed / "share/vrdma/nccl.conf", root / "etc/nccl.conf")


def _make_root(below, installed, vnics):
    """Everything mounted here ends with the namespace."""
    _call("unshare", _CLONE_NEWNS)
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    _mount("image", "/mnt", "tmpfs", data="mode=755")
    above, work, root = (pathlib.Path("/mnt", name) for name in ("above", "work", "root"))
    for directory in (above, work, root):
        directory.mkdir()
    _mount("image", root, "overlay", data=f"lowerdir={below},upperdir={above},workdir={work}")
    _copy_into_image(root, installed)
    for directory in ("/proc", "/sys"):
        _bind(directory, root / directory[1:])
    _mount("dev", root / "dev", "tmpfs", data="mode=755")
    for name in _DEVICES:
        _bind(f"/dev/{name}", root / "dev" / name)
    (root / "dev/shm").mkdir()
    _mount("shm", root / "dev/shm", "tmpfs", data="mode=1777")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for vnic in vnics:
        # Of a service with the usual runtime directory these two are the same.
        _bind(vnic, root / "run/vrdma/vnic" / vnic.name)
        _bind(vnic, root / str(vnic)[1:])
    return root


def _become_ordinary_user():
    for capability in range(64):
        if _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


def _find(program):
    if "/" in program:
        return program
    for directory in ("/usr/bin", "/bin", "/usr/sbin"):
        path = f"{directory}/{program}"
        if os.path.exists(path) and os.stat(path).st_mode & stat.S_IXUSR:
            return path
    sys.exit(f"container.py: the image has no program {program}")


def main():
    parser = argparse.ArgumentParser()
    for option in ("--root", "--installed"):
        parser.add_argument(option, type=pathlib.Path, required=True)
    parser.add_argument("--vnic", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    root = _make_root(options.root, options.installed, options.vnic)
    os.chroot(root)
    os.chdir("/tmp")
    _become_ordinary_user()
    environment = dict(word.split("=", 1) for word in options.env)
    os.execve(_find(options.command[0]), options.command, environment)


if __name__ == "__main__":
    main()
