"""What a host sees in its life, in a minute: perftest, UCX and MPI jobs start, run and are killed at
random, several at a time. Jobs that nobody kills must succeed; afterwards the services hold nothing
of any of them and are as large as before.

mixed         two vNICs of one service
mixed_wire    two services

`run --minutes 30` beside this file does the same for longer, `run --seed N` again in the same order
(how far a job is when it is killed is up to the machine)."""

import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from harness import consumers
from harness.suite import Failed, Service, Suite, check, contains
from lab import ports, processes

SECONDS = float(os.environ.get("VRDMA_MIXED_SECONDS", "30"))
JOBS_AT_ONCE = 3
STAYS = 8  # programs, so that their descriptors and mappings are more than the tolerance
PATIENCE = 60  # for a job that nobody kills, with others beside it on a slow machine
MPI_FOLDER = pathlib.Path(__file__).parents[1] / "92-mpi"
PYTHON = "/usr/bin/python3"
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "plm",
          "isolated", "--mca", "pml", "ucx", "--mca", "osc", "ucx", "--mca", "btl", "self", "--mca",
          "mpi_yield_when_idle", "1")
USED = ("contexts", "pds", "mrs", "cqs", "qps", "srqs", "mr_bytes")

needs = consumers.programs(
    "ib_write_bw", "ucx_perftest", "mpirun",
    files=[PYTHON, "/usr/lib/python3/dist-packages/mpi4py/__init__.py", MPI_FOLDER / "verify.py"])
same = Suite("mixed", Service(), needs=needs)
wire = consumers.on_two_hosts("mixed_wire", "vrdma", needs)


# ---- what a service holds

def footprint(service):
    """What may not grow: descriptors, mappings, resident KiB."""
    base = f"/proc/{service.process.pid}"
    with open(base + "/maps", encoding="utf-8") as maps, \
            open(base + "/status", encoding="utf-8") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return {"descriptors": len(os.listdir(base + "/fd")), "mappings": sum(1 for _ in maps),
                "KiB": resident}


# Of the machine's own making: a vrdmactl that is just being answered, the allocator's arenas.
MAY_GROW = {"descriptors": 2, "mappings": 16, "KiB": 32768}


def leaks(service, vnic, before):
    """One line for everything a service holds that it should not."""
    info = service.ctl_json("vnic", "show", vnic)
    found = [f"{vnic}: {info[what]} {what}" for what in USED if info[what]]
    found += [f"{vnic}: process {pid}" for pid in info["pids"]]
    for what in ("qps", "mrs"):
        listed = service.ctl_json(what[:-1], "list", "--vnic", vnic)
        if listed["total"] != 0:
            found.append(f"{vnic}: vrdmactl lists {listed['total']} {what}")
    for what, now in footprint(service).items():
        if now > before[what] + MAY_GROW[what]:
            found.append(f"{vnic}: {what} grew from {before[what]} to {now}")
    return found


def all_leaks(ctx, before):
    return [line for vnic, service in consumers.services(ctx).items()
            for line in leaks(service, vnic, before[vnic])]


def footprints(ctx):
    return {vnic: footprint(service) for vnic, service in consumers.services(ctx).items()}


def no_leaks(ctx, before):
    last = []

    def none():
        last[:] = all_leaks(ctx, before)
        return not last
    try:
        ctx.eventually(none, "the services let go of everything")
    except Failed as failed:
        raise Failed("left after the jobs: " + "; ".join(last)) from failed
    print("before", before, "after", footprints(ctx), flush=True)


# ---- jobs

