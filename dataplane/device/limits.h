// Bounds of the device, and how they relate.
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"
#include "driver/abi/limits.h"

namespace vrdma {

inline constexpr uint32_t kMaxShards = 64;
inline constexpr uint32_t kMaxQpsPerHost = 65536;  // 16 bits of a QPN name the entry
inline constexpr uint32_t kQpnSlotBits = 16;
inline constexpr uint32_t kQpnGenerationBits = 8;
static_assert(kQpnSlotBits + kQpnGenerationBits == 24, "a QPN has 24 bits");

inline constexpr uint32_t kMaxVnics = 1024;
inline constexpr uint32_t kMaxContextsPerShard = 4096;

// A message is moved in slices of at most this many bytes; between slices other queue pairs have
// their turn. 64 KiB is 5 to 8 us of copying.
inline constexpr uint32_t kSliceBytes = 64U << 10;
// Contiguous pieces of one slice: a full scatter/gather list, each entry crossing into one more
// range. A datagram never needs more (an inner range is a page, a datagram at most one), so it is
// always one slice; another slice that would need more is made shorter.
inline constexpr uint32_t kMaxSpansPerSlice = 2 * VRDMA_MAX_SGE;

// Handles of one XRC target: each gets its events.
inline constexpr uint32_t kMaxTargetOpenings = 256;

// Copies of one message to a multicast group that are made at once, and members of one group on a
// shard. What comes from the wire is copied for all of them at once: a mebibyte at the most.
inline constexpr uint32_t kCopiesAtOnce = 16;
inline constexpr uint32_t kMaxGroupMembers = 256;
static_assert(kMaxGroupMembers >= VRDMA_MAX_MCAST_QPS);

// Work of one queue pair in one visit.
inline constexpr uint32_t kEntriesPerVisit = 16;
inline constexpr uint32_t kBytesPerVisit = kSliceBytes;
// Queue pairs visited in one turn before commands and doorbells are looked at again.
inline constexpr uint32_t kVisitsPerTurn = 64;

// What a tenant can make large is done in pieces, so that nobody else waits for more than one:
inline constexpr uint32_t kFlushedPerVisit = 128;  // entries of one ring
inline constexpr uint32_t kFailedPerTurn = 32;  // queue pairs of a completion queue that overflowed
inline constexpr uint32_t kEntriesMovedPerTurn = 4096;  // completions, to a resized queue
inline constexpr uint32_t kTimersPerTurn = 256;
inline constexpr uint32_t kGroupsLeftPerTurn = 32;  // by queue pairs whose context ends
inline constexpr uint32_t kDelayedEventsPerTry = 32;
inline constexpr Duration kDelayedEventRetry = Duration::milliseconds(1);

// A context without a doorbell for this long is no longer polled; its next doorbell kicks.
inline constexpr Duration kHotContext = Duration::milliseconds(1);

inline constexpr uint32_t kPortMtu = 4096;  // the largest there is
inline constexpr uint8_t kLargestMtu = 5;   // the same as enum ibv_mtu
inline constexpr uint32_t kGrhBytes = 40;   // room in front of a UD message (IBA 11.4.1.1)

// Sizes of a shard's tables; all powers of two.
struct ShardLimits {
    uint32_t qps = 16384;
    uint32_t cqs = 16384;
    uint32_t srqs = 4096;
    uint32_t pds = 8192;
    uint32_t mrs = 65536;
    uint32_t mws = 16384;
    uint32_t extra_ranges = 65536;
    uint32_t regions = 65536;
    uint32_t channels = 8192;
    uint32_t contexts = 1024;
    uint32_t remotes = 16;  // queue pairs whose peer is on another host
    uint32_t xrcds = 1024;  // XRC domains, and as many handles of domains
};

}  // namespace vrdma
