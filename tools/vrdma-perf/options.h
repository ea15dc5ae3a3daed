#pragma once

// What the user asked for.

#include <infiniband/verbs.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/vrdma-perf/operation.h"

namespace vrdma::perf {

inline constexpr std::uint64_t kMaxMessage = std::uint64_t{1} << 30;
inline constexpr std::uint32_t kMaxQueuePairs = 1U << 17;
inline constexpr std::uint32_t kMaxWindow = 1U << 14;
inline constexpr std::uint32_t kMaxSamples = 1000;
inline constexpr std::uint32_t kMaxUdMessage = 4096;

enum class Mode : std::uint8_t { kLoopback, kServer, kClient, kPair };

[[nodiscard]] std::string_view mode_name(Mode mode);

struct Options {
    Mode mode = Mode::kLoopback;
    std::string host;  ///< client only
    std::uint16_t port = 18515;

    std::string device;       ///< empty: the first
    std::string peer_device;  ///< of the far end in loopback and pair; empty: the same device
    bool separate_contexts = false;
    int gid_index = -1;

    Operation operation = Operation::kWrite;
    ibv_qp_type transport = IBV_QPT_RC;
    std::vector<std::uint64_t> sizes;
    std::uint64_t iterations = 0;  ///< per sample; 0: as many as fit into `seconds`
    double seconds = 0.2;          ///< per sample, when `iterations` is 0
    std::uint32_t samples = 5;
    bool latency = true;
    bool rate = true;

    std::uint32_t qps = 1;
    std::uint32_t active = 1;
    std::uint32_t window = 64;
    std::uint32_t post_list = 1;
    std::uint32_t signal_every = 1;
    std::uint32_t max_inline = 0;
    std::uint64_t mr_bytes = 0;  ///< working set; 0: see Layout
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
    bool events = false;
    bool until_received = false;

    bool verify = false;
    bool peers = false;
    bool json = false;
    std::vector<int> cpus;
    std::string command_line;
};

/// Refuses contradictions, each with the rule it breaks.
[[nodiscard]] verbs_util::Result<void> validate(const Options& options);

/// Either the options, or the exit code after help, version or a usage error has been printed.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace vrdma::perf
