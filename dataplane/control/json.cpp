// The control API's JSON.
//
// Field names are a promise to scripts: add, never rename. Numbers that the verbs define as an
// enumeration appear by their verbs name (RTS, RC, 4096 bytes), because a reader of JSON has no
// header at hand; a number that has no name is shown as it is rather than hidden. Keys of memory
// regions are secrets of a tenant: only their upper half leaves the service. Stateless.

#include "dataplane/control/json.h"

#include <array>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "dataplane/control/reason.h"

namespace vrdma::control {
namespace {

constexpr std::array<std::string_view, 7> kQpStates{"RESET", "INIT", "RTR", "RTS",
                                                    "SQD",   "SQE",  "ERR"};
constexpr std::array<std::string_view, 11> kQpTypes{"", "", "RC", "UC",       "UD",      "",
                                                    "", "", "",   "XRC_SEND", "XRC_RECV"};
constexpr std::array<std::string_view, 3> kMigrations{"MIGRATED", "REARM", "ARMED"};
constexpr std::array<std::string_view, 8> kAccess{"local_write",   "remote_write", "remote_read",
                                                  "remote_atomic", "mw_bind",      "zero_based",
                                                  "on_demand",     "hugetlb"};

constexpr std::array<std::string_view, 3> kDirections{"both", "send", "receive"};

std::string enumerator(std::uint32_t value, std::span<const std::string_view> names) {
    const bool named = value < names.size() && !names[value].empty();
    return named ? std::string(names[value]) : fmt::format("{}", value);
}

std::string time_text(std::chrono::nanoseconds time) {
    constexpr std::int64_t kMicrosecond = 1000;
    const std::int64_t count = time.count();
    return count % kMicrosecond == 0 ? fmt::format("{}us", count / kMicrosecond)
                                     : fmt::format("{}ns", count);
}

Json access_flags(std::uint32_t flags) {
    Json list = Json::array();
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
        if ((flags >> bit & 1U) != 0) {
            list.push_back(bit < kAccess.size() ? std::string(kAccess[bit])
                                                : fmt::format("bit{}", bit));
        }
    }
    return list;
}

/// enum ibv_mtu: 1 is 256 bytes, 5 is 4096.
std::uint32_t mtu_bytes(std::uint32_t code) {
    constexpr std::uint32_t kLargest = 5;
    return code >= 1 && code <= kLargest ? 128U << code : 0;
}

template <class T>
Json nullable(const std::optional<T>& value) {
    return value ? Json(*value) : Json(nullptr);
}

Json to_json(const WorkerInfo& worker) {
    return {
        {"id", worker.id},
        {"cpu", nullable(worker.cpu)},
        {"state", worker.state == WorkerState::kAsleep ? "asleep" : "spinning"},
        {"contexts", worker.contexts},
        {"qps", worker.qps},
        {"turns", worker.turns},
        {"operations", worker.operations},
        {"bytes", worker.bytes},
        {"sleeps", worker.sleeps},
        {"kicks", worker.kicks},
    };
}

Json to_json(const PoolInfo& pool) {
    return {{"name", pool.name}, {"in_use", pool.in_use}, {"size", pool.size}};
}

Json to_json(const VnicQuotas& quotas) {
    return {
        {"max_contexts", quotas.max_contexts}, {"max_pds", quotas.max_pds},
        {"max_mrs", quotas.max_mrs},           {"max_cqs", quotas.max_cqs},
        {"max_qps", quotas.max_qps},           {"max_srqs", quotas.max_srqs},
        {"max_mr_bytes", quotas.max_mr_bytes},
    };
}

Json to_json(const RingInfo& ring) {
    return {{"entries", ring.entries},
            {"producer", ring.producer},
            {"consumer", ring.consumer},
            {"in_flight", ring.producer - ring.consumer}};
}

Json to_json(const Counter& counter) {
    return {{"name", counter.name},
            {"value", counter.value},
            {"kind", counter.kind == CounterKind::kCounter ? "counter" : "gauge"},
            {"help", counter.help}};
}

template <class T>
Json list_of(const std::vector<T>& items) {
    Json list = Json::array();
    for (const T& item : items) {
        list.push_back(to_json(item));
    }
    return list;
}

std::string_view path_name(PathKind path) {
    switch (path) {
        case PathKind::kNone:
            return "none";
        case PathKind::kSameWorker:
            return "same_worker";
        case PathKind::kOtherWorker:
            return "other_worker";
        case PathKind::kVrdmaPeer:
            return "vrdma_peer";
        case PathKind::kStandardPeer:
            return "standard_peer";
    }
    return "";
}

Json address_of(const QpAttributes& a) {
    return {
        {"dest_gid", to_string(a.dest_gid)}, {"sgid_index", a.sgid_index},
        {"flow_label", a.flow_label},        {"hop_limit", a.hop_limit},
        {"traffic_class", a.traffic_class},  {"sl", a.sl},
    };
}

Json to_json(const QpAttributes& a) {
    return {
        {"qp_state", enumerator(a.state, kQpStates)},
        {"cur_qp_state", enumerator(a.current_state, kQpStates)},
        {"path_mtu", mtu_bytes(a.path_mtu)},
        {"path_mig_state", enumerator(a.path_mig_state, kMigrations)},
        {"qkey", a.qkey},
        {"rq_psn", a.rq_psn},
        {"sq_psn", a.sq_psn},
        {"dest_qp_num", a.dest_qpn},
        {"qp_access_flags", access_flags(a.access)},
        {"max_send_wr", a.max_send_wr},
        {"max_recv_wr", a.max_recv_wr},
        {"max_send_sge", a.max_send_sge},
        {"max_recv_sge", a.max_recv_sge},
        {"max_inline_data", a.max_inline},
        {"ah_attr", address_of(a)},
        {"port_num", a.port},
        {"pkey_index", a.pkey_index},
        {"max_rd_atomic", a.max_rd_atomic},
        {"max_dest_rd_atomic", a.max_dest_rd_atomic},
        {"min_rnr_timer", a.min_rnr_timer},
        {"timeout", a.timeout},
        {"retry_cnt", a.retry_count},
        {"rnr_retry", a.rnr_retry},
        {"sq_draining", a.sq_draining},
        {"sq_sig_all", a.signal_all},
    };
}

Json last_error_of(const QpInfo& qp) {
    if (qp.last_reason == 0) {
        return nullptr;
    }
    const ReasonText text = reason_text(qp.last_reason);
    return {{"reason", qp.last_reason},
            {"name", std::string(text.name)},
            {"meaning", std::string(text.meaning)},
            {"remedy", std::string(text.remedy)}};
}

constexpr std::array<std::string_view, 4> kGroupReports{"none", "unreported", "joining", "joined"};
constexpr std::array<std::string_view, 4> kPortStates{"absent", "waiting", "down", "up"};
constexpr std::array<std::string_view, 5> kNeighbourStates{"unknown", "resolving", "reachable",
                                                           "stale", "unreachable"};

Json to_json(const NeighbourInfo& neighbour) {
    return {{"address", to_string(neighbour.address)},
            {"mac", neighbour.mac == MacAddress{} ? Json(nullptr) : Json(to_string(neighbour.mac))},
            {"state", enumerator(static_cast<std::uint32_t>(neighbour.state), kNeighbourStates)},
            {"users", neighbour.users}};
}

Json socket_of(const VnicInfo& vnic) {
    const SocketAccess& access = vnic.config.access;
    return {{"path", vnic.socket_path},
            {"owner", nullable(access.owner)},
            {"group", nullable(access.group)},
            {"mode", fmt::format("{:04o}", access.mode)}};
}

}  // namespace

