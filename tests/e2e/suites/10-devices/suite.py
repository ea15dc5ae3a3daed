"""The distribution's own tools see the device: in each way to make it visible, as root and as an
ordinary user, and machine-wide without any environment."""

import functools
import re
import subprocess
import tempfile

from harness.context import is_root
from harness.suite import Service, Skip, Suite, check, contains, equal
from lab.service import two_tenants

ROOT_ONLY = "needs root and the right to mount (CAP_SYS_ADMIN)"


def needs_mounts():
    if not is_root():
        raise Skip(ROOT_ONLY)
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs",
                           "none", "/mnt"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"{ROOT_ONLY}: {done.stderr.strip()}")


def needs_another_user():
    if not is_root():
        raise Skip("needs root, to become another user; as an ordinary user all other suites "
                   "show the same")


# -- what is looked at ----------------------------------------------------------------------------

def devinfo_fields(text):
    """{"state": "PORT_ACTIVE (4)", ...} of one device with one port."""
    fields = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and value.strip():
            fields.setdefault(re.sub(r"\s+", " ", name), value.strip())
    return fields


def one_device_is_listed(ctx, before):
    output = ctx.succeeds(before, "ibv_devices")
    devices = re.findall(r"^\s+(\S+)\s+([0-9a-f]{16})$", output, re.MULTILINE)
    equal([name for name, _ in devices], ["vrdma0"], "the list of devices")


def devinfo_is_complete(ctx, before, address="10.0.0.1"):
    output = ctx.succeeds(before, "ibv_devinfo", "-v")
    fields = devinfo_fields(output)
    expected = {
        "hca_id": "vrdma0", "transport": "InfiniBand (0)", "phys_port_cnt": "1",
        "atomic_cap": "ATOMIC_HCA (1)", "state": "PORT_ACTIVE (4)", "max_mtu": "4096 (5)",
        "active_mtu": "4096 (5)", "link_layer": "Ethernet", "gid_tbl_len": "4",
        "pkey_tbl_len": "1", "active_width": "4X (2)", "phys_state": "LINK_UP (5)",
        "max_pkeys": "1", "port": "1",
    }
    for name, value in expected.items():
        equal(fields.get(name), value, f"ibv_devinfo's {name}")
    for name, least in (("max_qp", 256), ("max_cq", 256), ("max_mr", 256), ("max_srq", 1),
                        ("max_qp_wr", 8192), ("max_sge", 16), ("max_qp_rd_atom", 16)):
        check(int(fields[name]) >= least, f"{name} is {fields[name]}, expected at least {least}")
    check(int(fields["max_msg_sz"], 16) >= 1 << 30, "max_msg_sz is below 1 GiB")
    gids = dict(re.findall(r"GID\[\s*(\d+)\]:\s*(\S+), RoCE v2", output))
    equal(sorted(gids), ["0", "1", "3"], "the GIDs' indices")
    equal(gids["3"], "::ffff:" + address, "GID 3")
    check(gids["0"].startswith("fe80::"), f"GID 0 is {gids['0']}, not link-local")


def pingpong_works(ctx, mode):
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 100, "-c", mode=mode)


def asyncwatch_reports_the_port(ctx, mode):
    with tempfile.NamedTemporaryFile() as out:
        watcher = ctx.start(ctx.on("b", mode), "stdbuf", "-oL", "ibv_asyncwatch", stdout=out,
                            stderr=subprocess.STDOUT)
        try:
            def text():
                return open(out.name, encoding="utf-8").read()
            ctx.eventually(lambda: "async event FD" in text(), "ibv_asyncwatch watches")
            equal(ctx.ctl("vnic", "set", "b", "down").returncode, 0, "vrdmactl's status")
            ctx.eventually(lambda: "IBV_EVENT_PORT_ERR (10), port 1" in text(), "port event")
            contains(ctx.succeeds(ctx.on("b", mode), "ibv_devinfo"), "PORT_DOWN (1)")
            equal(ctx.ctl("vnic", "set", "b", "up").returncode, 0, "vrdmactl's status")
            ctx.eventually(lambda: "IBV_EVENT_PORT_ACTIVE (9), port 1" in text(), "port event")
            contains(ctx.succeeds(ctx.on("b", mode), "ibv_devinfo"), "PORT_ACTIVE (4)")
        finally:
            watcher.kill()
            watcher.wait()
            print(text())


def visibility_cases(suite, mode):
    suite.add("ibv_devices", lambda ctx: one_device_is_listed(ctx, ctx.on("a", mode)))
    suite.add("ibv_devinfo", lambda ctx: devinfo_is_complete(ctx, ctx.on("a", mode)))
    suite.add("ibv_devinfo_of_the_other_vnic",
              lambda ctx: devinfo_is_complete(ctx, ctx.on("b", mode), "10.0.0.2"))
    suite.add("pingpong", functools.partial(pingpong_works, mode=mode), timeout=40)


# -- by LD_PRELOAD --------------------------------------------------------------------------------

preload = Suite("devices-preload", Service())
visibility_cases(preload, "preload")
preload.add("asyncwatch", functools.partial(asyncwatch_reports_the_port, mode="preload"),
            timeout=40)


# -- by mounts of the program's own ---------------------------------------------------------------

# /dev/infiniband must exist for it, so everything runs where /dev is not the machine's.
mount = Suite("devices-mount", Service(private_mounts=True), needs=needs_mounts)


def in_mounts(ctx):
    """Words that run a program in the service's mount namespace."""
    return ["nsenter", f"--mount=/proc/{ctx.service.process.pid}/ns/mnt", "--"]


def on_by_mount(ctx, vnic):
    return [*in_mounts(ctx), "sh", "-c", 'mkdir -p /dev/infiniband && exec "$@"', "sh",
            *ctx.on(vnic, "mount")]


