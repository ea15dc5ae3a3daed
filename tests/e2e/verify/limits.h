#pragma once

// Bounds of a run: what the user chose, what both devices can do, what the verifier itself uses.

#include <cstdint>

namespace vrdma::verify {

inline constexpr std::uint32_t kMaxQueuePairs = 32;
inline constexpr std::uint32_t kMaxCompletionQueues = 4;
inline constexpr std::uint32_t kMaxRegions = 3;
inline constexpr std::uint32_t kMaxSegments = 16;
inline constexpr std::uint32_t kMaxMessage = 4U << 20;
inline constexpr std::uint32_t kMaxRoundOperations = 128;
/// Queue depths: a round fits into any queue as a whole.
inline constexpr std::uint32_t kQueueDepth = kMaxRoundOperations;
inline constexpr std::uint32_t kCompletionDepth = 4 * kMaxRoundOperations;
/// Larger messages do not go to shared receive queues, whose every buffer must hold any of them.
inline constexpr std::uint32_t kMaxSharedReceive = 16U << 10;
inline constexpr std::uint32_t kGrhBytes = 40;

inline constexpr std::uint32_t kArenaBytes = 32U << 20;
/// A word that FETCH_ADDs of all rounds add to; below every window.
inline constexpr std::uint32_t kCounterOffset = 64;
inline constexpr std::uint32_t kFirstWindow = 4096;
/// The part of an arena that one round may use, and how much of it for shared receives.
inline constexpr std::uint32_t kMaxWindow = 16U << 20;
inline constexpr std::uint32_t kSharedReceiveBytes = 4U << 20;

enum class Wish : std::uint8_t { kNever, kAlways, kSometimes };

struct Limits {
    std::uint32_t max_size = kMaxMessage;
    std::uint32_t max_queue_pairs = kMaxQueuePairs;
    std::uint32_t max_segments = kMaxSegments;
    std::uint32_t max_inline = 0;
    std::uint32_t mtu_bytes = 1024;
    bool rc = true;
    bool uc = false;
    bool ud = false;
    bool atomics = true;
    Wish shared_receive = Wish::kSometimes;
    Wish events = Wish::kSometimes;     ///< sleep on completion channels instead of polling
    std::uint8_t memory_kinds = 0b111;  ///< bit i: verbs_util::MemoryKind i may be chosen
};

}  // namespace vrdma::verify
