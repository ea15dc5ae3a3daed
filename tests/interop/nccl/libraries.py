"""NCCL's libraries: releases from the Python package index, and what the machine has installed.

A release's wheel is fetched once into the build folder, and of it only libnccl.so.2 is kept, 200 to
400 MB. Releases are named here, one for each version of NCCL's network interface, so that a run
tomorrow tests the same; who wants another one adds it."""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

RELEASES = ("2.27.7", "2.28.9", "2.32.3")  # interface versions 10, 11 and 12
PACKAGE = "nvidia-nccl-cu13"  # smaller than -cu12, and the same but for the GPU's code
LIBRARY = "libnccl.so.2"
# Of CUDA's folders, which may be several, and of the distribution's package.
INSTALLED = ("usr/local/cuda*/lib*/", "usr/local/cuda*/targets/x86_64-linux/lib/",
             "usr/lib/x86_64-linux-gnu/", "usr/lib64/")
_SECONDS = 150


class Unavailable(Exception):
    pass


def release(folder, version):
    """The path of that release's library below `folder`."""
    place = pathlib.Path(folder, version, LIBRARY)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            _unpack(_download(version, scratch), place)
    return place


def installed(root="/"):
    """The newest one that the machine has; of equals the first. Paths may lead to the same file."""
    root = pathlib.Path(root)
    found = [path for pattern in INSTALLED for path in sorted(root.glob(pattern + LIBRARY))
             if path.is_file()]
    if not found:
        raise Unavailable("no NCCL is installed: there is no " +
                          " and no ".join(str(root / pattern / LIBRARY) for pattern in INSTALLED))
    return max(found, key=_version)


def _version(path):
    """(2, 28, 9) of a link to libnccl.so.2.28.9; a file under the bare name is older than any."""
    words = path.resolve().name.removeprefix("libnccl.so.").split(".")
    return tuple(int(word) for word in words) if all(word.isdigit() for word in words) else ()


def _download(version, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
               "--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:", "--dest",
               folder, f"{PACKAGE}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS,
                              check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"NCCL {version} did not arrive within {_SECONDS} s") from error
    wheels = list(pathlib.Path(folder).glob("*.whl"))
    if done.returncode != 0 or not wheels:
        words = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise Unavailable(f"NCCL {version} cannot be fetched: {words}")
    return wheels[0]


def _unpack(wheel, place):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/" + LIBRARY)]
        if len(names) != 1:
            raise Unavailable(f"{wheel.name} has {len(names)} files {LIBRARY}, expected one")
        unfinished = wheel.with_suffix(".new")
        with archive.open(names[0]) as source, open(unfinished, "wb") as target:
            while piece := source.read(1 << 22):
                target.write(piece)
    unfinished.rename(place)
