"""vrdma-doctor where a tenant would start it: on a healthy vNIC, and with one thing wrong at a time.

What each finding depends on is a unit test's matter (tests/unit/tools_doctor); here the machine is real."""

import json
import pathlib
import subprocess

from harness.suite import Service, Skip, Suite, check, contains, equal
from lab import ports, processes

STATIC = pathlib.Path("/sbin/ldconfig")  # Debian's is a static program

suite = Suite("doctor", Service())


def findings(output, level):
    document = json.loads(output)
    return {found["id"]: found for found in document["findings"] if found["level"] == level}


def examine(ctx, *options, before=(), status, seconds=0, mode="auto", settings=None):
    """The doctor's JSON, after its exit status was as expected."""
    ended = ctx.run(before or ctx.on("a", mode), "env", *(settings or ()), ctx.tree.vrdma_doctor,
                    "--json", "--seconds", seconds, *options)
    equal(ended.status, status, "exit status")
    return ended.output


def only_error(ctx, name, *options, **arguments):
    errors = findings(examine(ctx, *options, status=2, **arguments), "error")
    equal(list(errors), [name], "errors")
    check(errors[name]["remedy"], "there is no remedy")
    return errors[name]


@suite.case()
def healthy_vnic_is_fine_in_both_modes(ctx):
    for mode in ("auto", "preload"):
        output = examine(ctx, status=0, seconds=0.2, mode=mode)
        document = json.loads(output)
        ok = findings(output, "ok")
        equal([name for name in ("provider", "device", "port", "gids", "transfer")
               if name not in ok], [], "what should be fine and is not")
        equal(document["devices"][0]["gids"][-1]["gid"], "::ffff:10.0.0.1", "the last GID")
        check(document["transfer"]["gigabytes_per_second"] > 0, "no bandwidth")
        check(document["transfer"]["microseconds"] > 0, "no latency")
        equal(document["memory"]["shared"]["kind"], "shared", "kind of a memfd")
        contains(document["provider"], "libvrdma-rdmav")


@suite.case()
def report_for_people_ends_with_the_verdict(ctx):
    ended = ctx.run(ctx.on("a"), ctx.tree.vrdma_doctor, "--seconds", 0)
    equal(ended.status, 0, "exit status")
    contains(ended.output, "ok       device: vrdma0: service ")
    equal(ended.output.splitlines()[-1], "a program started here uses vRDMA")
    check(len(ended.output.splitlines()) <= 40, "the report does not fit on a screen")


@suite.case()
def without_a_vnic_there_is_no_device(ctx):
    if pathlib.Path("/sys/class/infiniband").exists():
        raise Skip("this machine has RDMA devices of its own")
    only_error(ctx, "no-device", before=["env"])


@suite.case()
def killed_service_is_named(ctx):
    with ctx.new_service() as service:
        # vrdma-run would refuse; what is started later must be told.
        process = processes.start(
            [*map(str, service.run_prefix("a", "preload")), "sh", "-c",
             f"echo started; read line; exec {ctx.tree.vrdma_doctor} --json --seconds 0"],
            user=ctx.user, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            equal(process.stdout.readline(), b"started\n")
            service.kill()
            output, _ = process.communicate(b"go\n", timeout=15)
        finally:
            processes.end(process, 1.0)
        print(output.decode())
        equal(process.returncode, 2, "exit status")
        equal(list(findings(output, "error")), ["service-gone"], "errors")


@suite.case()
def port_that_is_down_is_an_error(ctx):
    equal(ctx.ctl("vnic", "set", "a", "down").returncode, 0)
    try:
        only_error(ctx, "port-down")
    finally:
        equal(ctx.ctl("vnic", "set", "a", "up").returncode, 0)


@suite.case()
def settings_that_lead_to_tcp_are_errors(ctx):
    for setting, name in (("NCCL_IB_DISABLE=1", "nccl-ib-disabled"), ("NCCL_NET=Socket", "nccl-net"),
                          ("UCX_TLS=tcp", "ucx-tls"), ("UCX_NET_DEVICES=eth0", "ucx-net-devices")):
        contains(only_error(ctx, name, settings=[setting])["text"], setting)


@suite.case()
def static_program_is_not_reached_by_the_preload_library(ctx):
    if not STATIC.exists() or STATIC.read_bytes()[:4] != b"\x7fELF":
        raise Skip(f"{STATIC} is no ELF file here")
    only_error(ctx, "program-static", "--", STATIC, mode="preload")


@suite.case()
def program_with_verbs_is_fine(ctx):
    output = examine(ctx, "--", "ibv_devinfo", status=0)
    contains(findings(output, "ok")["program"]["text"], "ibv_devinfo")


@suite.case(timeout=30)
def peer_that_serves_is_measured_with(ctx):
    port = ports.free_port()
    server = ctx.start(ctx.on("b"), ctx.tree.vrdma_doctor, "--serve", "--port", port,
                       stdout=subprocess.PIPE)
    try:
        contains(server.stdout.readline().decode(), "serving vrdma0")
        for _ in range(2):
            output = examine(ctx, "--peer", "127.0.0.1", "--port", port, status=0, seconds=0.2)
            contains(findings(output, "ok")["peer"]["text"], "same host")
            contains(findings(output, "ok")["transfer"]["text"], "with the peer")
    finally:
        processes.end(server, 1.0)


@suite.case(timeout=30)
def peer_without_doctor_is_told_from_nobody(ctx):
    port = ports.free_port()
    only_error(ctx, "peer-unreachable", "--peer", "10.0.0.99", "--port", port)
    output = examine(ctx, "--peer", "10.0.0.2", "--port", port, status=0)
    check("peer-no-doctor" in findings(output, "note"), "the vNIC is not found")


@suite.case()
def wrong_command_line_has_a_status_of_its_own(ctx):
    equal(ctx.run(ctx.tree.vrdma_doctor, "--serve", "--json").status, 3, "exit status")
    equal(ctx.run(ctx.tree.vrdma_doctor, "--").status, 3, "exit status")


@suite.case()
def slow_memory_is_a_warning(ctx):
    output = examine(ctx, status=1, settings=["VRDMA_MEMORY=process"])
    equal(list(findings(output, "warning")), ["memory-forced"], "warnings")
    equal(json.loads(output)["memory"]["private"]["kind"], "process", "kind of private memory")
