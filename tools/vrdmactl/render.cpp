// Tables for lists: the service, vNICs, memory regions, counters.
//
// Each list has the columns that answer the first question of an operator, the rest is one "show"
// away. A list that the service cut says so under the table, because a shortened list that looks
// complete is worse than none.

#include "tools/vrdmactl/render.h"

#include <fmt/format.h>

#include "tools/vrdmactl/answer.h"
#include "tools/vrdmactl/table.h"
#include "tools/vrdmactl/units.h"

namespace vrdma::vrdmactl {
namespace {

constexpr Table::Align kRight = Table::Align::kRight;

std::string size_text(const Json& object, std::string_view key) {
    return member(object, key).is_number() ? bytes_text(number_of(object, key)) : "-";
}

std::string used_of(const Json& object, std::string_view used, const Json& limits,
                    std::string_view limit) {
    return text_of(object, used) + " of " + text_of(limits, limit);
}

/// What to say under a list that does not have everything.
std::string cut_note(const Json& answer, std::string_view key) {
    const std::uint64_t shown = member(answer, key).size();
    const std::uint64_t total = number_of(answer, "total");
    return total > shown
               ? fmt::format("{} of {} shown; see more with --limit or --vnic\n", shown, total)
               : std::string();
}

std::string workers_text(const Json& workers) {
    Table table({{"WORKER"},
                 {"CPU"},
                 {"STATE"},
                 {"CONTEXTS", kRight},
                 {"QPS", kRight},
                 {"OPERATIONS", kRight},
                 {"COPIED", kRight},
                 {"TURNS", kRight},
                 {"SLEEPS", kRight},
                 {"KICKS", kRight}});
    for (const Json& worker : workers) {
        const bool pinned = member(worker, "cpu").is_number();
        table.add({text_of(worker, "id"), pinned ? text_of(worker, "cpu") : "any",
                   text_of(worker, "state"), text_of(worker, "contexts"), text_of(worker, "qps"),
                   text_of(worker, "operations"), size_text(worker, "bytes"),
                   text_of(worker, "turns"), text_of(worker, "sleeps"), text_of(worker, "kicks")});
    }
    return table.text();
}

std::string pools_text(const Json& pools) {
    Table table({{"POOL"}, {"IN USE", kRight}, {"SIZE", kRight}});
    for (const Json& pool : pools) {
        table.add({text_of(pool, "name"), text_of(pool, "in_use"), text_of(pool, "size")});
    }
    return table.text();
}

std::string counters_text(const Json& counters, bool all) {
    Table table({{"COUNTER"}, {"VALUE", kRight}, {"MEANING"}});
    std::size_t zero = 0;
    for (const Json& counter : counters) {
        if (!all && number_of(counter, "value") == 0) {
            ++zero;
            continue;
        }
        table.add({text_of(counter, "name"), text_of(counter, "value"), text_of(counter, "help")});
    }
    std::string note;
    if (zero != 0) {
        note = fmt::format("{} {} zero; show them with --all\n", zero,
                           table.empty() ? "counters, all" : "more are");
    }
    return (table.empty() ? std::string() : table.text()) + note;
}

}  // namespace

std::string render_status(const Json& status) {
    Fields fields;
    fields.add("Version", text_of(status, "version"));
    fields.add("Process", text_of(status, "pid"));
    fields.add("Running for", duration_text(number_of(status, "uptime_seconds")));
    fields.add("Runtime directory", text_of(status, "runtime_dir"));
    fields.add("Mode", text_of(status, "mode"));
    fields.add("DPDK", text_of(status, "eal_mode"));
    fields.add("System view", text_of(status, "system_view"));
    fields.add("vNICs", text_of(status, "vnics"));
    fields.add("Arena", size_text(status, "arena_bytes"));
    return "vrdmad\n" + fields.text() + "\n" + workers_text(member(status, "workers")) + "\n" +
           pools_text(member(status, "pools"));
}

std::string render_vnics(const Json& answer) {
    Table table({{"NAME"},
                 {"NETWORK"},
                 {"ADDRESS"},
                 {"STATE"},
                 {"DEVICE"},
                 {"PROCESSES", kRight},
                 {"QPS", kRight},
                 {"CQS", kRight},
                 {"MRS", kRight},
                 {"REGISTERED", kRight}});
    for (const Json& vnic : member(answer, "vnics")) {
        table.add({text_of(vnic, "name"), text_of(vnic, "network"), text_of(vnic, "address"),
                   text_of(vnic, "state"), text_of(vnic, "system_device"),
                   std::to_string(member(vnic, "pids").size()), text_of(vnic, "qps"),
                   text_of(vnic, "cqs"), text_of(vnic, "mrs"), size_text(vnic, "mr_bytes")});
    }
    return table.text();
}

std::string render_vnic(const Json& vnic) {
    const Json& socket = member(vnic, "socket");
    const Json& quotas = member(vnic, "quotas");
    Fields fields;
    fields.add("State", text_of(vnic, "state"));
    fields.add("Network",
               fmt::format("{} (id {})", text_of(vnic, "network"), text_of(vnic, "network_id")));
    fields.add("Address", text_of(vnic, "address"));
    fields.add("MAC", text_of(vnic, "mac"));
    fields.add("Active MTU", text_of(vnic, "active_mtu"));
    std::size_t index = 0;
    for (const Json& gid : member(vnic, "gids")) {
        fields.add(fmt::format("GID {}", index++),
                   gid.is_string() ? gid_text(gid.get<std::string>()) : "-");
    }
    fields.add("Device of the system", text_of(vnic, "system_device"));
    fields.add("Socket", text_of(socket, "path"));
    const auto id_text = [&](std::string_view key) {
        return member(socket, key).is_number() ? text_of(socket, key) : "the service's";
    };
    fields.add("Socket access", fmt::format("mode {}, owner {}, group {}", text_of(socket, "mode"),
                                            id_text("owner"), id_text("group")));
    fields.add("Process memory", member(vnic, "process_memory") == false ? "refused" : "permitted");
    fields.add("userfaultfd",
               member(vnic, "userfaultfd") == true ? "handed over" : "not handed over");
    fields.add("Processes", join(member(vnic, "pids"), ", "));
    fields.add("Contexts", used_of(vnic, "contexts", quotas, "max_contexts"));
    fields.add("Protection domains", used_of(vnic, "pds", quotas, "max_pds"));
    fields.add("Queue pairs", used_of(vnic, "qps", quotas, "max_qps"));
    fields.add("Completion queues", used_of(vnic, "cqs", quotas, "max_cqs"));
    fields.add("Shared receive queues", used_of(vnic, "srqs", quotas, "max_srqs"));
    fields.add("Memory regions", used_of(vnic, "mrs", quotas, "max_mrs"));
    fields.add("Registered memory",
               size_text(vnic, "mr_bytes") + " of " + size_text(quotas, "max_mr_bytes"));
    return "vNIC " + printable(text_of(vnic, "name")) + "\n" + fields.text();
}

std::string render_ports(const Json& answer) {
    Table table({{"NAME"},
                 {"NETWORK"},
                 {"STATE"},
                 {"DRIVER"},
                 {"MAC"},
                 {"MTU", kRight},
                 {"NEIGHBOURS", kRight},
                 {"REASON"}});
    for (const Json& port : member(answer, "ports")) {
        table.add({text_of(port, "name"), text_of(port, "network"), text_of(port, "state"),
                   text_of(port, "driver"), text_of(port, "mac"), text_of(port, "mtu"),
                   std::to_string(member(port, "neighbours").size()), text_of(port, "reason")});
    }
    return table.text();
}

std::string faults_text(const Json& faults) {
    if (!faults.is_object()) {
        return "off";
    }
    std::string text;
    const bool reorders = number_of(faults, "reorder") != 0;
    for (const auto& [key, value] : faults.items()) {
        const bool nothing = value == 0 || value == "0us";
        if ((!nothing || key == "seed") && (key != "reorder_share" || reorders)) {
            text += (text.empty() ? "" : " ") + key + "=" + text_of(faults, key);
        }
    }
    return text;
}

std::string capture_text(const Json& capture) {
    if (!capture.is_object()) {
        return "off";
    }
    return fmt::format("{}, {} packets, {} missed", text_of(capture, "id"),
                       text_of(capture, "captured"), text_of(capture, "missed"));
}

std::string render_port(const Json& port, bool all) {
    Fields fields;
    fields.add("State", text_of(port, "state"));
    fields.add("Reason", text_of(port, "reason"));
    fields.add("Network",
               fmt::format("{} (id {})", text_of(port, "network"), text_of(port, "network_id")));
    fields.add("Device", text_of(port, "devargs"));
    fields.add("Driver", text_of(port, "driver"));
    fields.add("MAC", text_of(port, "mac"));
    fields.add("MTU", text_of(port, "mtu"));
    fields.add("Prefix length", text_of(port, "prefix_length"));
    fields.add("Gateway", text_of(port, "gateway"));
    fields.add("Peers", text_of(port, "peer"));
    fields.add("Spray", text_of(port, "spray"));
    fields.add("Queues", text_of(port, "queues"));
    fields.add("Wakes workers", text_of(port, "wakes"));
    fields.add("Attached", text_of(port, "attachments") + " times");
    fields.add("Lost", text_of(port, "link_losses") + " times");
    fields.add("Buffers", used_of(port, "free_buffers", port, "buffers") + " free");
    fields.add("Faults", faults_text(member(port, "faults")));
    fields.add("Capture", capture_text(member(port, "capture")));
    Table neighbours({{"NEIGHBOUR"}, {"MAC"}, {"STATE"}, {"USERS", kRight}});
    for (const Json& neighbour : member(port, "neighbours")) {
        const std::string gid = gid_text(text_of(neighbour, "address"));
        neighbours.add({gid.substr(0, gid.find(' ')), text_of(neighbour, "mac"),
                        text_of(neighbour, "state"), text_of(neighbour, "users")});
    }
    return "Port " + printable(text_of(port, "name")) + "\n" + fields.text() +
           (neighbours.empty() ? "" : "\n" + neighbours.text()) + "\n" +
           counters_text(member(port, "counters"), all);
}

std::string render_mrs(const Json& answer) {
    Table table({{"VNIC"},
                 {"PROCESS", kRight},
                 {"KEY"},
                 {"PD", kRight},
                 {"ADDRESS", kRight},
                 {"LENGTH", kRight},
                 {"SHARED", kRight},
                 {"ADOPTED", kRight},
                 {"BY PROCESS", kRight},
                 {"ACCESS"},
                 {"REASON"}});
    for (const Json& mr : member(answer, "mrs")) {
        const Json& bytes = member(mr, "bytes");
        table.add({text_of(mr, "vnic"), text_of(mr, "pid"), text_of(mr, "lkey"), text_of(mr, "pd"),
                   fmt::format("0x{:x}", number_of(mr, "iova")), size_text(mr, "length"),
                   size_text(bytes, "shared"), size_text(bytes, "adopted"),
                   size_text(bytes, "process"), join(member(mr, "access"), ","),
                   text_of(mr, "reason")});
    }
    return table.text() + cut_note(answer, "mrs");
}

std::string render_groups(const Json& answer) {
    Table table({{"NETWORK"}, {"GROUP"}, {"VNIC"}, {"PORT"}, {"QPNS"}});
    for (const Json& group : member(answer, "groups")) {
        std::string qpns;
        for (const Json& qpn : member(group, "qpns")) {
            if (qpn.is_number_unsigned()) {
                qpns +=
                    fmt::format("{}0x{:06x}", qpns.empty() ? "" : ", ", qpn.get<std::uint64_t>());
            }
        }
        const std::string gid = gid_text(text_of(group, "group"));
        table.add({text_of(group, "network"), gid.substr(0, gid.find(' ')), text_of(group, "vnic"),
                   text_of(group, "port"), qpns});
    }
    return table.text() + cut_note(answer, "groups");
}

std::string render_qps(const Json& answer) {
    Table table({{"QPN"},
                 {"TYPE"},
                 {"STATE"},
                 {"VNIC"},
                 {"PROCESS", kRight},
                 {"WORKER", kRight},
                 {"PATH"},
                 {"PEER QPN"},
                 {"PEER"},
                 {"SENDS", kRight},
                 {"RECEIVES", kRight},
                 {"LAST ERROR"}});
    for (const Json& qp : member(answer, "qps")) {
        const bool connected = text_of(qp, "path") != "none";
        const std::string gid = gid_text(text_of(qp, "dest_gid"));
        table.add({fmt::format("0x{:06x}", number_of(qp, "qpn")), text_of(qp, "type"),
                   text_of(qp, "state"), text_of(qp, "vnic"), text_of(qp, "pid"),
                   text_of(qp, "worker"), text_of(qp, "path"),
                   connected ? fmt::format("0x{:06x}", number_of(qp, "dest_qpn")) : "-",
                   connected ? gid.substr(0, gid.find(' ')) : "-",
                   text_of(member(qp, "sq"), "in_flight"), text_of(member(qp, "rq"), "in_flight"),
                   text_of(member(qp, "last_error"), "name")});
    }
    return table.text() + cut_note(answer, "qps");
}

std::string render_counters(const Json& answer, bool all) {
    std::string text;
    const Json& service = member(answer, "service");
    if (!service.empty()) {
        text += "Service\n" + counters_text(service, all);
    }
    for (const Json& vnic : member(answer, "vnics")) {
        text += fmt::format("{}vNIC {} in network {}\n", text.empty() ? "" : "\n",
                            printable(text_of(vnic, "vnic")), printable(text_of(vnic, "network")));
        text += counters_text(member(vnic, "counters"), all);
    }
    return text;
}

std::string render_problem(const Json& problem) {
    std::string text = printable(text_of(problem, "error"));
    const std::string expected = text_of(problem, "expected");
    if (!expected.empty() && expected != "-") {
        text += ", expected " + printable(expected);
    }
    const std::string remedy = text_of(problem, "remedy");
    if (!remedy.empty() && remedy != "-") {
        text += "; " + printable(remedy);
    }
    const Json& details = member(problem, "details");
    for (std::size_t i = 1; details.is_array() && i < details.size(); ++i) {
        text += fmt::format(
            "\nalso: {} is {}, expected {}; {}", printable(text_of(details[i], "key")),
            printable(text_of(details[i], "found")), printable(text_of(details[i], "expected")),
            printable(text_of(details[i], "remedy")));
    }
    return text + "\n";
}

}  // namespace vrdma::vrdmactl
