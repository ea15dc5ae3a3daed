"""What goes wrong at the start says what and what to do, ends with the documented status (1: could
not start, 2: configuration or command line), and leaves nothing behind."""

import functools
import os
import pathlib
import tempfile

from harness.context import is_root
from harness.suite import Skip, Suite, check, contains, equal
from lab.service import two_tenants

suite = Suite("config")


def vrdmad(ctx, text, *options, status, parts, user=None, runtime_dir=None):
    """vrdmad with this configuration must end with `status` and say all `parts`."""
    with tempfile.TemporaryDirectory(dir=ctx.places.scratch) as directory:
        os.chmod(directory, 0o755)
        runtime = runtime_dir or pathlib.Path(directory, "run")
        config = pathlib.Path(directory, "vrdmad.toml")
        if text is not None:
            config.write_text(text(runtime) if callable(text) else text, encoding="utf-8")
        program = ctx.places.staged() / "sbin/vrdmad" if user else ctx.tree.vrdmad
        ended = ctx.run(program, "--config", config, *options, user=user, timeout=20)
        equal(ended.status, status, "the exit status")
        for part in parts:
            contains(ended.output, part)
        check("terminate called" not in ended.output, "it crashed")
        left = [path for path in pathlib.Path(directory).rglob("*") if path != config]
        equal(left, [], "what is left behind")


def changed(old, new):
    def text(runtime_dir):
        before = two_tenants(runtime_dir)
        check(old in before, "nothing to change")
        return before.replace(old, new)
    return text


def refused(name, text, *parts, status=2):
    suite.add(name, functools.partial(vrdmad, text=text, status=status, parts=parts))


refused("missing_file", None, "vrdmad.toml", "cannot be opened", "--config")
refused("bad_toml", "[service\nworkers = 1\n", "vrdmad.toml", "TOML")
refused("unknown_key", changed("system_view = false", "system_view = false\nworker = 1"),
        "worker", "unknown")
refused("unknown_table", changed("[service]", "[services]"), "services")
refused("wrong_type", changed("id = 10", 'id = "ten"'), "id", "ten")
refused("value_out_of_range", changed("id = 10", "id = 0"), "id", "16777215")
refused("truth_value_in_quotes", changed('name = "b"', 'name = "b"\nprocess_memory = "no"'),
        "process_memory", "true or false")
refused("unknown_network", changed('network = "blue"\naddress = "10.0.0.1"',
                                   'network = "red"\naddress = "10.0.0.1"'), "red", "blue")
refused("two_vnics_with_one_name", changed('name = "b"', 'name = "a"'), '"a"')
refused("two_vnics_with_one_address", changed("10.0.0.2", "10.0.0.1"), "10.0.0.1")
refused("relative_runtime_directory", lambda _: two_tenants("run/vrdma"), "runtime_dir", "absolute")
refused("runtime_directory_too_long", lambda directory: two_tenants(str(directory) + "x" * 90),
        "runtime_dir", "80")


@suite.case()
def every_error_is_reported_at_once(ctx):
    vrdmad(ctx, changed("id = 10", "id = 0\ncolour = 1"), status=2, parts=["16777215", "colour"])


@suite.case()
def check_accepts_a_good_configuration_and_starts_nothing(ctx):
    vrdmad(ctx, two_tenants, "--check", status=0, parts=["ok"])


@suite.case()
def check_refuses_a_bad_one(ctx):
    vrdmad(ctx, changed("id = 10", "id = 0"), "--check", status=2, parts=["16777215"])


@suite.case()
def no_config_option(ctx):
    ended = ctx.run(ctx.tree.vrdmad)
    equal(ended.status, 2, "the exit status")
    contains(ended.output, "--config")


@suite.case()
def system_view_as_ordinary_user_is_refused(ctx):
    if not is_root():
        user = None
    else:
        user = "nobody"
    with ctx.new_service(functools.partial(two_tenants, system_view="true"), start=False,
                         user=user, installed=user is not None) as service:
        ended = ctx.run(service.tree.vrdmad, "--config", service.config_file, user=user)
        equal(ended.status, 2, "the exit status")
        contains(ended.output, "service.system_view")
        contains(ended.output, "expected root")
        equal(service.left_behind(), [], "what is left behind")