class Job:
    """Processes that belong together. `fate`: seconds until a kill and how, or None."""

    def __init__(self, name, commands, fate, environment=None, port=None):
        self.name = name
        self.fate = fate
        self.started = time.monotonic()
        self.killed = False
        self._commands = list(commands)
        self._environment = {**os.environ, **(environment or {})}
        self._port = port
        self._files = []
        self._processes = []
        self._start_next()

    def _start_next(self):
        file = tempfile.TemporaryFile()
        self._files.append(file)
        self._processes.append(processes.start(
            self._commands[len(self._processes)], stdout=file, stderr=subprocess.STDOUT,
            env=self._environment, start_new_session=True))

    def step(self, rng):
        """True when the job has ended, as it should; Failed when it ended otherwise."""
        age = time.monotonic() - self.started
        if self.fate is not None and not self.killed and age > self.fate[0]:
            self._kill(self.fate[1], rng)
        if self.killed:
            # Who lost its peer may take as long as its protocol does; that is not ours to test.
            if age > self.fate[0] + 2:
                self.end()
            return not self._members()
        if len(self._processes) < len(self._commands) and ports.listens(self._port):
            self._start_next()
        if len(self._processes) == len(self._commands) and all(
                process.poll() is not None for process in self._processes):
            statuses = [process.returncode for process in self._processes]
            self._fail_unless(statuses == [0] * len(statuses), f"ended with {statuses}")
            return True
        self._fail_unless(age < PATIENCE, f"has not ended after {PATIENCE} s")
        return False

    def _fail_unless(self, condition, what):
        if not condition:
            for command, file in zip(self._commands, self._files):
                file.seek(0)
                print("$", *command, "\n" + file.read().decode(errors="replace")[-4000:])
            raise Failed(f"{self.name}, which nobody killed, {what}")

    def _members(self):
        """The living of our sessions, whatever they have forked."""
        sessions = {process.pid for process in self._processes}
        for process in self._processes:
            process.poll()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) in sessions and fields[0] not in "ZX":
                found.append(int(entry))
        return sorted(found)

    def _kill(self, how, rng):
        self.killed = True
        members = self._members()
        victims = [rng.choice(members)] if how == "one" and members else members
        for pid in victims:
            _send(pid, signal.SIGTERM if how == "politely" else signal.SIGKILL)

    def end(self):
        for pid in self._members():
            _send(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        for file in self._files:
            file.close()


def _send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def pair(ctx, rng, name, command, fate, environment=None):
    port = ports.free_port()
    server, client = rng.sample(("a", "b"), 2)
    command = [command[0], "-p", port, *command[1:]]
    return Job(name, [[*consumers.on(ctx, server), *command],
                      [*consumers.on(ctx, client), *command, "127.0.0.1"]], fate, environment, port)


def ucx_environment(transport):
    return {"UCX_TLS": transport, "UCX_NET_DEVICES": "vrdma0:1"}


def perftest(ctx, rng, fate):
    program = rng.choice(("ib_write_bw", "ib_read_bw", "ib_send_bw", "ib_write_lat", "ib_send_lat",
                          "ib_atomic_bw"))
    options = ["-F", "-n", rng.choice((1000, 5000))]
    if program != "ib_atomic_bw":
        options += ["-s", rng.choice((8, 4096, 65536))]
    if program.endswith("_bw"):
        options += ["-q", rng.choice((1, 4, 16))]
    if program.startswith("ib_send") and rng.random() < 0.5:
        options += ["-e"]
    return pair(ctx, rng, " ".join(map(str, [program, *options])), [program, *options], fate)


def ucx(ctx, rng, fate):
    transport = rng.choice(("rc_v", "ud_v"))
    test = rng.choice(("tag_bw", "tag_lat", "ucp_put_bw", "ucp_get"))
    size, count = rng.choice(((8, 2000), (8192, 500), (1 << 20, 20)))
    return pair(ctx, rng, f"ucx_perftest {test} {size} over {transport}",
                ["ucx_perftest", "-t", test, "-s", size, "-n", count, "-w", 2], fate,
                ucx_environment(transport))


def mpi(ctx, rng, fate):
    part = rng.choice(("point_to_point", "collectives", "one_sided"))
    words = []
    for rank in range(2):
        words += [":"] if words else []
        words += ["-np", 1, *consumers.on(ctx, "ab"[rank]), PYTHON, "-m", "mpi4py",
                  MPI_FOLDER / "verify.py", part]
    return Job(f"mpi {part}", [[*MPIRUN, *words]], fate, ucx_environment("rc_v,self"))


def next_job(ctx, rng):
    fate = None
    if rng.random() < 0.6:
        fate = (rng.uniform(0.05, 4.0), rng.choice(("all", "one", "politely")))
    return rng.choice((perftest, perftest, ucx, mpi))(ctx, rng, fate)


def clean_run(ctx):
    for program in ("ib_write_bw", "ib_send_lat"):
        ended = ctx.pair_succeeds(program, "-F", "-n", 200,
                                  wrap=lambda vnic: consumers.on(ctx, vnic))
        contains(ended.client.output, "200")


def jobs_come_and_go(ctx):
    seed = int(os.environ.get("VRDMA_MIXED_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}: tests/e2e/suites/96-mixed/run --seed {seed}", flush=True)
    rng = random.Random(seed)
    consumers.wait_until_connected(ctx)
    clean_run(ctx)  # so that what a service keeps for good is there
    before = footprints(ctx)
    until = time.monotonic() + SECONDS
    jobs, ended, killed = [], 0, 0
    try:
        while jobs or time.monotonic() < until:
            while len(jobs) < JOBS_AT_ONCE and time.monotonic() < until:
                jobs.append(next_job(ctx, rng))
                print(f"{jobs[-1].name}: {jobs[-1].fate}", flush=True)
            for job in list(jobs):
                if job.step(rng):
                    jobs.remove(job)
                    job.end()
                    ended += not job.killed
                    killed += job.killed
            time.sleep(0.02)
    finally:
        for job in jobs:
            job.end()
    print(f"{ended} jobs succeeded, {killed} were killed", flush=True)
    check(ended > 0 and killed > 0, f"{ended} jobs succeeded and {killed} were killed: no mixture")
    no_leaks(ctx, before)
    clean_run(ctx)
    no_leaks(ctx, before)


def leak_checks_notice_a_program_that_stays(ctx):
    """What the other case relies on: each kind of leak is there once."""
    consumers.wait_until_connected(ctx)
    before = footprints(ctx)
    service = consumers.services(ctx)["a"]
    with tempfile.TemporaryFile() as out:
        # Servers of pingpong wait for their clients with everything made.
        stays = [processes.start([*consumers.on(ctx, "a"), "ibv_rc_pingpong", "-g", "3", "-s",
                                  str(1 << 20), "-p", str(ports.free_port())], stdout=out,
                                 stderr=subprocess.STDOUT) for _ in range(STAYS)]
        try:
            expected = [f"a: {STAYS} {what}" for what in ("contexts", "pds", "cqs", "mrs", "qps")]
            expected += [f"a: vrdmactl lists {STAYS} qps", f"a: vrdmactl lists {STAYS} mrs",
                         "a: descriptors grew", "a: mappings grew"]
            expected += [f"a: process {process.pid}" for process in stays]
            # RSS cannot be made to grow from outside at will: a baseline that was lower stands in.
            smaller = {**before["a"], "KiB": before["a"]["KiB"] - MAY_GROW["KiB"] - 4096}
            expected.append("a: KiB grew")

            def missing():
                text = "; ".join(leaks(service, "a", smaller))
                return [what for what in expected if what not in text]
            ctx.eventually(lambda: not missing(), "every leak is noticed", 30)
        finally:
            print("not noticed:", missing())
            for process in stays:
                processes.end(process)
    no_leaks(ctx, before)


def add(suite):
    suite.add("leak_checks_notice_a_program_that_stays", leak_checks_notice_a_program_that_stays,
              timeout=90)
    suite.add("jobs_come_and_go", jobs_come_and_go, timeout=SECONDS + PATIENCE + 90, slow=True)


add(same)
add(wire)
wire.add("other_service_ends_cleanly", consumers.two_hosts.other_service_is_alive_and_ends_cleanly)
