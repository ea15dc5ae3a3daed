"""NCCL's own network transport "IB" over the device, without a GPU: tests/interop/nccl loads an
installed libnccl.so.2, finds the transport in it, and does with it what NCCL does.

nccl        two vNICs of one service
nccl_wire   two services and a wire between them, as vRDMA hosts

Each case exists for each release of libraries.py, fetched from the Python package index when the
build folder does not have it, and for what is installed. Where one is missing or cannot be used,
its cases skip and say why."""

import functools
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from harness import two_hosts
from harness.context import is_root
from harness.suite import Failed, Service, Skip, Suite, check, contains, equal
from interop.nccl import libraries

PROGRAM = two_hosts.BUILD / "tests/interop/nccl/vrdma-nccl-net"
UNUSABLE = 77  # exit status

KEEP = two_hosts.BUILD / "nccl"
paths = {}  # of a release, or the reason why there is none


def find_libraries():
    for version in (*libraries.RELEASES, "installed"):
        try:
            paths[version] = (libraries.installed() if version == "installed" else
                              libraries.release(KEEP, version))
        except libraries.Unavailable as reason:
            paths[version] = str(reason)


def needs_on_the_wire():
    two_hosts.needs()
    find_libraries()


suite = Suite("nccl", Service(), needs=find_libraries)
wire = two_hosts.make_suite("nccl_wire", "vrdma")
wire.needs = needs_on_the_wire


def library_of(version):
    if isinstance(paths[version], str):
        raise Skip(paths[version])
    return paths[version]