@suite.case()
def socket_of_another_user_is_refused_to_an_ordinary_service(ctx):
    if not is_root():
        raise Skip("needs root, to become another user")
    text = changed('name = "b"', 'name = "b"\nowner = "root"\ngroup = "root"')
    vrdmad(ctx, text, "--check", status=2, user="nobody",
           parts=["vrdmad.toml:14: vnic[2].owner", "vrdmad.toml:15: vnic[2].group", "as root"])
    vrdmad(ctx, text, "--check", status=0, parts=["ok"])


@suite.case()
def unwritable_runtime_directory(ctx):
    if not is_root():
        vrdmad(ctx, two_tenants, status=1, parts=["/proc/vrdma", "runtime_dir"],
               runtime_dir="/proc/vrdma")
        return
    with tempfile.TemporaryDirectory(dir=ctx.places.scratch) as closed:
        os.chmod(closed, 0o755)  # root's
        vrdmad(ctx, two_tenants, status=1, parts=[closed, "ermission denied", "runtime_dir"],
               user="nobody", runtime_dir=closed + "/run")


@suite.case()
def runtime_directory_that_is_a_file(ctx):
    with tempfile.NamedTemporaryFile(dir=ctx.places.scratch) as file:
        vrdmad(ctx, two_tenants, status=1, parts=[file.name, "runtime_dir"], runtime_dir=file.name)


@suite.case(timeout=40)
def second_service_in_the_same_directory_is_refused_and_harms_nothing(ctx):
    with ctx.new_service() as first:
        ended = ctx.run(ctx.tree.vrdmad, "--config", first.config_file)
        equal(ended.status, 1, "the exit status")
        contains(ended.output, "in use: another vrdmad runs")
        ctx.service = first
        ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 20)
        equal(first.stop(), 0, "the first one's exit status")
        equal(first.left_behind(), [], "what is left behind")


@suite.case(timeout=40)
def service_starts_where_one_was_killed(ctx):
    with ctx.new_service() as service:
        service.kill()
        check(service.left_behind() != [], "nothing to clean up")
        service.start()
        ctx.service = service
        ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 20)
        equal(service.stop(), 0, "the exit status")
        equal(service.left_behind(), [], "what is left behind")


@suite.case()
def stop_while_a_program_is_attached_ends_both(ctx):
    with ctx.new_service() as service:
        ctx.service = service
        with ctx.start_pair("ib_write_bw", "-F", "-D", 20, "-s", 4096, timeout=15) as pair:
            ctx.eventually(lambda: service.ctl_json("qp", "list")["total"] >= 2, "queue pairs")
            equal(service.stop(), 0, "the exit status")
            ended = pair.finish()
        print(ended.describe())
        check(ended.client.status not in (0, None), "the client noticed nothing")
        equal(service.left_behind(), [], "what is left behind")


@suite.case()
def sigint_stops_it_too(ctx):
    with ctx.new_service() as service:
        service.process.send_signal(2)
        equal(service.process.wait(10), 0, "the exit status")
        equal(service.left_behind(), [], "what is left behind")


# -- vrdma-run ------------------------------------------------------------------------------------

run = Suite("vrdma-run")


@run.case()
def without_service_says_why(ctx):
    with tempfile.TemporaryDirectory(dir=ctx.places.scratch) as empty:
        ended = ctx.run(ctx.tree.vrdma_run, "--runtime-dir", empty, "--vnic", "a", "--",
                        "ibv_devices")
    equal(ended.status, 2, "the exit status")
    contains(ended.output, "no vrdma service found")
    contains(ended.output, "start vrdmad")


@run.case()
def of_a_killed_service_says_why(ctx):
    with ctx.new_service() as service:
        service.kill()
        ended = ctx.run(service.run_prefix("a"), "ibv_devices")
    equal(ended.status, 2, "the exit status")
    contains(ended.output, "no service answers")


@run.case()
def of_unknown_vnic_lists_the_others(ctx):
    with ctx.new_service() as service:
        ended = ctx.run(service.run_prefix("nic"), "ibv_devices")
    equal(ended.status, 2, "the exit status")
    contains(ended.output, "choose one of these: a, b")


@run.case()
def passes_on_the_exit_status(ctx):
    with ctx.new_service() as service:
        equal(ctx.run(service.run_prefix("a"), "sh", "-c", "exit 37").status, 37, "the status")
        equal(ctx.run(service.run_prefix("a"), "/nonexistent").status, 127, "the status")
