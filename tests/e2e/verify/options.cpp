#include "tests/e2e/verify/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <random>

#include "tests/e2e/verify/control_block.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/sizes.h"

// The command line. Everything random is on unless an option narrows it, because a verifier that
// must be told to be thorough is not. Without --seed the OS generator picks one; it is printed, and
// with the same seed, options and devices the same operations run again.

namespace vrdma::verify {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr char kFooter[] =
    "Exit codes: 0 all right, 1 usage, 2 no device, 3 set-up failed, 4 a transfer failed, 5 data, "
    "a "
    "completion or a count is wrong, 6 another process failed.\n"
    "A failure is replayed with the printed seed and the same options on the same devices.";

struct Raw {
    std::string transports = "rc";
    std::string max_size = "4M";
    std::string memory = "malloc,mmap,memfd";
    std::string shared_receive = "sometimes";
    std::string events = "sometimes";
    std::string inline_data = "sometimes";
    std::optional<std::uint64_t> seed;
};

Result<Wish> wish_from(const char* option, const std::string& text) {
    if (text == "never" || text == "off") {
        return Wish::kNever;
    }
    if (text == "always" || text == "on") {
        return Wish::kAlways;
    }
    if (text == "sometimes") {
        return Wish::kSometimes;
    }
    return fail(ErrorKind::kUsage, fmt::format("{} {}", option, text),
                "write on, off or sometimes");
}

/// Calls `use(word)` for each word of a comma separated list.
template <typename Use>
bool each_word(std::string_view text, Use use) {
    while (true) {
        const auto comma = text.find(',');
        if (!use(text.substr(0, comma))) {
            return false;
        }
        if (comma == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(comma + 1);
    }
}

Result<void> translate_lists(const Raw& raw, Limits& limits) {
    limits.rc = limits.uc = limits.ud = false;
    const bool transports = each_word(raw.transports, [&](std::string_view word) {
        limits.rc = limits.rc || word == "rc";
        limits.uc = limits.uc || word == "uc";
        limits.ud = limits.ud || word == "ud";
        return word == "rc" || word == "uc" || word == "ud";
    });
    if (!transports) {
        return fail(ErrorKind::kUsage, "--transports " + raw.transports, "write rc, uc, ud");
    }
    limits.memory_kinds = 0;
    const bool kinds = each_word(raw.memory, [&](std::string_view word) {
        const auto kind = verbs_util::memory_kind_from(word);
        if (kind) {
            limits.memory_kinds |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(*kind));
        }
        return kind.has_value();
    });
    if (!kinds) {
        return fail(ErrorKind::kUsage, "--memory " + raw.memory,
                    "write malloc, mmap, memfd, hugetlb");
    }
    return {};
}

Result<void> translate(const Raw& raw, Options& options) {
    Limits& limits = options.limits;
    if (auto done = translate_lists(raw, limits); !done) {
        return done;
    }
    const auto size = verbs_util::parse_size(raw.max_size);
    if (!size || *size > kMaxMessage) {
        return fail(ErrorKind::kUsage, "--max-size " + raw.max_size,
                    "write a size of at most " + verbs_util::format_size(kMaxMessage));
    }
    limits.max_size = static_cast<std::uint32_t>(*size);
    const auto shared = wish_from("--srq", raw.shared_receive);
    const auto events = wish_from("--events", raw.events);
    const auto inline_data = wish_from("--inline", raw.inline_data);
    for (const auto* wish : {&shared, &events, &inline_data}) {
        if (!*wish) {
            return tl::make_unexpected(wish->error());
        }
    }
    limits.shared_receive = *shared;
    limits.events = *events;
    constexpr std::uint32_t kMostInline = 512;
    limits.max_inline = *inline_data == Wish::kNever ? 0 : kMostInline;
    if (options.pairs == 0 || options.pairs > kMaxPairs) {
        return fail(ErrorKind::kUsage,
                    fmt::format("--processes {} is outside of 1 to {}", options.pairs, kMaxPairs));
    }
    if (limits.max_queue_pairs == 0 || limits.max_queue_pairs > kMaxQueuePairs) {
        return fail(ErrorKind::kUsage, fmt::format("--qps {} is outside of 1 to {}",
                                                   limits.max_queue_pairs, kMaxQueuePairs));
    }
    if (limits.max_segments == 0 || limits.max_segments > kMaxSegments) {
        return fail(ErrorKind::kUsage, fmt::format("--sge {} is outside of 1 to {}",
                                                   limits.max_segments, kMaxSegments));
    }
    if (options.rounds_per_epoch == 0 || options.operations < options.pairs) {
        return fail(ErrorKind::kUsage,
                    "--rounds and --operations must not be 0, and every pair "
                    "needs an operation");
    }
    options.seed = raw.seed ? *raw.seed : std::random_device{}();
    return {};
}

}  // namespace

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
    CLI::App app(
        "vrdma-verify: random RDMA operations between pairs of processes; every byte and every "
        "completion is checked",
        "vrdma-verify");
    app.footer(kFooter);
    Raw raw;
    Options options;
    app.add_option("--device", options.device, "device of the A sides (default: the first)");
    app.add_option("--peer-device", options.peer_device,
                   "device of the B sides (default: the same)");
    app.add_option("--gid-index", options.gid_index, "GID to use (default: RoCE v2 over IPv4)");
    app.add_option("-p,--processes", options.pairs,
                   "pairs; the two sides of each are processes of their own")
        ->capture_default_str();
    app.add_flag("--threads", options.threads,
                 "the two sides of a pair are threads of one process");
    app.add_option("-n,--operations", options.operations, "operations in total")
        ->capture_default_str();
    app.add_option("-s,--seed", raw.seed, "replay the run with this seed");
    app.add_option("-t,--transports", raw.transports, "any of rc,uc,ud")->capture_default_str();
    app.add_option("--max-size", raw.max_size, "largest message")->capture_default_str();
    app.add_option("--qps", options.limits.max_queue_pairs, "most queue pairs of a pair")
        ->capture_default_str();
    app.add_option("--sge", options.limits.max_segments, "most segments of a work request")
        ->capture_default_str();
    app.add_option("--memory", raw.memory, "any of malloc,mmap,memfd,hugetlb")
        ->capture_default_str();
    app.add_option("--srq", raw.shared_receive, "shared receive queues: on, off or sometimes")
        ->capture_default_str();
    app.add_option("--events", raw.events, "sleep on completion channels: on, off or sometimes")
        ->capture_default_str();
    app.add_option("--inline", raw.inline_data, "inline data: off or sometimes")
        ->capture_default_str();
    app.add_flag("!--no-atomics", options.limits.atomics, "leave CMP_SWP and FETCH_ADD out");
    app.add_option("--rounds", options.rounds_per_epoch,
                   "rounds before all objects are created anew")
        ->capture_default_str();
    app.add_flag("--progress", options.progress, "print a line for each epoch");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
    }
    if (const auto done = translate(raw, options); !done) {
        fmt::print(stderr, "vrdma-verify: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return options;
}

}  // namespace vrdma::verify
