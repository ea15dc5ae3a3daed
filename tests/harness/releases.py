"""Other releases of Debian, as folders from which programs run: build/chroots/NAME-DIGEST.

Their packages are fetched from Debian's mirror (VRDMA_DEBIAN_MIRROR names another) and unpacked,
not installed: nothing of a release runs to make its folder, and it takes seconds. A folder is made
once for a list of packages; programs run from it through container.py, which writes nothing to it."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from harness import two_hosts
from harness.context import is_root
from harness.suite import Failed, Skip

MIRROR = os.environ.get("VRDMA_DEBIAN_MIRROR", "http://deb.debian.org/debian")
CONTAINER = pathlib.Path(__file__).with_name("container.py")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
_FOLDER = two_hosts.BUILD.parent / "chroots"
_SECONDS = 150

# Releases since Debian 13 leave the links in / to base-files, which is not unpacked.
_LINKS = ('mkdir -p "$1/usr"; cd "$1"; for name in bin sbin lib lib64; do '
          'test -e "$name" || { mkdir -p "usr/$name"; ln -s "usr/$name" "$name"; }; done')
# A mirror that has fallen behind, or a machine whose clock is ahead, is good enough for a test.
_APT = ('APT::Install-Recommends "false"', 'Acquire::Check-Valid-Until "false"',
        'Acquire::Retries "1"', 'Acquire::http::Timeout "20"')


@dataclasses.dataclass(frozen=True)
class Release:
    name: str
    packages: tuple

    @property
    def root(self):
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:8]
        return _FOLDER / f"{self.name}-{digest}"

    def rdma_core(self):
        """The version, from the library's name: libibverbs.so.1.14.56.1 is of rdma-core 56."""
        names = [path.name for path in (self.root / LIBRARIES).glob("libibverbs.so.1.*.*")]
        found = re.match(r"libibverbs\.so\.1\.\d+\.(\d+)\.", "".join(names))
        if len(names) != 1 or not found:
            raise Failed(f"{self.name} has libibverbs {names}, expected one libibverbs.so.1.N.N.N")
        return int(found[1])

    def private_abi(self):
        """The newest number of libibverbs' private interface, as in libNAME-rdmavNN.so."""
        text = (self.root / LIBRARIES / "libibverbs.so.1").read_bytes()
        return max(int(number) for number in re.findall(rb"IBVERBS_PRIVATE_(\d+)", text))


_missing = {}  # release: why it could not be made


def make(*wanted):
    """For Suite(needs=...): makes the folders that are not there yet, all at once. A release that no
    mirror gives skips its cases later, in have()."""
    def needs():
        if not is_root():
            raise Skip("needs root, to unpack other releases and to mount")
        if shutil.which("mmdebstrap") is None:
            raise Skip("not installed: mmdebstrap")
        _FOLDER.mkdir(parents=True, exist_ok=True)
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as threads:
            list(threads.map(_make, wanted))
    return needs


def have(release):
    if release in _missing:
        raise Skip(_missing[release])


def _make(release):
    with open(_FOLDER / f"{release.name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not release.root.exists():
            try:
                _ask_the_mirror(release)
                _unpack(release)
            except Skip as reason:
                _missing[release] = str(reason)


def _ask_the_mirror(release):
    address = f"{MIRROR}/dists/{release.name}/InRelease"
    try:
        with contextlib.closing(urllib.request.urlopen(address, timeout=20)):
            pass
    except (urllib.error.URLError, OSError) as error:
        raise Skip(f"Debian {release.name} cannot be fetched: {address}: {error}") from error


def _unpack(release):
    unfinished = release.root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--mode=root", "--format=directory",
               "--include=" + ",".join(release.packages), f"--setup-hook={_LINKS}",
               *(f"--aptopt={option}" for option in _APT), release.name, str(unfinished), MIRROR]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS,
                              check=False)
    except subprocess.TimeoutExpired as error:
        raise Skip(f"Debian {release.name} did not arrive from {MIRROR} within {_SECONDS} s") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    unfinished.rename(release.root)


def words(ctx, release, *vnics, environment=None):
    """Words that run a program of the release as in a container with these vNICs of the suite's
    service. The service must be an installed one, for what the image gets of it."""
    command = [sys.executable, CONTAINER, "--root", release.root, "--installed",
               ctx.places.staged()]
    for vnic in vnics:
        command += ["--vnic", ctx.service.runtime_dir / "vnic" / vnic]
    for name, value in (environment or {}).items():
        command += ["--env", f"{name}={value}"]
    return [*command, "--"]
