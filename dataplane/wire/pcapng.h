// Blocks of a pcapng file (IETF draft-ietf-opsawg-pcapng), which Wireshark and tshark read: the
// bytes only, who writes them where is the caller's matter.
//
// A file is one section header, one interface description for each port in the order of their
// indices, enhanced packets, and statistics of each interface. Everything is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "dataplane/base/time.h"

namespace vrdma::wire {

// As the capturing host sees it.
enum class CaptureDirection : uint8_t { Unknown = 0, Inbound = 1, Outbound = 2 };

struct CapturedPacket {
    uint32_t interface = 0;              // index of its description
    Instant at{};                        // since 1970, not the monotonic clock of the core
    std::span<const std::byte> bytes{};  // what was kept
    size_t original_length = 0;          // of the frame
    CaptureDirection direction = CaptureDirection::Unknown;
    uint64_t missed = 0;         // packets that were not kept, since the one before this
    std::string_view comment{};  // none when empty; cut to kMaxPcapngText
};

inline constexpr size_t kMaxPcapngText = 1024;
inline constexpr uint32_t kPcapngSnapLength = 65536;

// How many bytes a block takes, and the block. `out` has room for it; both return the same.
[[nodiscard]] size_t pcapng_section_bytes(std::string_view application);
[[nodiscard]] size_t write_pcapng_section(std::span<std::byte> out, std::string_view application);

// Ethernet, timestamps in nanoseconds; of a packet at most `snap_length` bytes are kept.
[[nodiscard]] size_t pcapng_interface_bytes(std::string_view name);
[[nodiscard]] size_t write_pcapng_interface(std::span<std::byte> out, std::string_view name,
                                            uint32_t snap_length = kPcapngSnapLength);

[[nodiscard]] size_t pcapng_packet_bytes(const CapturedPacket& packet);
[[nodiscard]] size_t write_pcapng_packet(std::span<std::byte> out, const CapturedPacket& packet);

// What an interface saw from the start of the capture to `at`, behind its last packet.
struct CaptureStatistics {
    uint32_t interface = 0;
    Instant at{};           // since 1970
    uint64_t received = 0;  // kept or not
    uint64_t missed = 0;    // not kept for want of room
};
[[nodiscard]] size_t pcapng_statistics_bytes();
[[nodiscard]] size_t write_pcapng_statistics(std::span<std::byte> out,
                                             const CaptureStatistics& statistics);

}  // namespace vrdma::wire