def set_up(version, settings):
    """The words of the program. Its NCCL says which settings it uses."""
    os.environ.update({"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "ENV,NET", **settings})
    return [PROGRAM, "--library", library_of(version)]


def skip_if_unusable(ended):
    for side in (ended.server, ended.client):
        if side.status == UNUSABLE:
            raise Skip(next(line for line in side.output.splitlines() if "UNUSABLE" in line))


def judge(ended, settings):
    """Both succeeded, and NCCL heard of the settings, also of what vrdma-run gives it."""
    skip_if_unusable(ended)
    for side in (ended.client, ended.server):
        equal(side.status, 0, "exit status")
        contains(side.output, "NCCL_IB_HCA set to vrdma")
        for name, value in settings.items():
            contains(side.output, f"{name} set by environment to {value}.")


def over_one_service(ctx, command):
    os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    return ctx.pair(*command, timeout=80)


# NCCL flushes where it believes that the device reaches the GPU's memory, which it does when it
# finds this module's version.
PEERMEM = ["unshare", "--mount", "sh", "-c",
           "mount -t tmpfs none /sys/module && mkdir /sys/module/nvidia_peermem && "
           ": > /sys/module/nvidia_peermem/version && exec \"$@\"", "sh"]


def as_if_with_peermem(ctx, command):
    if not is_root():
        raise Skip("needs root, to mount a file that NCCL looks for")
    os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    return ctx.pair(*command, timeout=80, wrap=lambda vnic: [PEERMEM, ctx.on(vnic)])


def over_the_wire(ctx, command):
    return two_hosts.run_pair(ctx, *command, timeout=80)


def add(where, name, run, **options):
    for version in (*libraries.RELEASES, "installed"):
        where.add(f"{name}_{version}", functools.partial(run, version=version, **options),
                  timeout=90)


# -- data ------------------------------------------------------------------------------------------


def data(ctx, version, options, pair=over_one_service, settings=None, flushes=0):
    settings = settings or {}
    ended = pair(ctx, [*set_up(version, settings), "--mode", "data", *options])
    judge(ended, settings)
    for side in (ended.client, ended.server):
        found = re.search(r"(\d+) messages, \d+ bytes, every byte right, (\d+) flushes",
                          side.output)
        check(found, "it does not say that every byte was right")
        equal(int(found[2]), flushes, "flushes by a READ of the device")
        contains(side.output, "memory host CUDA," if flushes else "memory host,")


# Around the sizes that NCCL treats in a way of their own: 64 (inline), 128 (a queue pair's share of
# divided data), 8192 (adaptive routing).
SMALL = ["-n", 90, "--sizes", "0,1,7,63,64,65,127,128,4095,8191,8192,8193,65537,1M,1000001"]
LARGE = ["-n", 3, "--sizes", "64M,16M,4M"]
GROUPS = ["-n", 96, "-g", 0, "--sizes", "0,1,100,4096,8193,100001,12345"]

FOUR = {"NCCL_IB_QPS_PER_CONNECTION": "4"}
SPLIT = {**FOUR, "NCCL_IB_SPLIT_DATA_ON_QPS": "1"}
INLINE = {"NCCL_IB_USE_INLINE": "1"}
ADAPTIVE = {"NCCL_IB_ADAPTIVE_ROUTING": "1"}

add(suite, "messages_up_to_1_MiB", data, options=SMALL)
# One receive in fifteen is of nothing, which NCCL does not flush.
add(suite, "flushes", data, options=[*SMALL, "--flush"], pair=as_if_with_peermem, flushes=84)
add(suite, "messages_up_to_64_MiB", data, options=LARGE)
add(suite, "receives_in_groups_of_1_to_8", data, options=GROUPS)
add(suite, "4_queue_pairs", data, options=SMALL, settings=FOUR)
add(suite, "data_divided_among_4_queue_pairs", data, options=SMALL, settings=SPLIT)
add(suite, "groups_divided_among_4_queue_pairs", data, options=GROUPS, settings=SPLIT)
add(suite, "inline_control_messages", data, options=SMALL, settings=INLINE)
add(suite, "adaptive_routing", data, options=SMALL, settings=ADAPTIVE)

# Of the newest release: what it does to survive the loss of a port, and its other ways to receive.
RESILIENT = {"NCCL_IB_RESILIENCY_PORT_FAILOVER": "1", "NCCL_IB_RESILIENCY_PORT_RECOVERY": "1"}
EARLY = {"NCCL_IB_PREPOST_RECEIVE_WORK_REQUESTS": "1",
         "NCCL_IB_RECEIVER_SIDE_MATCHING_SCHEME": "1"}
NEWEST = libraries.RELEASES[-1]
for word, chosen in (("resiliency", RESILIENT), ("receives_posted_beforehand", EARLY)):
    suite.add(f"{word}_{NEWEST}", functools.partial(data, version=NEWEST, options=GROUPS,
                                                    settings=chosen), timeout=90)

OVER_THE_WIRE = {"pair": over_the_wire}
add(wire, "messages_up_to_1_MiB", data, options=SMALL, **OVER_THE_WIRE)
add(wire, "messages_up_to_64_MiB", data, options=LARGE, **OVER_THE_WIRE)
add(wire, "groups_divided_among_4_queue_pairs", data, options=GROUPS, settings=SPLIT,
    **OVER_THE_WIRE)
add(wire, "adaptive_routing", data, options=SMALL, settings={**ADAPTIVE, **INLINE},
    **OVER_THE_WIRE)


def in_spite_of_loss(ctx, command):
    with two_hosts.losing(ctx, "drop=0.01", "seed=7"):
        ended = over_the_wire(ctx, command)
        skip_if_unusable(ended)
    return ended


add(wire, "messages_up_to_1_MiB_in_spite_of_loss", data, options=SMALL, pair=in_spite_of_loss)
add(wire, "groups_in_spite_of_loss", data, options=GROUPS, settings=SPLIT, pair=in_spite_of_loss)

# -- which library ---------------------------------------------------------------------------------


def skips_because(ctx, library, words):
    """What this library's cases would do: skip, and say why."""
    ended = ctx.pair(PROGRAM, "--library", library, timeout=20)
    print(ended.describe(), flush=True)
    equal(ended.server.status, UNUSABLE, "exit status")
    try:
        skip_if_unusable(ended)
    except Skip as reason:
        contains(str(reason), words)
        contains(str(reason), str(library))
    else:
        raise Failed("nothing was skipped")


@suite.case(timeout=60)
def stripped_library_is_skipped_with_the_reason(ctx):
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder, libraries.LIBRARY)
        subprocess.run(["strip", "-o", stripped, library_of(NEWEST)], check=True)
        skips_because(ctx, stripped, "no symbol ncclNetIb: it is stripped, without .symtab")


@suite.case()
def file_that_is_no_library_is_skipped_with_the_reason(ctx):
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder, libraries.LIBRARY)
        other.write_text("an installation that was interrupted", encoding="utf-8")
        skips_because(ctx, other, "not a 64-bit little-endian ELF file")


@suite.case()
def installed_library_is_looked_for_in_cuda_folders(_):
    with tempfile.TemporaryDirectory() as root:
        try:
            raise Failed(f"found {libraries.installed(root)} in an empty folder")
        except libraries.Unavailable as reason:
            contains(str(reason), "no NCCL is installed: there is no " + root + "/usr/local/cuda")
        for folder, version in (("usr/local/cuda-12.9/targets/x86_64-linux/lib", "2.27.7"),
                                ("usr/local/cuda-13.0/lib64", "2.28.10"),
                                ("usr/lib/x86_64-linux-gnu", "2.28.9")):
            place = pathlib.Path(root, folder)
            place.mkdir(parents=True)
            (place / f"libnccl.so.{version}").touch()
            (place / libraries.LIBRARY).symlink_to(f"libnccl.so.{version}")
            if version == "2.27.7":
                equal(libraries.installed(root), place / libraries.LIBRARY, "the only one")
        equal(libraries.installed(root),
              pathlib.Path(root, "usr/local/cuda-13.0/lib64", libraries.LIBRARY), "the newest")


# -- what fails ------------------------------------------------------------------------------------

# 67 ms a try, four tries.
PATIENCE = {"NCCL_IB_TIMEOUT": "14", "NCCL_IB_RETRY_CNT": "3"}
LATEST_MS = 3000


