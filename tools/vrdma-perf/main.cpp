#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <variant>

#include "tools/verbs_util/cpu.h"
#include "tools/vrdma-perf/benchmark.h"
#include "tools/vrdma-perf/control.h"
#include "tools/vrdma-perf/server.h"

// Entry point: decides which processes there are. A pair forks before any device is opened, because
// verbs objects do not survive a fork, and the child dies with its parent.

namespace {

using vrdma::perf::Mode;
using vrdma::perf::Options;
using vrdma::verbs_util::DeviceOptions;
using vrdma::verbs_util::Error;
using vrdma::verbs_util::Result;
using vrdma::verbs_util::Stream;

constexpr int kConnectMs = 10'000;

int report_error(const Error& error, bool json) {
    fmt::print(stderr, "vrdma-perf: {}\n", error.message());
    if (json) {
        fmt::print("{}\n", nlohmann::json{{"error", vrdma::perf::to_json(error)}}.dump(2));
    }
    return error.exit_code();
}

DeviceOptions far_device(const Options& options) {
    DeviceOptions device;
    const bool own_peer = options.mode == Mode::kPair && !options.peer_device.empty();
    device.name = own_peer ? options.peer_device : options.device;
    device.gid_index = options.gid_index;
    return device;
}

/// The child of a pair.
int run_far_end(const Options& options, Stream stream) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options.cpus.size() > 1) {
        if (const auto pinned = vrdma::verbs_util::pin_this_thread(options.cpus[1]); !pinned) {
            return report_error(pinned.error(), false);
        }
    }
    const auto served = vrdma::perf::serve_client(std::move(stream), far_device(options));
    return served ? 0 : served.error().exit_code();  // the client has been told and reports it
}

/// The connection to the far end; in pair mode `child` is its process.
Result<Stream> find_partner(const Options& options, pid_t& child, bool& in_child) {
    if (options.mode == Mode::kClient) {
        return Stream::connect(options.host + ":" + std::to_string(options.port), kConnectMs);
    }
    if (options.mode != Mode::kPair) {
        return Stream();
    }
    auto ends = Stream::pair();
    if (!ends) {
        return tl::make_unexpected(ends.error());
    }
    child = fork();
    if (child < 0) {
        return vrdma::verbs_util::fail_errno(vrdma::verbs_util::ErrorKind::kSetup, "fork", errno);
    }
    in_child = child == 0;
    return std::move(in_child ? ends->second : ends->first);
}

int run_near_end(const Options& options, Stream partner) {
    const auto report = vrdma::perf::run_benchmark(options, std::move(partner));
    if (!report) {
        return report_error(report.error(), options.json);
    }
    if (options.json) {
        fmt::print("{}\n", vrdma::perf::report_json(*report).dump(2));
    } else {
        fmt::print("{}", vrdma::perf::report_table(*report));
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto parsed = vrdma::perf::parse_options(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) {
        return *code;
    }
    const auto& options = std::get<Options>(parsed);
    if (options.mode == Mode::kServer) {
        if (!options.cpus.empty()) {
            if (const auto pinned = vrdma::verbs_util::pin_this_thread(options.cpus[0]); !pinned) {
                return report_error(pinned.error(), false);
            }
        }
        const auto served = vrdma::perf::run_server(options.port, far_device(options));
        return served ? 0 : report_error(served.error(), false);
    }
    pid_t child = 0;
    bool in_child = false;
    auto partner = find_partner(options, child, in_child);
    if (!partner) {
        return report_error(partner.error(), options.json);
    }
    if (in_child) {
        return run_far_end(options, std::move(*partner));
    }
    const int code = run_near_end(options, std::move(*partner));
    if (child > 0) {
        (void)waitpid(child, nullptr, 0);
    }
    return code;
}
