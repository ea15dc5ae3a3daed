#pragma once

// What client and server say to each other.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tools/verbs_util/error.h"

namespace vrdma::storage_socket {

enum class Kind : std::uint32_t {
    kEcho,   ///< the answer has a payload of its own
    kStore,  ///< the server READs the segments from the client
    kLoad,   ///< the server WRITEs the segments to the client
    kAnswer,
};

/// A piece of the client's memory.
struct Segment {
    std::uint64_t address = 0;
    std::uint32_t rkey = 0;
    std::uint32_t bytes = 0;
};

struct Message {
    Kind kind = Kind::kEcho;
    std::uint32_t id = 0;
    std::uint64_t seed = 0;  ///< of the payload and of the segments
    std::uint32_t payload_bytes = 0;
    std::vector<Segment> segments;

    [[nodiscard]] std::vector<std::byte> encode() const;
    /// Checks the payload. A message that the partner cannot have sent is an error.
    [[nodiscard]] static verbs_util::Result<Message> decode(std::span<const std::byte> bytes);
};

inline constexpr std::size_t kMostSegments = 64;
/// Of a message besides its payload.
inline constexpr std::size_t kMostHeaderBytes = 24 + kMostSegments * sizeof(Segment);

[[nodiscard]] std::uint64_t seed_of_segment(std::uint64_t seed, std::size_t index);
[[nodiscard]] std::uint64_t seed_of_answer(std::uint64_t seed);

}  // namespace vrdma::storage_socket
