// Bounds of the transport, and how they relate. Times and rates of one algorithm stand in the
// algorithm's own file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/wire/packet.h"

namespace vrdma::transport {

// Sequence numbers of one direction between the oldest that is not finished and the newest sent:
// what a SACK can describe, and what a receiver may have to hold. A power of two.
inline constexpr uint32_t kWindowPackets = 256;
static_assert((kWindowPackets & (kWindowPackets - 1)) == 0, "indexed by mask");
static_assert(kWindowPackets <= wire::SackEth::kBits, "a SACK describes the whole window");

// Toward a standard peer: soft-RoCE itself stops there, and go-back-N repeats all of it.
inline constexpr uint32_t kStandardWindowPackets = 128;
static_assert(kStandardWindowPackets <= kWindowPackets);

// Work requests of one queue pair that are on their way. A power of two.
inline constexpr uint32_t kWindowMessages = 64;
static_assert((kWindowMessages & (kWindowMessages - 1)) == 0, "indexed by mask");

// A longer READ goes out as several requests of this many response packets, so that the requester
// decides how much is on its way to it. A power of two.
inline constexpr uint32_t kReadChunkPackets = 64;
static_assert((kReadChunkPackets & (kReadChunkPackets - 1)) == 0, "found by mask");
static_assert(2 * kReadChunkPackets <= kStandardWindowPackets,
              "one travels while one is asked for");

// READ and atomic requests that a responder has accepted and not forgotten (responder resources,
// IBA 9.4.4). max_rd_atomic and max_dest_rd_atomic of a remote queue pair are at most this.
inline constexpr uint32_t kMaxRdAtomic = 16;
static_assert((kMaxRdAtomic & (kMaxRdAtomic - 1)) == 0, "indexed by mask");

// Packets between two requests for an acknowledgement inside a message (soft-RoCE: 64). Small, so
// that a window never stalls on a lost ACK.
inline constexpr uint32_t kAckRequestPackets = 16;
static_assert((kAckRequestPackets & (kAckRequestPackets - 1)) == 0, "found by mask");
// A responder acknowledges this many packets without being asked.
inline constexpr uint32_t kUnaskedAckPackets = 32;

// A UC packet this far behind is late or a duplicate; farther behind, a long outage has passed. A
// queue in a network holds milliseconds, and a duplicate that was followed would be executed again.
inline constexpr uint32_t kUcLatePackets = 1U << 16;

inline constexpr uint32_t kMinPathMtu = 256;
inline constexpr uint32_t kMaxPathMtu = 4096;
inline constexpr uint64_t kMaxMessageBytes = uint64_t{1} << 31;  // IBA 9.2

}  // namespace vrdma::transport