mount.add("ibv_devices", lambda ctx: one_device_is_listed(ctx, on_by_mount(ctx, "a")))
mount.add("ibv_devinfo", lambda ctx: devinfo_is_complete(ctx, on_by_mount(ctx, "a")))


@mount.case(timeout=40)
def pingpong(ctx):
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 100, "-c",
                      wrap=lambda vnic: on_by_mount(ctx, vnic))


@mount.case()
def programs_see_their_own_vnic_only_in_sys(ctx):
    output = ctx.succeeds(on_by_mount(ctx, "b"), "cat",
                          "/sys/class/infiniband/vrdma0/ports/1/gids/3")
    equal(output.strip().split("[")[0].strip(), "0000:0000:0000:0000:0000:ffff:0a00:0002", "GID 3")


@mount.case()
def the_mounts_are_gone_with_the_program(ctx):
    ctx.succeeds(on_by_mount(ctx, "a"), "true")
    ended = ctx.run(in_mounts(ctx), "ls", "/sys/class/infiniband", "/dev/infiniband/uverbs0")
    check(ended.status != 0, "the device is still visible")


# -- machine-wide, in a mount namespace that plays the machine --------------------------------------

system = Suite("devices-system",
               Service(config=functools.partial(two_tenants, system_view="true"),
                       private_mounts=True), needs=needs_mounts)


def bare(ctx):
    """A program in the machine, with an empty environment."""
    return [*in_mounts(ctx), "env", "-i"]


@system.case()
def ready_line_says_so(ctx):
    contains(ctx.service.ready_line, "system_view=yes", "the ready line")


@system.case()
def ibv_devices_without_environment_lists_both(ctx):
    output = ctx.succeeds(bare(ctx), "/usr/bin/ibv_devices")
    equal(re.findall(r"^\s+(vrdma\d+)\s", output, re.MULTILINE), ["vrdma0", "vrdma1"], "devices")


@system.case()
def ibv_devinfo_without_environment(ctx):
    for device, address in (("vrdma0", "10.0.0.1"), ("vrdma1", "10.0.0.2")):
        output = ctx.succeeds(bare(ctx), "/usr/bin/ibv_devinfo", "-v", "-d", device)
        contains(output, "GID[  3]:\t\t::ffff:" + address)
        contains(output, "PORT_ACTIVE (4)")


@system.case(timeout=40)
def pingpong_without_environment(ctx):
    devices = {"a": "vrdma0", "b": "vrdma1"}

    def wrap(vnic):
        return [*bare(ctx), "/bin/sh", "-c", f'exec "$@" -d {devices[vnic]}', "sh"]

    ctx.pair_succeeds("/usr/bin/ibv_rc_pingpong", "-g", 3, "-n", 100, "-c", wrap=wrap)


@system.case()
def added_vnic_appears_and_deleted_one_goes(ctx):
    equal(ctx.ctl("vnic", "add", "c", "--network", "blue", "--address", "10.0.0.3").returncode, 0)
    contains(ctx.succeeds(bare(ctx), "/usr/bin/ibv_devices"), "vrdma2")
    equal(ctx.ctl("vnic", "del", "c").returncode, 0)
    output = ctx.succeeds(bare(ctx), "/usr/bin/ibv_devices")
    check("vrdma2" not in output, "vrdma2 is still listed")


# Stopped within the case, to see what remains where it ran.
ended = Suite("devices-system-end", needs=needs_mounts)


@ended.case()
def no_mount_and_no_node_is_left(ctx):
    with ctx.new_service(functools.partial(two_tenants, system_view="true"),
                         private_mounts=True) as service:
        inside = ["nsenter", f"--mount=/proc/{service.process.pid}/ns/mnt", "--"]
        # Holds the namespace when the service is gone.
        with subprocess.Popen([*inside, "cat"], stdin=subprocess.PIPE) as holder:
            ctx.eventually(lambda: comm(holder.pid) == "cat", "nsenter becomes cat")
            inside[1] = f"--mount=/proc/{holder.pid}/ns/mnt"
            contains(ctx.succeeds(inside, "ls", "/dev/infiniband"), "uverbs1")
            equal(service.stop(), 0, "vrdmad's exit status")
            mounts = ctx.succeeds(inside, "cat", "/proc/self/mountinfo")
            over = [line.split()[4] for line in mounts.splitlines()
                    if line.split()[4].startswith(("/sys/class", "/dev/infiniband"))]
            equal(over, [], "mounts left in the view's places")
            nodes = ctx.run(inside, "ls", "/dev/infiniband").output
            check("uverbs" not in nodes, "nodes are left: " + nodes)
            equal(service.left_behind(), [], "what is left behind")


def comm(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()


# -- as an ordinary user --------------------------------------------------------------------------

# The service and the programs belong to nobody; from an installation, because a checkout may be in a
# directory that nobody can enter.
user = Suite("devices-user", Service(user="nobody", installed=True), needs=needs_another_user)
visibility_cases(user, "auto")
user.add("asyncwatch", functools.partial(asyncwatch_reports_the_port, mode="auto"), timeout=40)


@user.case()
def service_says_what_it_does_without(ctx):
    contains(ctx.service.ready_line, "system_view=no", "the ready line")
    contains(ctx.service.ready_line, "no huge pages", "the ready line")


@user.case()
def mount_mode_is_refused_with_the_reason(ctx):
    ended_ = ctx.run(ctx.on("a", "mount"), "ibv_devices")
    equal(ended_.status, 2, "the exit status")
    contains(ended_.output, "CAP_SYS_ADMIN")
    contains(ended_.output, "--mode preload")
