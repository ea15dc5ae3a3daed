"""Python packages from the package index, unpacked into the build folder once: build/wheels/NAME.

Versions are named here, so that a run tomorrow tests the same. Nothing that they would depend on is
fetched but what is named: NIXL's name torch, which it works without."""

import dataclasses
import pathlib
import subprocess
import sys

_SECONDS = 150


class Unavailable(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Engine:
    name: str
    packages: tuple

    def folder(self, below):
        """Where its packages are, for PYTHONPATH."""
        place = pathlib.Path(below, f"{self.name}-{self.packages[0].split('==')[1]}")
        if not place.exists():
            unfinished = place.with_suffix(".new")
            self._fetch(unfinished)
            unfinished.rename(place)
        return place

    def _fetch(self, place):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir",
                   "--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:",
                   "--no-compile", "--upgrade", "--root-user-action", "ignore", "--target", place, *self.packages]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS,
                                  check=False)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{self.name} did not arrive within {_SECONDS} s") from error
        if done.returncode != 0:
            words = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise Unavailable(f"{self.name} cannot be fetched: {words}")


# The build without CUDA: the other one needs libcudart.so.12 and libcuda.so.1 to be loaded at all.
MOONCAKE = Engine("mooncake", ("mooncake-transfer-engine-non-cuda==0.3.13.post1",))
NIXL = Engine("nixl", ("nixl==1.5.1", "nixl-cu12==1.5.1", "numpy==2.4.6"))