def until_error(version):
    return [*set_up(version, PATIENCE), "--mode", "until-error", "--sizes", "4096,65536"]


def break_it(ctx, pair, how, survivors):
    """They transfer, `how` breaks it, and the survivors are told by NCCL in time."""
    def transferring_or_over():
        return (pair.client is None or pair.client.poll() is not None or
                "transferring" in pair.client_output())

    ctx.eventually(transferring_or_over, "they transfer", 20)
    if pair.client is not None and pair.client.poll() is None:
        how()
    ended = pair.finish()
    print(ended.describe(), flush=True)
    skip_if_unusable(ended)
    for side in survivors(ended):
        equal(side.status, 0, "exit status of who survives")
        found = re.search(r"(\d+) ms after the last success: \w+ returned nccl(Remote|System)Error",
                          side.output)
        check(found, "NCCL reported no error")
        check(int(found[1]) < LATEST_MS, f"it took {found[1]} ms, expected {LATEST_MS} at most")
        contains(side.output, "closed\n")
    return ended


def both(ended):
    return (ended.client, ended.server)


def only_client(ended):
    return (ended.client,)


def killed_partner(ctx, version):
    os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    with ctx.start_pair(*until_error(version), timeout=60) as pair:
        break_it(ctx, pair, lambda: pair.server.send_signal(signal.SIGKILL), only_client)


def with_a_service_of_its_own(ctx, version, how):
    os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    command = until_error(version)
    with ctx.new_service() as victim:
        wrap = victim.run_prefix
        with ctx.start_pair(*command, timeout=60, wrap=wrap) as pair:
            return break_it(ctx, pair, lambda: how(victim), both)


def kill(service):
    service.process.send_signal(signal.SIGKILL)


def take_down(service):
    equal(service.ctl("vnic", "set", "b", "down").returncode, 0, "vrdmactl's status")


def delete(service):
    equal(service.ctl("vnic", "del", "--force", "b").returncode, 0, "vrdmactl's status")


add(suite, "killed_partner_is_an_error_in_time", killed_partner)
add(suite, "killed_service_is_an_error_in_time", with_a_service_of_its_own, how=kill)
add(suite, "vnic_that_goes_down_is_an_error_in_time", with_a_service_of_its_own, how=take_down)


def deleted_vnic(ctx, version):
    ended = with_a_service_of_its_own(ctx, version, delete)
    contains(ended.client.output, "or has deleted the vNIC")  # its own; the server's is still there


add(suite, "deleted_vnic_is_an_error_in_time", deleted_vnic)


def killed_far_partner(ctx, version):
    with two_hosts.running(ctx, *until_error(version), timeout=60) as pair:
        break_it(ctx, pair, lambda: pair.server.send_signal(signal.SIGKILL), only_client)


def killed_far_service(ctx, version):
    command = until_error(version)
    with ctx.new_service(two_hosts.config("b", "10.90.0.3", two_hosts.AF_PACKET, "vrdma"),
                         inside=ctx.surroundings.far.enter()) as victim:
        with two_hosts.running(ctx, *command, server=victim, timeout=60) as pair:
            break_it(ctx, pair, lambda: kill(victim), both)


OUTLIVES_MS = 500


def killed_far_partner_is_noticed_late(ctx, version):
    """Its device acknowledges for a while what arrives: that is no sign of life."""
    command = [*until_error(version), "--device-outlives-ms", OUTLIVES_MS]
    with two_hosts.running(ctx, *command, timeout=60) as pair:
        ended = break_it(ctx, pair, lambda: pair.server.send_signal(signal.SIGKILL), only_client)
    waited = int(re.search(r"(\d+) ms after the last success", ended.client.output)[1])
    check(waited > OUTLIVES_MS / 2, f"an error after {waited} ms: the device did not stay open")


add(wire, "killed_partner_is_an_error_in_time", killed_far_partner)
add(wire, "killed_partner_whose_device_outlives_it_is_an_error_in_time",
    killed_far_partner_is_noticed_late)
add(wire, "killed_service_is_an_error_in_time", killed_far_service)

# -- beside NCCL's other transport -----------------------------------------------------------------


def bench(ctx, version, pair):
    ended = pair(ctx, [*set_up(version, {}), "--mode", "bench", "--megabytes", 32, "--messages",
                       2000, "--sizes", "8,4K,64K,1M"])
    judge(ended, {})
    rows = re.findall(r"^ *(\d+)( +\d+(\.\d+)?){5}$", ended.client.output, re.MULTILINE)
    equal([int(row[0]) for row in rows], [8, 4096, 65536, 1048576], "sizes in the table")


def add_bench(where, pair):
    where.add(f"rates_beside_the_socket_transport_{NEWEST}",
              functools.partial(bench, version=NEWEST, pair=pair), timeout=90)


add_bench(suite, over_one_service)
add_bench(wire, over_the_wire)
wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
