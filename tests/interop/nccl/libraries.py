"""NCCL's libraries: releases from the Python package index, and what the machine has installed.

A release's wheel is fetched once into the build folder, and of it only libnccl.so.2 is kept, 200 to
400 MB. Releases are named here, one for each version of NCCL's network interface, so that a run
tomorrow tests the same; who wants another one adds it."""

import glob
import pathlib
import subprocess
import sys
import tempfile
import zipfile

RELEASES = ("2.27.7", "2.28.9", "2.32.3")  # interface versions 10, 11 and 12
PACKAGE = "nvidia-nccl-cu13"  # smaller than -cu12, and the same but for the GPU's code
LIBRARY = "libnccl.so.2"
INSTALLED = ("/usr/local/cuda*/lib*/" + LIBRARY, "/usr/lib/x86_64-linux-gnu/" + LIBRARY)
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


def installed():
    """The newest one that the machine has."""
    found = sorted(path for pattern in INSTALLED for path in glob.glob(pattern))
    if not found:
        raise Unavailable("no NCCL is installed: there is no " + " and no ".join(INSTALLED))
    return pathlib.Path(found[-1])


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
