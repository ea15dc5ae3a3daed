#include "tools/vrdma-perf/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/sizes.h"
#include "tools/vrdma-perf/version.h"

// Turns the command line into Options. CLI11 reads the syntax; everything that depends on more than
// one option is a rule in validate(), so that the rules can be tested without a command line and
// hold for options that a client sends to a server as well.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr char kFooter[] =
    "Exit codes: 0 done, 1 usage, 2 no device, 3 set-up failed, 4 a transfer failed, 5 data wrong, "
    "6 other side gone.\n"
    "Examples:\n"
    "  vrdma-perf --loopback --sizes 8,4K,64K,1M --peers --cpu 0,1\n"
    "  vrdma-perf --loopback --qps 16384 --active 1 --sizes 8\n"
    "  vrdma-perf --pair --operation send --verify --all\n"
    "  vrdma-perf --server            and  vrdma-perf --client HOST --operation read";

/// What CLI11 fills in before it becomes Options.
struct Raw {
    bool loopback = false;
    bool server = false;
    bool pair = false;
    std::string client;
    std::string operation = "write";
    std::string transport = "rc";
    std::string sizes;
    bool all_sizes = false;
    std::string measure = "both";
    std::string max_inline;
    std::string mr_bytes;
    std::string memory = "malloc";
    std::string cpus;
    std::optional<std::uint32_t> active;
    std::optional<double> seconds;
};

void add_options(CLI::App& app, Raw& raw, Options& options) {
    auto* mode = app.add_option_group("Mode (exactly one)");
    mode->add_flag("--loopback", raw.loopback, "both ends in this process and thread");
    mode->add_flag("--pair", raw.pair, "start the far end as a second process");
    mode->add_flag("--server", raw.server, "be the far end for clients until killed");
    mode->add_option("--client", raw.client, "measure towards the server on HOST")
        ->type_name("HOST");
    mode->require_option(1);

    app.add_option("--device", options.device, "device to use (default: the first)");
    app.add_option("--peer-device", options.peer_device,
                   "device of the far end, with --loopback and --pair (default: the same)");
    app.add_flag("--separate-contexts", options.separate_contexts,
                 "with --loopback: open the device twice");
    app.add_option("--gid-index", options.gid_index, "GID to use (default: RoCE v2 over IPv4)");
    app.add_option("--port", options.port, "TCP port of the server")->capture_default_str();

    app.add_option("-o,--operation", raw.operation,
                   "write, write-imm, read, send, fetch-add or cmp-swap")
        ->capture_default_str();
    app.add_option("-t,--transport", raw.transport, "rc, uc or ud")->capture_default_str();
    app.add_option("-s,--sizes", raw.sizes,
                   "message sizes, such as 8,4K,64K,1M (default: 8,4K,64K,1M)");
    app.add_flag("--all", raw.all_sizes, "every power of two from 1 to 8M")->excludes("--sizes");
    app.add_option("-n,--iterations", options.iterations, "operations per sample");
    app.add_option("-d,--duration", raw.seconds, "seconds per sample (default: 0.2)")
        ->excludes("--iterations");
    app.add_option("--samples", options.samples, "samples of each measurement")
        ->capture_default_str();
    app.add_option("--measure", raw.measure, "latency, rate or both")->capture_default_str();

    app.add_option("-q,--qps", options.qps, "queue pairs to create and connect")
        ->capture_default_str();
    app.add_option("--active", raw.active, "how many of them carry traffic (default: all)");
    app.add_option("-w,--window", options.window, "rate: outstanding operations per QP")
        ->capture_default_str();
    app.add_option("--post-list", options.post_list, "rate: work requests per ibv_post_send")
        ->capture_default_str();
    app.add_option("--signal-every", options.signal_every, "rate: one completion for so many")
        ->capture_default_str();
    app.add_option("--inline", raw.max_inline, "send messages up to so many bytes inline");
    app.add_option("--mr-bytes", raw.mr_bytes,
                   "memory that the transfers cycle through on each side (default: hot in cache)");
    app.add_option("--memory", raw.memory, "malloc, mmap, memfd or hugetlb")->capture_default_str();
    app.add_flag("--events", options.events, "sleep on a completion channel, do not poll");
    app.add_flag("--until-received", options.until_received,
                 "with --loopback: latency up to the receive completion");
    app.add_flag("--verify", options.verify, "check the data of transfers at the far end first");
    app.add_flag("--peers", options.peers, "also measure TCP loopback and memory copy here");
    app.add_option("--cpu", raw.cpus, "A[,B]: CPU of this end and of the far end");
    app.add_flag("--json", options.json, "print one JSON object and no table");
}