Json to_json(const ServiceStatus& status) {
    return {
        {"version", status.version},
        {"pid", status.pid},
        {"uptime_seconds", status.uptime.count()},
        {"eal_mode", status.eal_mode},
        {"mode", std::string(to_string(status.mode))},
        {"runtime_dir", status.runtime_dir},
        {"system_view", status.system_view},
        {"vnics", status.vnics},
        {"arena_bytes", status.arena_bytes},
        {"workers", list_of(status.workers)},
        {"pools", list_of(status.pools)},
    };
}

Json to_json(const VnicInfo& vnic) {
    Json gids = Json::array();
    for (const Gid& gid : vnic.gids) {
        gids.push_back(to_string(gid));
    }
    return {
        {"name", vnic.config.name},
        {"network", vnic.config.network},
        {"network_id", vnic.network_id},
        {"address", to_string(vnic.config.address)},
        {"mac", to_string(vnic.config.mac)},
        {"gids", std::move(gids)},
        {"state", vnic.state == LinkState::kUp ? "up" : "down"},
        {"active_mtu", vnic.active_mtu},
        {"system_device", vnic.system_device.empty() ? Json(nullptr) : Json(vnic.system_device)},
        {"socket", socket_of(vnic)},
        {"process_memory", vnic.config.process_memory},
        {"userfaultfd", vnic.config.userfaultfd},
        {"pids", vnic.pids},
        {"contexts", vnic.contexts},
        {"pds", vnic.pds},
        {"mrs", vnic.mrs},
        {"cqs", vnic.cqs},
        {"qps", vnic.qps},
        {"srqs", vnic.srqs},
        {"mr_bytes", vnic.mr_bytes},
        {"quotas", to_json(vnic.config.quotas)},
    };
}

