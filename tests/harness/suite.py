"""How a suite of end-to-end cases is written.

A suite is a folder tests/e2e/suites/NN-name with a suite.py that makes Suite objects:

    suite = Suite("devices", Service())           # a vrdmad for the whole suite, or None

    @suite.case(timeout=10)
    def ibv_devices_lists_the_vnic(ctx):
        check(ctx.run(ctx.on("a"), "ibv_devices").status == 0)

    for size in (1, 4096):
        suite.add(f"size_{size}", functools.partial(transfer, size), timeout=20)

A case passes by returning, fails by raising and skips by raising Skip. It runs in a process of its
own, whose output is its log; when it ends or its time is up everything it started is killed.
"""

import dataclasses
import typing

from lab import service as lab_service


class Failed(Exception):
    pass


class Skip(Exception):
    pass


def check(condition, message="the condition does not hold"):
    if not condition:
        raise Failed(message)


def equal(found, expected, what="value"):
    if found != expected:
        raise Failed(f"{what} is {found!r}, expected {expected!r}")


def contains(text, part, what="output"):
    if part not in text:
        raise Failed(f"{what} does not contain {part!r}:\n{text}")


@dataclasses.dataclass
class Service:
    """The vrdmad of a suite. `config`: from the runtime directory to TOML text."""

    config: typing.Callable = lab_service.two_tenants
    user: str = None  # run it, and by default the programs, as this user; needs root
    installed: bool = False  # from a staged installation instead of the build tree
    private_mounts: bool = False  # in a mount namespace in which /dev and /etc may be changed
    inside: typing.Callable = None  # from the suite's surroundings to the words before vrdmad


@dataclasses.dataclass
class Case:
    suite: object
    name: str
    run: typing.Callable
    timeout: float
    slow: bool

    @property
    def id(self):
        return f"e2e/{self.suite.name}/{self.name}"


class Suite:
    """`needs`: called before the service starts; may raise Skip, which skips every case.
    `builds`: {preset: [targets]} that the suite wants built besides the release build.
    `at_once`: so many cases run at the same time, when there are as many CPUs; only without a service.
    `surroundings`: from the folder for logs to a context manager that is entered before the
    service starts and left after it has ended; cases find its value in ctx.surroundings."""

    def __init__(self, name, service=None, needs=None, builds=None, surroundings=None, at_once=1):
        if at_once > 1 and service is not None:
            raise ValueError(f"{name}: cases share a service, one after the other")
        self.name = name
        self.service = service
        self.needs = needs
        self.builds = builds or {}
        self.surroundings = surroundings
        self.at_once = at_once
        self.cases = []

    def add(self, name, run, timeout=20.0, slow=False):
        self.cases.append(Case(self, name, run, timeout, slow))

    def case(self, timeout=20.0, slow=False):
        def register(function):
            self.add(function.__name__, function, timeout, slow)
            return function
        return register
