"""The verbs calls of a storage service, DeepSeek's 3FS, by a program that makes the same ones and
checks every byte (tests/interop/storage_socket).

storage        two vNICs of one service
storage_wire   two services and a wire between them, as vRDMA hosts; also one that loses frames
storage_roce   the same as any two RoCE hosts"""

import functools
import re
import signal

from harness import two_hosts
from harness.suite import Service, Suite, check, contains, equal

PROGRAM = two_hosts.BUILD / "tests/interop/storage_socket/vrdma-storage-socket"
REQUESTS = 600
SOLICITED = ["--solicited"]

suite = Suite("storage", Service())
wire = two_hosts.make_suite("storage_wire", "vrdma")
roce = two_hosts.make_suite("storage_roce", "roce")


def numbers(output):
    """{"RDMA requests": 1234, ...} of the program's last line."""
    line = next((line for line in output.splitlines() if "every byte right" in line), "")
    check(line, "it does not say that every byte was right")
    return {name.strip(): int(value) for value, name in re.findall(r"(\d+) ([A-Za-z][A-Za-z ]*)", line)}


def judge(ended, requests, solicited):
    client, server = numbers(ended.client.output), numbers(ended.server.output)
    for one, other in ((client, server), (server, client)):
        equal(one["messages sent"], requests, "messages sent")
        equal(other["received"], requests, "messages received")
        check((one["inline"] > 0) == solicited, f"{one['inline']} messages were inline")
    check(server["RDMA requests"] > requests, f"only {server['RDMA requests']} RDMA requests")
    check(client["waits for credit"] > 0, "the client never ran out of credits")
    check(client["checks"] > 0, "no empty WRITE was completed")


def transfer(ctx, run, options=(), requests=REQUESTS):
    ended = run(ctx, PROGRAM, "-n", requests, *options)
    for side in (ended.server, ended.client):
        equal(side.status, 0, "exit status")
        events = set(re.findall(r"^event: (.*)$", side.output, re.MULTILINE))
        equal(events - {"communication established"}, set(), "other events")
    judge(ended, requests, "--solicited" in options)
    return ended


def on_one_host(ctx, *command):
    return ctx.pair(*command, timeout=50)


def on_two_hosts(ctx, *command):
    return two_hosts.run_pair(ctx, *command, timeout=50)


def with_loss(ctx, *command):
    with two_hosts.losing(ctx, "drop=0.01", "seed=7"):
        return two_hosts.run_pair(ctx, *command, timeout=50)


def dead_partner(ctx, start):
    """The client is told by a completion: of its own requests, or of what it asks when it is quiet."""
    before = moved(ctx)
    with start(ctx, PROGRAM, "-n", 10_000_000) as pair:
        ctx.eventually(lambda: moved(ctx) > before + (1 << 20), "data moves", 20)
        pair.server.send_signal(signal.SIGKILL)
        ended = pair.finish()
    print(ended.describe(), flush=True)
    equal(ended.client.status, 4, "exit status of the client")
    contains(ended.client.output, "(status ")


def moved(ctx):
    return sum(counter["value"] for vnic in ctx.service.ctl_json("counters", "--vnic", "a")["vnics"]
               for counter in vnic["counters"] if counter["name"].endswith("_bytes"))


def add(where, name, run, **options):
    where.add(name, functools.partial(transfer, run=run, **options), timeout=60)


def add_both_ways(where, run):
    add(where, "messages_and_rdma_lists", run)
    add(where, "inline_and_solicited", run, options=SOLICITED)


def add_dead_partner(where, start):
    where.add("dead_partner_is_an_error", functools.partial(dead_partner, start=start), timeout=60)


add_both_ways(suite, on_one_host)
add_both_ways(wire, on_two_hosts)
add_both_ways(roce, on_two_hosts)
add(wire, "messages_and_rdma_lists_in_spite_of_loss", with_loss)
add(wire, "inline_and_solicited_in_spite_of_loss", with_loss, options=SOLICITED)
add(roce, "messages_and_rdma_lists_in_spite_of_loss", with_loss, requests=200)
add_dead_partner(suite, lambda ctx, *command: ctx.start_pair(*command, timeout=30))
add_dead_partner(wire, lambda ctx, *command: two_hosts.running(ctx, *command, timeout=30))
wire.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
roce.add("other_service_ends_cleanly", two_hosts.other_service_is_alive_and_ends_cleanly)
