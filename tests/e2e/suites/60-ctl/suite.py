"""vrdmactl and the control API beside a running transfer: what people and scripts get to see."""

import ipaddress
import json
import socket

from harness.suite import Service, Suite, check, contains, equal

suite = Suite("ctl", Service())


def transfer(ctx):
    """ib_write_bw between a and b until the end of the `with`."""
    return ctx.start_pair("ib_write_bw", "-F", "-D", 30, "-s", 65536, timeout=60)


def busy_queue_pair(ctx):
    """The sending queue pair, once it has sent something."""
    def find():
        for entry in ctx.service.ctl_json("qp", "list", "--vnic", "b")["qps"]:
            if entry["state"] == "RTS" and entry["sq"]["producer"] > 0:
                return entry
        return None
    return ctx.eventually(find, "a queue pair of b that has sent something")


@suite.case()
def status(ctx):
    contains(ctx.ctl("status").stdout, str(ctx.service.runtime_dir))
    answer = ctx.service.ctl_json("status")
    equal(answer["vnics"], 2, "vnics")
    equal(answer["runtime_dir"], str(ctx.service.runtime_dir), "runtime_dir")
    equal(answer["pid"], ctx.service.process.pid, "pid")
    equal(len(answer["workers"]), 1, "workers")


@suite.case()
def idle_lists_are_empty(ctx):
    for what in ("qp", "mr"):
        answer = ctx.service.ctl_json(what, "list")
        equal(answer, {what + "s": [], "total": 0}, what + " list")
        equal(ctx.ctl(what, "list").returncode, 0, "the exit status")


@suite.case()
def vnic_list_and_show(ctx):
    equal([vnic["name"] for vnic in ctx.service.ctl_json("vnic", "list")["vnics"]], ["a", "b"])
    human = ctx.ctl("vnic", "list").stdout
    for part in ("10.0.0.1", "10.0.0.2", "blue"):
        contains(human, part)
    one = ctx.service.ctl_json("vnic", "show", "b")
    equal((one["address"], one["network_id"], one["state"]), ("10.0.0.2", 10, "up"), "vNIC b")


@suite.case(timeout=60)
def vnic_add_use_and_del(ctx):
    done = ctx.ctl("vnic", "add", "c", "--network", "blue", "--address", "10.0.0.3",
                   "--max-qps", "4")
    equal(done.returncode, 0, "the exit status")
    equal(ctx.service.ctl_json("vnic", "show", "c")["quotas"]["max_qps"], 4, "max_qps")
    ctx.pair_succeeds("ibv_rc_pingpong", "-g", 3, "-n", 20, server="a", client="c")
    ended = ctx.pair("ib_write_bw", "-F", "-q", 8, "-n", 10, server="a", client="c", timeout=20)
    check(ended.client.status not in (0, None), "eight queue pairs fit into a quota of four")
    equal(ctx.ctl("vnic", "del", "c").returncode, 0, "the exit status")
    equal([vnic["name"] for vnic in ctx.service.ctl_json("vnic", "list")["vnics"]], ["a", "b"])
    check(not (ctx.service.runtime_dir / "vnic" / "c").exists(), "vnic/c is still there")


@suite.case()
def vnic_add_refuses_what_makes_no_sense(ctx):
    for words, part in ((("a", "--network", "blue", "--address", "10.0.0.7"), "a"),
                        (("n", "--network", "red", "--address", "10.0.0.7"), "blue"),
                        (("n", "--network", "blue", "--address", "10.0.0.1"), "10.0.0.1"),
                        (("n", "--network", "blue", "--address", "localhost"), "localhost")):
        done = ctx.ctl("vnic", "add", *words)
        equal(done.returncode, 1, "the exit status")
        contains(done.stderr, part, "the message")
    equal(len(ctx.service.ctl_json("vnic", "list")["vnics"]), 2, "vNICs")