Result<void> translate_mode(const Raw& raw, Options& options) {
    if (!raw.client.empty()) {
        options.mode = Mode::kClient;
        options.host = raw.client;
    } else if (raw.server) {
        options.mode = Mode::kServer;
    } else {
        options.mode = raw.pair ? Mode::kPair : Mode::kLoopback;
    }
    if (raw.measure != "latency" && raw.measure != "rate" && raw.measure != "both") {
        return fail(ErrorKind::kUsage, fmt::format("--measure {}", raw.measure),
                    "write latency, rate or both");
    }
    options.latency = raw.measure != "rate";
    options.rate = raw.measure != "latency";
    options.active = raw.active.value_or(options.qps);
    options.seconds = raw.seconds.value_or(options.seconds);
    return {};
}

Result<void> translate_names(const Raw& raw, Options& options) {
    const auto operation = operation_from(raw.operation);
    const auto transport = transport_from(raw.transport);
    const auto memory = verbs_util::memory_kind_from(raw.memory);
    if (!operation) {
        return fail(ErrorKind::kUsage, fmt::format("--operation {}", raw.operation),
                    "write write, write-imm, read, send, fetch-add or cmp-swap");
    }
    if (!transport) {
        return fail(ErrorKind::kUsage, fmt::format("--transport {}", raw.transport),
                    "write rc, uc or ud");
    }
    if (!memory) {
        return fail(ErrorKind::kUsage, fmt::format("--memory {}", raw.memory),
                    "write malloc, mmap, memfd or hugetlb");
    }
    options.operation = *operation;
    options.transport = *transport;
    options.memory = *memory;
    return {};
}

void default_sizes(bool all, Options& options) {
    constexpr std::uint64_t kLargest = std::uint64_t{8} << 20;
    const std::uint64_t limit = options.transport == IBV_QPT_UD ? kMaxUdMessage : kLargest;
    if (is_atomic(options.operation)) {
        options.sizes = {8};
    } else if (all) {
        for (std::uint64_t size = 1; size <= limit; size *= 2) {
            options.sizes.push_back(size);
        }
    } else {
        for (const std::uint64_t size : {8U, 4U << 10, 64U << 10, 1U << 20}) {
            if (size <= limit) {
                options.sizes.push_back(size);
            }
        }
    }
}

Result<void> translate_numbers(const Raw& raw, Options& options) {
    if (raw.sizes.empty()) {
        default_sizes(raw.all_sizes, options);
    } else {
        auto sizes = verbs_util::parse_sizes(raw.sizes);
        if (!sizes) {
            return tl::make_unexpected(sizes.error());
        }
        options.sizes = *sizes;
    }
    if (!raw.mr_bytes.empty()) {
        const auto bytes = verbs_util::parse_size(raw.mr_bytes);
        if (!bytes) {
            return tl::make_unexpected(bytes.error());
        }
        options.mr_bytes = *bytes;
    }
    if (!raw.max_inline.empty()) {
        const auto bytes = verbs_util::parse_size(raw.max_inline);
        if (!bytes || *bytes > kMaxUdMessage) {
            return fail(ErrorKind::kUsage, fmt::format("--inline {}", raw.max_inline),
                        fmt::format("write a number of bytes up to {}", kMaxUdMessage));
        }
        options.max_inline = static_cast<std::uint32_t>(*bytes);
    }
    if (!raw.cpus.empty()) {
        auto cpus = verbs_util::parse_cpus(raw.cpus);
        if (!cpus) {
            return tl::make_unexpected(cpus.error());
        }
        options.cpus = *cpus;
    }
    return {};
}

