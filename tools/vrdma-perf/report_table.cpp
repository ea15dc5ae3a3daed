#include <fmt/format.h>

#include <algorithm>

#include "tools/verbs_util/queue_pair.h"
#include "tools/verbs_util/sizes.h"
#include "tools/vrdma-perf/copy_peer.h"
#include "tools/vrdma-perf/report.h"
#include "tools/vrdma-perf/version.h"

// The report for a person: one line per size, medians of the comparable samples, how many of the
// samples those were and whether their CPUs were near. Anything that makes the numbers less than
// they seem (a disturbed sample, lost messages, an unreliable clock) is said below the table.

namespace vrdma::perf {

namespace {

using verbs_util::format_size;

constexpr double kDisturbedShare = 0.9;

std::string header_text(const Report& report) {
    const Options& options = report.options;
    std::string text = fmt::format(
        "vrdma-perf {}  {} over {}, {} {} -> {}, {} of {} QPs active, memory {}{}{}\n", kVersion,
        operation_name(options.operation), verbs_util::transport_name(options.transport),
        mode_name(options.mode), report.device, report.peer_device, options.active, options.qps,
        verbs_util::memory_kind_name(options.memory), options.events ? ", events" : "",
        options.max_inline != 0 ? fmt::format(", inline up to {}", options.max_inline) : "");
    text += fmt::format("{}, {} CPUs, kernel {}{}, load {:.2f}, probe CPUs {},{}\n",
                        report.host.cpu_model, report.host.cpus, report.host.kernel,
                        report.host.virtual_machine ? " (virtual machine)" : "",
                        report.host.load_average, report.probe_cpus.a, report.probe_cpus.b);
    if (options.latency) {
        text += fmt::format("latency: one at a time, post to {} completion\n",
                            options.until_received ? "receive" : "send");
    }
    if (options.rate) {
        text += fmt::format("rate: window {} per QP, lists of {}, every {} signaled\n",
                            options.window, options.post_list, options.signal_every);
    }
    return text;
}

std::string column_heads(const Options& options) {
    std::string line = fmt::format("{:>8}", "bytes");
    if (options.latency) {
        line += fmt::format(" {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}", "p50 us", "p99 us",
                            "p99.9 us", "max us", "mean us", "best p50", "samples");
    }
    if (options.rate) {
        line += fmt::format(" {:>9} {:>8} {:>8} {:>9} {:>10}", "Mop/s", "GB/s", "Gb/s", "best GB/s",
                            "samples");
    }
    if (options.verify) {
        line += fmt::format(" {:>9}", "verified");
    }
    if (options.peers) {
        line += fmt::format(" {:>9} {:>7} {:>9} {:>7} {:>7}", "tcp spin", "ratio", "tcp block",
                            "ratio", "of copy");
    }
    return line + "\n";
}

std::string samples_text(Distance distance, std::size_t used, std::size_t taken) {
    return fmt::format("{}/{} {}", used, taken,
                       distance == Distance::kUnknown ? "?" : distance_name(distance));
}

std::string latency_columns(const Point& point) {
    const LatencySummary summary = summarize_latency(point.latency);
    const LatencyStats& median = summary.median;
    return fmt::format(" {:>9.3f} {:>9.3f} {:>9.3f} {:>9.1f} {:>9.3f} {:>9.3f} {:>10}",
                       median.p50_ns / 1e3, median.p99_ns / 1e3, median.p999_ns / 1e3,
                       median.max_ns / 1e3, median.mean_ns / 1e3, summary.best_p50_ns / 1e3,
                       samples_text(summary.distance, summary.used, summary.taken));
}

std::string rate_columns(const Point& point) {
    const RateSummary summary = summarize_rate(point.rate);
    const auto size = static_cast<double>(point.size);
    return fmt::format(" {:>9.3f} {:>8.3f} {:>8.2f} {:>9.3f} {:>10}", summary.median_rate / 1e6,
                       summary.median_rate * size / 1e9, summary.median_rate * size * 8 / 1e9,
                       summary.best_rate * size / 1e9,
                       samples_text(summary.distance, summary.used, summary.taken));
}

/// "-" where there is nothing to divide.
std::string ratio_text(double numerator, double denominator, const char* unit) {
    return denominator > 0.0 && numerator > 0.0
               ? fmt::format("{:.2f}{}", numerator / denominator, unit)
               : std::string("-");
}

std::string peer_columns(const Point& point, double copy_limit) {
    const double spinning = summarize_latency(point.tcp_spinning).median.p50_ns;
    const double blocking = summarize_latency(point.tcp_blocking).median.p50_ns;
    const double ours = summarize_latency(point.latency).median.p50_ns;
    const double bandwidth =
        summarize_rate(point.rate).median_rate * static_cast<double>(point.size);
    return fmt::format(" {:>9.2f} {:>7} {:>9.2f} {:>7} {:>7}", spinning / 1e3,
                       ratio_text(spinning, ours, "x"), blocking / 1e3,
                       ratio_text(blocking, ours, "x"), ratio_text(bandwidth, copy_limit, ""));
}

std::string warnings_text(const Report& report) {
    std::string text;
    std::size_t disturbed = 0;
    std::size_t taken = 0;
    std::uint64_t lost = 0;
    for (const Point& point : report.points) {
        lost += point.lost;
        for (const auto* samples : {&point.latency, &point.rate}) {
            for (const Sample& sample : *samples) {
                ++taken;
                disturbed += sample.cpu_share < kDisturbedShare ? 1 : 0;
            }
        }
    }
    if (disturbed != 0 && !report.options.events) {
        text += fmt::format(
            "note: in {} of {} samples the measuring thread had less than {:.0f} % of "
            "a CPU; leave it one of its own (--cpu)\n",
            disturbed, taken, kDisturbedShare * 100);
    }
    if (lost != 0) {
        text += fmt::format("note: {} messages were lost, as {} allows\n", lost,
                            verbs_util::transport_name(report.options.transport));
    }
    if (!report.tsc_invariant) {
        text +=
            "note: the time stamp counter of this CPU is not invariant; times are not reliable\n";
    }
    return text;
}

}  // namespace

std::string report_table(const Report& report) {
    std::string text = header_text(report);
    text += column_heads(report.options);
    const double copy_limit =
        summarize_rate(report.copy).median_rate * static_cast<double>(CopyPeer::kBlock);
    for (const Point& point : report.points) {
        text += fmt::format("{:>8}", format_size(point.size));
        if (report.options.latency) {
            text += latency_columns(point);
        }
        if (report.options.rate) {
            text += rate_columns(point);
        }
        if (report.options.verify) {
            text += fmt::format(" {:>9}", point.verified);
        }
        if (report.options.peers) {
            text += peer_columns(point, copy_limit);
        }
        text += "\n";
    }
    if (report.options.peers) {
        text += fmt::format(
            "peers: TCP loopback GET of the same size, p50 us, spinning and blocking; memory copy "
            "DRAM to DRAM, non-temporal, 1M blocks: {:.2f} GB/s\n",
            copy_limit / 1e9);
    }
    if (report.options.verify) {
        text += fmt::format("verified: data right at both ends, seed {:#x}\n", report.seed);
    }
    return text + warnings_text(report);
}

}  // namespace vrdma::perf