@suite.case()
def unknown_vnic_and_qp(ctx):
    for words in (("vnic", "show", "nic"), ("vnic", "del", "nic"), ("qp", "show", "1")):
        equal(ctx.ctl(*words).returncode, 1, "the exit status")
    done = ctx.ctl("--json", "vnic", "show", "nic")
    contains(json.loads(done.stdout)["error"], "nic", "the error")
    equal(ctx.ctl("vnic", "shwo").returncode, 2, "the exit status of a wrong command")


@suite.case(timeout=70)
def qp_list_and_show_of_a_transfer(ctx):
    with transfer(ctx):
        entry = busy_queue_pair(ctx)
        equal((entry["type"], entry["vnic"], entry["path"]), ("RC", "b", "same_worker"), "qp")
        contains(ctx.ctl("qp", "list").stdout, "RTS")
        shown = ctx.service.ctl_json("qp", "show", str(entry["qpn"]))
        equal(str(ipaddress.ip_address(shown["dest_gid"]).ipv4_mapped), "10.0.0.1", "the peer")
        contains(ctx.ctl("qp", "show", hex(entry["qpn"])).stdout, "RTS")
        first = shown["sq"]["producer"]
        ctx.eventually(lambda: ctx.service.ctl_json("qp", "show", str(entry["qpn"]))
                       ["sq"]["producer"] != first, "the send queue moves")


@suite.case(timeout=70)
def mr_list_of_a_transfer(ctx):
    with transfer(ctx):
        busy_queue_pair(ctx)
        regions = ctx.service.ctl_json("mr", "list")["mrs"]
        equal(sorted(region["vnic"] for region in regions), ["a", "b"], "the owners")
        for region in regions:
            equal(sum(region["bytes"].values()), region["length"], "the sum of the kinds")
        contains(ctx.ctl("mr", "list").stdout, "ADOPTED")


@suite.case(timeout=70)
def counters_of_a_transfer(ctx):
    def written():
        answer = ctx.service.ctl_json("counters", "--vnic", "b")
        return {counter["name"]: counter["value"]
                for counter in answer["vnics"][0]["counters"]}["write_bytes"]
    with transfer(ctx):
        busy_queue_pair(ctx)
        first = written()
        ctx.eventually(lambda: written() > first, "write_bytes grows")
        contains(ctx.ctl("counters").stdout, "write_operations")
        contains(ctx.ctl("counters", "--all").stdout, "cq_overflows")
        equal(ctx.service.ctl_json("vnic", "show", "b")["contexts"], 1, "contexts of b")


@suite.case(timeout=70)
def deleting_a_vnic_in_use_needs_force(ctx):
    equal(ctx.ctl("vnic", "add", "d", "--network", "blue", "--address", "10.0.0.4").returncode, 0)
    with ctx.start_pair("ib_write_bw", "-F", "-D", 30, server="a", client="d", timeout=20) as pair:
        ctx.eventually(lambda: ctx.service.ctl_json("qp", "list", "--vnic", "d")["total"], "a QP")
        refused = ctx.ctl("vnic", "del", "d")
        equal(refused.returncode, 1, "the exit status")
        contains(refused.stderr, "force")
        equal(ctx.ctl("vnic", "del", "d", "--force").returncode, 0, "the exit status")
        ended = pair.finish()
    print(ended.describe())
    check(ended.client.status not in (0, None), "the client noticed nothing")


@suite.case()
def everything_is_gone_when_the_programs_are(ctx):
    def in_use():
        return sum(vnic[name] for vnic in ctx.service.ctl_json("vnic", "list")["vnics"]
                   for name in ("contexts", "pds", "mrs", "cqs", "qps", "srqs", "mr_bytes"))
    ctx.eventually(lambda: in_use() == 0, "no vNIC holds an object")


@suite.case()
def metrics(ctx):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(ctx.service.runtime_dir / "control.sock"))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: vrdmad\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := connection.recv(65536):
            text += piece
    contains(text.decode(), "vrdma_vnic_up")