Result<void> validate_workload(const Options& options) {
    const auto operation = operation_name(options.operation);
    if (!supported_over(options.operation, options.transport)) {
        return fail(ErrorKind::kUsage,
                    fmt::format("{} does not exist over {}", operation,
                                transport_option_name(options.transport)),
                    "RC carries everything, UC write, write-imm and send, UD only send");
    }
    if (options.sizes.empty()) {
        return fail(ErrorKind::kUsage, "no message size given");
    }
    for (const std::uint64_t size : options.sizes) {
        if (size > kMaxMessage) {
            return fail(ErrorKind::kUsage,
                        fmt::format("size {} is above the limit {}", size, kMaxMessage));
        }
        if (options.transport == IBV_QPT_UD && size > kMaxUdMessage) {
            return fail(
                ErrorKind::kUsage,
                fmt::format("size {} does not fit into one packet of {} bytes, as UD demands", size,
                            kMaxUdMessage));
        }
        if (is_atomic(options.operation) && size != 8) {
            return fail(ErrorKind::kUsage,
                        fmt::format("{} moves 8 bytes, not {}", operation, size));
        }
        if (options.mr_bytes != 0 && options.mr_bytes < size) {
            return fail(ErrorKind::kUsage,
                        fmt::format("--mr-bytes {} is smaller than a message of {} bytes",
                                    options.mr_bytes, size));
        }
    }
    if (options.max_inline != 0 && returns_data(options.operation)) {
        return fail(ErrorKind::kUsage, fmt::format("{} carries no data to send inline", operation));
    }
    return {};
}

Result<void> check_range(const char* option, std::uint64_t value, std::uint64_t low,
                         std::uint64_t high) {
    if (value < low || value > high) {
        return fail(ErrorKind::kUsage,
                    fmt::format("{} {} is outside of {} to {}", option, value, low, high));
    }
    return {};
}

Result<void> validate_queues(const Options& options) {
    struct Range {
        const char* option;
        std::uint64_t value, low, high;
    };
    const Range ranges[] = {
        {"--qps", options.qps, 1, kMaxQueuePairs},
        {"--active", options.active, 1, options.qps},
        {"--window", options.window, 1, kMaxWindow},
        {"--post-list", options.post_list, 1, options.window},
        // More, and a QP could wait for completions that nobody asked for.
        {"--signal-every", options.signal_every, 1, options.window - options.post_list + 1},
        {"--samples", options.samples, 1, kMaxSamples},
    };
    for (const Range& range : ranges) {
        if (auto ok = check_range(range.option, range.value, range.low, range.high); !ok) {
            return ok;
        }
    }
    if (options.iterations == 0 && !(options.seconds > 0.0 && options.seconds <= 3600.0)) {
        return fail(ErrorKind::kUsage,
                    fmt::format("--duration {} is outside of 0 to 3600 seconds", options.seconds));
    }
    if (options.cpus.size() > 2) {
        return fail(ErrorKind::kUsage, "--cpu names more than two CPUs");
    }
    return {};
}

}  // namespace

std::string_view mode_name(Mode mode) {
    switch (mode) {
        case Mode::kLoopback:
            return "loopback";
        case Mode::kServer:
            return "server";
        case Mode::kClient:
            return "client";
        case Mode::kPair:
            return "pair";
    }
    return "unknown";
}

Result<void> validate(const Options& options) {
    if (options.mode == Mode::kServer) {
        return {};  // the client says what to do
    }
    if (auto ok = validate_workload(options); !ok) {
        return ok;
    }
    if (auto ok = validate_queues(options); !ok) {
        return ok;
    }
    const bool own_far_end = options.mode == Mode::kLoopback || options.mode == Mode::kPair;
    if (!options.peer_device.empty() && !own_far_end) {
        return fail(ErrorKind::kUsage, "--peer-device needs --loopback or --pair",
                    "choose the device of the server with its own --device");
    }
    if (options.separate_contexts && options.mode != Mode::kLoopback) {
        return fail(ErrorKind::kUsage, "--separate-contexts needs --loopback");
    }
    if (options.until_received &&
        (options.mode != Mode::kLoopback || !consumes_receive(options.operation))) {
        return fail(ErrorKind::kUsage,
                    "--until-received needs --loopback and --operation send or write-imm",
                    "only there one clock sees both ends");
    }
    return {};
}

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
    CLI::App app("vrdma-perf: latency, bandwidth and correctness of RDMA devices", "vrdma-perf");
    app.footer(kFooter);
    app.set_version_flag("--version", std::string("vrdma-perf ") + kVersion);
    app.get_formatter()->column_width(32);
    Raw raw;
    Options options;
    add_options(app, raw, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
    }
    auto done = translate_mode(raw, options);
    if (done) {
        done = translate_names(raw, options);
    }
    if (done) {
        done = translate_numbers(raw, options);
    }
    if (done) {
        done = validate(options);
    }
    if (!done) {
        fmt::print(stderr, "vrdma-perf: {}\n", done.error().message());
        return done.error().exit_code();
    }
    for (int i = 0; i < argc; ++i) {
        options.command_line += i == 0 ? "" : " ";
        options.command_line += argv[i];
    }
    return options;
}

}  // namespace vrdma::perf
