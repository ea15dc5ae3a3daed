#include "tools/vrdma-perf/copy_peer.h"
#include "tools/vrdma-perf/report.h"
#include "tools/vrdma-perf/version.h"

// The report as one JSON object for scripts: summaries first, then every sample with the distance
// probes around it, so that a reader may select differently. Units are in the names.

namespace vrdma::perf {

namespace {

using nlohmann::json;

json stats_json(const LatencyStats& stats) {
    return {{"p50_ns", stats.p50_ns}, {"p99_ns", stats.p99_ns}, {"p99.9_ns", stats.p999_ns},
            {"max_ns", stats.max_ns}, {"min_ns", stats.min_ns}, {"mean_ns", stats.mean_ns}};
}

json sample_json(const Sample& sample, bool latency) {
    json entry = {{"distance", distance_name(sample.distance())},
                  {"round_trip_before_ns", sample.before.round_trip_ns},
                  {"round_trip_after_ns", sample.after.round_trip_ns},
                  {"cpu_share", sample.cpu_share},
                  {"operations", sample.operations},
                  {"seconds", sample.seconds},
                  {"operations_per_second", sample.rate()}};
    if (latency) {
        entry["latency"] = stats_json(sample.latency);
    }
    return entry;
}

json samples_json(const std::vector<Sample>& samples, bool latency) {
    json list = json::array();
    for (const Sample& sample : samples) {
        list.push_back(sample_json(sample, latency));
    }
    return list;
}

json latency_json(const std::vector<Sample>& samples) {
    const LatencySummary summary = summarize_latency(samples);
    return {{"median_of_samples", stats_json(summary.median)},
            {"best_p50_ns", summary.best_p50_ns},
            {"distance", distance_name(summary.distance)},
            {"samples_used", summary.used},
            {"samples_taken", summary.taken},
            {"samples", samples_json(samples, true)}};
}

json rate_json(const std::vector<Sample>& samples, std::uint64_t bytes) {
    const RateSummary summary = summarize_rate(samples);
    const auto size = static_cast<double>(bytes);
    return {{"operations_per_second", summary.median_rate},
            {"gigabytes_per_second", summary.median_rate * size / 1e9},
            {"gigabits_per_second", summary.median_rate * size * 8 / 1e9},
            {"best_operations_per_second", summary.best_rate},
            {"best_gigabytes_per_second", summary.best_rate * size / 1e9},
            {"distance", distance_name(summary.distance)},
            {"samples_used", summary.used},
            {"samples_taken", summary.taken},
            {"samples", samples_json(samples, false)}};
}

json ratios_json(const Point& point, const std::vector<Sample>& copy) {
    json ratios = json::object();
    const double ours = summarize_latency(point.latency).median.p50_ns;
    if (ours > 0.0 && !point.tcp_spinning.empty()) {
        ratios["tcp_spinning_p50_over_ours"] =
            summarize_latency(point.tcp_spinning).median.p50_ns / ours;
        ratios["tcp_blocking_p50_over_ours"] =
            summarize_latency(point.tcp_blocking).median.p50_ns / ours;
    }
    const double limit = summarize_rate(copy).median_rate * static_cast<double>(CopyPeer::kBlock);
    if (limit > 0.0 && !point.rate.empty()) {
        ratios["bandwidth_share_of_copy_limit"] =
            summarize_rate(point.rate).median_rate * static_cast<double>(point.size) / limit;
    }
    return ratios;
}

json point_json(const Point& point, const Report& report) {
    json entry = {{"size_bytes", point.size}};
    if (!point.latency.empty()) {
        entry["latency"] = latency_json(point.latency);
        entry["latency"]["working_set_bytes"] = point.latency_working_set;
    }
    if (!point.rate.empty()) {
        entry["rate"] = rate_json(point.rate, point.size);
        entry["rate"]["working_set_bytes"] = point.rate_working_set;
        entry["rate"]["messages_lost"] = point.lost;
    }
    if (report.options.verify) {
        entry["verified_operations"] = point.verified;
    }
    if (report.options.peers) {
        entry["peers"] = {{"tcp_get_spinning", latency_json(point.tcp_spinning)},
                          {"tcp_get_blocking", latency_json(point.tcp_blocking)},
                          {"ratios", ratios_json(point, report.copy)}};
    }
    return entry;
}

json options_json(const Options& options) {
    return {{"mode", mode_name(options.mode)},
            {"operation", operation_name(options.operation)},
            {"transport", transport_option_name(options.transport)},
            {"qps", options.qps},
            {"active", options.active},
            {"window", options.window},
            {"post_list", options.post_list},
            {"signal_every", options.signal_every},
            {"inline_bytes", options.max_inline},
            {"memory", verbs_util::memory_kind_name(options.memory)},
            {"mr_bytes", options.mr_bytes},
            {"events", options.events},
            {"latency_until", options.until_received ? "receive completion" : "send completion"},
            {"iterations", options.iterations},
            {"seconds", options.iterations == 0 ? options.seconds : 0.0},
            {"samples", options.samples},
            {"cpus", options.cpus}};
}

}  // namespace

json report_json(const Report& report) {
    json points = json::array();
    for (const Point& point : report.points) {
        points.push_back(point_json(point, report));
    }
    json document = {{"program", "vrdma-perf"},
                     {"version", kVersion},
                     {"command_line", report.options.command_line},
                     {"host",
                      {{"name", report.host.host_name},
                       {"cpu", report.host.cpu_model},
                       {"cpus", report.host.cpus},
                       {"kernel", report.host.kernel},
                       {"virtual_machine", report.host.virtual_machine},
                       {"last_level_cache_bytes", report.host.cache_bytes},
                       {"load_average", report.host.load_average},
                       {"tsc_ghz", report.tsc_ghz},
                       {"tsc_invariant", report.tsc_invariant},
                       {"probe_cpus", {report.probe_cpus.a, report.probe_cpus.b}},
                       {"near_limit_ns", kNearLimitNs}}},
                     {"device",
                      {{"name", report.device},
                       {"peer", report.peer_device},
                       {"firmware", report.firmware},
                       {"mtu_bytes", report.mtu_bytes}}},
                     {"options", options_json(report.options)},
                     {"points", std::move(points)}};
    if (report.options.verify) {
        document["verify_seed"] = report.seed;
    }
    if (!report.copy.empty()) {
        document["copy_limit"] = rate_json(report.copy, CopyPeer::kBlock);
    }
    return document;
}

}  // namespace vrdma::perf
