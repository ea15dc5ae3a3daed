// One queue pair, for whoever is called because it does not move.
//
// The order is that of the questions: is it in the right state, to whom does it talk, is anything
// in flight, did it fail and why, what was it configured with, what did it count. Codes are shown
// with their meaning; numbers that a peer must match (QPN, PSN) in hexadecimal, as other tools do.

#include <fmt/format.h>

#include "tools/vrdmactl/answer.h"
#include "tools/vrdmactl/render.h"
#include "tools/vrdmactl/table.h"
#include "tools/vrdmactl/units.h"

namespace vrdma::vrdmactl {
namespace {

std::string path_text(const std::string& path) {
    if (path == "none") {
        return "not connected";
    }
    if (path == "same_worker") {
        return "on this host, same worker";
    }
    if (path == "other_worker") {
        return "on this host, another worker";
    }
    if (path == "vrdma_peer") {
        return "on another host, which speaks vRDMA";
    }
    return path == "standard_peer" ? "on another host, standard RoCEv2" : path;
}

std::string ring_text(const Json& ring) {
    if (number_of(ring, "entries") == 0) {
        return "none";
    }
    return fmt::format("{} of {} entries in flight (producer {}, consumer {})",
                       text_of(ring, "in_flight"), text_of(ring, "entries"),
                       text_of(ring, "producer"), text_of(ring, "consumer"));
}

std::string psn_text(const Json& attributes, std::string_view key) {
    return fmt::format("0x{:06x}", number_of(attributes, key));
}

std::string situation(const Json& qp) {
    Fields fields;
    fields.add("vNIC", text_of(qp, "vnic"));
    fields.add("Process", text_of(qp, "pid"));
    fields.add("Worker", text_of(qp, "worker"));
    const std::string reason = text_of(qp, "path_reason");
    fields.add("Path", path_text(text_of(qp, "path")) +
                           (reason.empty() || reason == "-" ? "" : ": " + printable(reason)));
    if (text_of(qp, "path") != "none") {
        fields.add("Peer", fmt::format("QP 0x{:06x} at {}", number_of(qp, "dest_qpn"),
                                       gid_text(text_of(qp, "dest_gid"))));
    }
    fields.add("Send queue", ring_text(member(qp, "sq")));
    const bool shared = member(qp, "srq").is_number();
    fields.add("Receive queue",
               shared ? "shared, SRQ " + text_of(qp, "srq") : ring_text(member(qp, "rq")));
    fields.add("Send CQ", text_of(qp, "send_cq"));
    fields.add("Receive CQ", text_of(qp, "recv_cq"));
    fields.add("Protection domain", text_of(qp, "pd"));
    return fields.text();
}

std::string trouble(const Json& qp) {
    const Json& attributes = member(qp, "attributes");
    Fields fields;
    fields.add("Retries left", fmt::format("{} of {}", text_of(qp, "retries_left"),
                                           text_of(attributes, "retry_cnt")));
    fields.add("RNR retries left", fmt::format("{} of {}", text_of(qp, "rnr_retries_left"),
                                               rnr_retry_text(number_of(attributes, "rnr_retry"))));
    const Json& error = member(qp, "last_error");
    if (error.is_object()) {
        fields.add("Last error", fmt::format("{} (vendor_err {})", text_of(error, "name"),
                                             text_of(error, "reason")));
        fields.add("Meaning", text_of(error, "meaning"));
        fields.add("What to do", text_of(error, "remedy"));
    } else {
        fields.add("Last error", "none");
    }
    return fields.text();
}

std::string configuration(const Json& attributes) {
    const Json& address = member(attributes, "ah_attr");
    Fields fields;
    fields.add("Current state", text_of(attributes, "cur_qp_state"));
    fields.add("Path MTU", text_of(attributes, "path_mtu"));
    fields.add("Send PSN", psn_text(attributes, "sq_psn"));
    fields.add("Receive PSN", psn_text(attributes, "rq_psn"));
    fields.add("Q_Key", fmt::format("0x{:08x}", number_of(attributes, "qkey")));
    fields.add("Remote access", join(member(attributes, "qp_access_flags"), ", "));
    fields.add("READs and atomics",
               fmt::format("{} as requester, {} as responder", text_of(attributes, "max_rd_atomic"),
                           text_of(attributes, "max_dest_rd_atomic")));
    fields.add("ACK timeout", ack_timeout_text(number_of(attributes, "timeout")));
    fields.add("RNR timer", rnr_timer_text(number_of(attributes, "min_rnr_timer")));
    fields.add(
        "Send requests",
        fmt::format("{} of {} SGEs, inline {} bytes", text_of(attributes, "max_send_wr"),
                    text_of(attributes, "max_send_sge"), text_of(attributes, "max_inline_data")));
    fields.add("Receive requests", fmt::format("{} of {} SGEs", text_of(attributes, "max_recv_wr"),
                                               text_of(attributes, "max_recv_sge")));
    fields.add("Signals all sends", text_of(attributes, "sq_sig_all"));
    fields.add("Draining", text_of(attributes, "sq_draining"));
    fields.add("Path migration", text_of(attributes, "path_mig_state"));
    fields.add("Port", text_of(attributes, "port_num"));
    fields.add("P_Key index", text_of(attributes, "pkey_index"));
    fields.add("Source GID index", text_of(address, "sgid_index"));
    fields.add("Flow label", text_of(address, "flow_label"));
    fields.add("Hop limit", text_of(address, "hop_limit"));
    fields.add("Traffic class", text_of(address, "traffic_class"));
    fields.add("Service level", text_of(address, "sl"));
    return fields.text();
}

std::string counters(const Json& list) {
    Fields fields;
    for (const Json& counter : list) {
        fields.add(printable(text_of(counter, "name")),
                   text_of(counter, "value") + "  " + text_of(counter, "help"));
    }
    return fields.text();
}

}  // namespace

std::string render_qp(const Json& qp) {
    const std::uint64_t qpn = number_of(qp, "qpn");
    std::string text = fmt::format("Queue pair 0x{:06x} ({}), {}, {}\n", qpn, qpn,
                                   printable(text_of(qp, "type")), printable(text_of(qp, "state")));
    text += situation(qp);
    text += "\nTrouble\n" + trouble(qp);
    text += "\nAttributes\n" + configuration(member(qp, "attributes"));
    text += "\nCounters\n" + counters(member(qp, "counters"));
    return text;
}

}  // namespace vrdma::vrdmactl