Json to_json(const QpInfo& qp) {
    return {
        {"qpn", qp.qpn},
        {"type", enumerator(qp.attributes.type, kQpTypes)},
        {"state", enumerator(qp.attributes.state, kQpStates)},
        {"vnic", qp.vnic},
        {"pid", qp.pid},
        {"worker", qp.worker},
        {"path", std::string(path_name(qp.path))},
        {"path_reason", qp.path_reason},
        {"dest_qpn", qp.attributes.dest_qpn},
        {"dest_gid", to_string(qp.attributes.dest_gid)},
        {"pd", qp.pd},
        {"send_cq", qp.send_cq},
        {"recv_cq", qp.recv_cq},
        {"srq", nullable(qp.srq)},
        {"sq", to_json(qp.sq)},
        {"rq", to_json(qp.rq)},
        {"retries_left", qp.retries_left},
        {"rnr_retries_left", qp.rnr_retries_left},
        {"last_error", last_error_of(qp)},
        {"attributes", to_json(qp.attributes)},
        {"counters", list_of(qp.counters)},
    };
}

Json to_json(const MrInfo& mr) {
    constexpr unsigned kHalf = 16;
    return {
        {"vnic", mr.vnic},
        {"pid", mr.pid},
        {"lkey", fmt::format("0x{:04x}....", mr.lkey >> kHalf)},
        {"pd", mr.pd},
        {"iova", mr.iova},
        {"length", mr.length},
        {"access", access_flags(mr.access)},
        {"bytes",
         {{"shared", mr.shared_bytes},
          {"adopted", mr.adopted_bytes},
          {"process", mr.process_bytes}}},
        {"reason", mr.reason.empty() ? Json(nullptr) : Json(mr.reason)},
    };
}

Json to_json(const GroupInfo& group) {
    return {
        {"network", group.network},
        {"network_id", group.network_id},
        {"group", to_string(group.group)},
        {"vnic", group.vnic},
        {"qpns", group.qpns},
        {"port", enumerator(static_cast<std::uint32_t>(group.port), kGroupReports)},
    };
}

Json to_json(const PortFaults& faults) {
    constexpr double kAll = 1e9;
    return {
        {"drop", faults.drop / kAll},
        {"duplicate", faults.duplicate / kAll},
        {"corrupt", faults.corrupt / kAll},
        {"mark", faults.mark / kAll},
        {"reorder", faults.reorder},
        {"reorder_share", faults.reorder_share / kAll},
        {"delay", time_text(faults.delay)},
        {"jitter", time_text(faults.jitter)},
        {"seed", faults.seed},
        {"direction", enumerator(static_cast<std::uint32_t>(faults.direction), kDirections)},
    };
}

Json to_json(const CaptureInfo& capture) {
    return {
        {"id", capture.id},
        {"running", capture.running},
        {"snaplen", capture.snap_length},
        {"captured", capture.captured},
        {"missed", capture.missed},
        {"memory", capture.memory},
    };
}

Json to_json(const PortInfo& port) {
    const PortConfig& config = port.config;
    Json neighbours = Json::array();
    for (const NeighbourInfo& neighbour : port.neighbours) {
        neighbours.push_back(to_json(neighbour));
    }
    return {
        {"name", config.name},
        {"devargs", config.devargs},
        {"network", config.network},
        {"network_id", port.network_id},
        {"state", enumerator(static_cast<std::uint32_t>(port.state), kPortStates)},
        {"reason", port.reason.empty() ? Json(nullptr) : Json(port.reason)},
        {"driver", port.driver.empty() ? Json(nullptr) : Json(port.driver)},
        {"mac", to_string(port.mac)},
        {"mtu", port.mtu},
        {"prefix_length", config.prefix_length},
        {"gateway", config.gateway ? Json(to_string(*config.gateway)) : Json(nullptr)},
        {"peer", std::string(to_string(config.peer))},
        {"spray", std::string(to_string(config.spray))},
        {"queues", port.queues},
        {"wakes", port.wakes},
        {"attachments", port.attachments},
        {"link_losses", port.link_losses},
        {"buffers", port.buffers},
        {"free_buffers", port.free_buffers},
        {"faults", port.faults ? to_json(*port.faults) : Json(nullptr)},
        {"capture", port.capture ? to_json(*port.capture) : Json(nullptr)},
        {"neighbours", std::move(neighbours)},
        {"counters", list_of(port.counters)},
    };
}

Json to_json(const Counters& counters) {
    Json vnics = Json::array();
    for (const VnicCounters& vnic : counters.vnics) {
        vnics.push_back(
            {{"vnic", vnic.vnic}, {"network", vnic.network}, {"counters", list_of(vnic.counters)}});
    }
    return {{"service", list_of(counters.service)}, {"vnics", std::move(vnics)}};
}

Json to_json(const ConfigurationErrors& errors) {
    Json list = Json::array();
    for (const ConfigurationError& error : errors) {
        list.push_back({{"key", error.key},
                        {"found", error.found},
                        {"expected", error.expected},
                        {"remedy", error.remedy}});
    }
    return list;
}

std::string serialize(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vrdma::control
