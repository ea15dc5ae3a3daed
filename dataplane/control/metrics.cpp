// What Prometheus scrapes.
//
// Our counters live in the dataplane and are copied out when somebody asks, so prometheus-cpp's
// registry, which wants to own and increment them, is not used; its MetricFamily and TextSerializer
// are: the format's escaping and number rules are theirs to get right. Only the core library is
// linked, without its HTTP server.
//
// Label values are names of vNICs, ports and networks, numbers of workers, names of pools: a
// bounded set. Nothing a tenant chooses (a QPN, a pid) becomes a label.

#include "dataplane/control/metrics.h"

#include <string_view>
#include <unordered_map>
#include <utility>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace vrdma::control {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;

/// The families in the order of their first sample.
class Families {
  public:
    void counter(std::string name, std::string_view help, Labels labels, std::uint64_t value) {
        prometheus::ClientMetric sample;
        sample.counter.value = static_cast<double>(value);
        add(std::move(name) + "_total", help, prometheus::MetricType::Counter, std::move(labels),
            std::move(sample));
    }

    void gauge(std::string name, std::string_view help, Labels labels, double value) {
        prometheus::ClientMetric sample;
        sample.gauge.value = value;
        add(std::move(name), help, prometheus::MetricType::Gauge, std::move(labels),
            std::move(sample));
    }

    void sample(const std::string& prefix, const Counter& from, const Labels& labels) {
        if (from.kind == CounterKind::kCounter) {
            counter(prefix + from.name, from.help, labels, from.value);
        } else {
            gauge(prefix + from.name, from.help, labels, static_cast<double>(from.value));
        }
    }

    [[nodiscard]] std::string text() const {
        return prometheus::TextSerializer().Serialize(families_);
    }

  private:
    void add(std::string name, std::string_view help, prometheus::MetricType type, Labels labels,
             prometheus::ClientMetric sample) {
        const auto [it, is_new] = index_.try_emplace(name, families_.size());
        if (is_new) {
            families_.push_back({std::move(name), std::string(help), type, {}});
        }
        sample.label = std::move(labels);
        families_[it->second].metric.push_back(std::move(sample));
    }

    std::vector<prometheus::MetricFamily> families_;
    std::unordered_map<std::string, std::size_t> index_;  ///< of families_, by name
};

void add_status(Families& out, const ServiceStatus& status) {
    out.gauge("vrdma_info", "Always 1; the labels say what runs.",
              {{"version", status.version}, {"mode", std::string(to_string(status.mode))}}, 1);
    out.gauge("vrdma_uptime_seconds", "Since the service started.", {},
              static_cast<double>(status.uptime.count()));
    out.gauge("vrdma_arena_bytes", "Memory of the arena that survives a restart.", {},
              static_cast<double>(status.arena_bytes));
    for (const PoolInfo& pool : status.pools) {
        const Labels labels{{"pool", pool.name}};
        out.gauge("vrdma_pool_in_use", "Objects taken from a pool.", labels,
                  static_cast<double>(pool.in_use));
        out.gauge("vrdma_pool_size", "Objects a pool has.", labels, static_cast<double>(pool.size));
    }
}

void add_worker(Families& out, const WorkerInfo& worker) {
    const Labels labels{{"worker", std::to_string(worker.id)}};
    out.gauge("vrdma_worker_asleep", "1 while the worker sleeps.", labels,
              worker.state == WorkerState::kAsleep ? 1 : 0);
    out.gauge("vrdma_worker_contexts", "Contexts the worker serves.", labels,
              static_cast<double>(worker.contexts));
    out.gauge("vrdma_worker_qps", "Queue pairs the worker serves.", labels,
              static_cast<double>(worker.qps));
    out.counter("vrdma_worker_turns", "Passes over the active contexts.", labels, worker.turns);
    out.counter("vrdma_worker_operations", "Work requests executed.", labels, worker.operations);
    out.counter("vrdma_worker_bytes", "Payload copied.", labels, worker.bytes);
    out.counter("vrdma_worker_sleeps", "Times the worker went to sleep.", labels, worker.sleeps);
    out.counter("vrdma_worker_kicks", "Times a program woke the worker.", labels, worker.kicks);
}

void add_vnic(Families& out, const VnicInfo& vnic) {
    const Labels labels{{"vnic", vnic.config.name}, {"network", vnic.config.network}};
    out.gauge("vrdma_vnic_up", "1 while the vNIC's port is up.", labels,
              vnic.state == LinkState::kUp ? 1 : 0);
    out.gauge("vrdma_vnic_processes", "Processes attached.", labels,
              static_cast<double>(vnic.pids.size()));
    const VnicQuotas& quotas = vnic.config.quotas;
    const std::pair<const char*, std::pair<std::uint64_t, std::uint64_t>> objects[] = {
        {"contexts", {vnic.contexts, quotas.max_contexts}},
        {"pds", {vnic.pds, quotas.max_pds}},
        {"mrs", {vnic.mrs, quotas.max_mrs}},
        {"cqs", {vnic.cqs, quotas.max_cqs}},
        {"qps", {vnic.qps, quotas.max_qps}},
        {"srqs", {vnic.srqs, quotas.max_srqs}},
        {"mr_bytes", {vnic.mr_bytes, quotas.max_mr_bytes}},
    };
    for (const auto& [object, numbers] : objects) {
        Labels of_object = labels;
        of_object.push_back({"object", object});
        out.gauge("vrdma_vnic_in_use", "What the vNIC's programs have created.", of_object,
                  static_cast<double>(numbers.first));
        out.gauge("vrdma_vnic_quota", "The most they may create.", of_object,
                  static_cast<double>(numbers.second));
    }
}

void add_port(Families& out, const PortInfo& port) {
    const Labels labels{{"port", port.config.name}, {"network", port.config.network}};
    out.gauge("vrdma_port_up", "1 while the port's link is up.", labels,
              port.state == PortState::kUp ? 1 : 0);
    out.gauge("vrdma_port_mtu_bytes", "Longest IP packet of the port.", labels, port.mtu);
    out.gauge("vrdma_port_free_buffers", "Packet buffers nobody holds.", labels,
              static_cast<double>(port.free_buffers));
    out.gauge("vrdma_port_neighbours", "Neighbours the port knows or looks for.", labels,
              static_cast<double>(port.neighbours.size()));
    out.counter("vrdma_port_attachments", "Times the port's device came.", labels,
                port.attachments);
    out.counter("vrdma_port_link_losses", "Times its link went down or the device vanished.",
                labels, port.link_losses);
    for (const Counter& counter : port.counters) {
        out.sample("vrdma_port_", counter, labels);
    }
}

}  // namespace

std::string prometheus_text(const ServiceStatus& status, const std::vector<VnicInfo>& vnics,
                            const std::vector<PortInfo>& ports, const Counters& counters) {
    Families out;
    add_status(out, status);
    for (const WorkerInfo& worker : status.workers) {
        add_worker(out, worker);
    }
    for (const VnicInfo& vnic : vnics) {
        add_vnic(out, vnic);
    }
    for (const PortInfo& port : ports) {
        add_port(out, port);
    }
    for (const Counter& counter : counters.service) {
        out.sample("vrdma_", counter, {});
    }
    for (const VnicCounters& vnic : counters.vnics) {
        for (const Counter& counter : vnic.counters) {
            out.sample("vrdma_vnic_", counter, {{"vnic", vnic.vnic}, {"network", vnic.network}});
        }
    }
    return out.text();
}

}  // namespace vrdma::control
