"""A tenant does what it can against the service and its neighbours (tests/hostile), which transfer
and verify data meanwhile. A run prints its seed; `vrdma-hostile --seed` replays it."""

import functools
import os

from harness.suite import Service, Suite, check, equal
from lab import service as lab_service
from lab.tree import Tree


def tenants(runtime_dir, workers=1):
    text = f"""[service]
runtime_dir = "{runtime_dir}"
system_view = false
workers = {workers}
log_level = "error"
[[network]]
name = "blue"
id = 10
[[network]]
name = "red"
id = 11
"""
    for name, network, last in (("hostile", "blue", 9), ("a", "blue", 1), ("b", "blue", 2),
                                ("c", "red", 1), ("d", "red", 9), ("strict", "blue", 8)):
        text += (f'[[vnic]]\nname = "{name}"\nnetwork = "{network}"\n'
                 f'address = "10.0.0.{last}"\n')
        if name == "hostile":
            text += "max_mrs = 8192\n"  # exhausting the default takes a quarter of a minute
        if name == "strict":
            text += "process_memory = false\n"
    return text


def run(ctx, seconds, *options, gap_ms=1000):
    pid = ctx.service.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    ended = ctx.run(ctx.places.build / "tests/hostile/vrdma-hostile", "--runtime-dir",
                    ctx.service.runtime_dir, "--victim", "a:b", "--victim", "c:d", "--seconds", seconds,
                    "--gap-ms", gap_ms, *options, timeout=seconds + 60)
    check(ended.status == 0, f"vrdma-hostile: exit status {ended.status}, expected 0")
    os.kill(pid, 0)  # it is there
    ctx.eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 2,
                   "the service closes what the attackers gave it")


# One worker: all tenants share it, which is the worst case for the victims.
one = Suite("hostile", Service(config=tenants))
one.add("every_attack", functools.partial(run, seconds=45), timeout=120)


@one.case(timeout=60)
def pages_that_never_come_are_refused_without_process_memory(ctx):
    run(ctx, 0, "--vnic", "strict", "--only", "silent-pages")


two = Suite("hostile_two_workers",
            Service(config=functools.partial(tenants, workers=2)))
two.add("every_attack", functools.partial(run, seconds=30), timeout=105)


# The same against a service that notices every access outside its own memory, undefined behaviour
# and leaks. It is several times slower, so the victims may stand still for longer.
sanitized = Suite("hostile_sanitized", builds={"asan": ["vrdmad"]})


@sanitized.case(timeout=150)
def every_attack(ctx):
    tree = Tree.built(ctx.places.build_also("asan", ["vrdmad"]))
    tree.vrdmactl = ctx.tree.vrdmactl
    service = lab_service.Service(
        tree, functools.partial(tenants, workers=2), within=ctx.places.scratch,
        inside=["env", "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1",
                "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"])
    try:
        ctx.service = service.start(timeout=60)
        run(ctx, 40, gap_ms=8000)
        run(ctx, 0, "--vnic", "strict", "--only", "silent-pages", gap_ms=8000)
        equal(service.stop(grace=30), 0, "the exit status after SIGTERM")
    finally:
        service.kill()
        print("--- vrdmad's log\n" + service.log_text())
    for word in ("AddressSanitizer", "LeakSanitizer", "runtime error"):
        check(word not in service.log_text(), "a sanitizer complained")
