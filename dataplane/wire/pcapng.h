// Blocks of a pcapng file (IETF draft-ietf-opsawg-pcapng), which Wireshark and tshark read: the
// bytes only, who writes them where is the caller's matter.
//
// A file is one section header, one interface description for each port in the order of their
// indices, and enhanced packets. Everything is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "dataplane/base/time.h"

namespace vrdma::wire {

struct CapturedPacket {
    uint32_t interface = 0;              // index of its description
    Instant at{};                        // since 1970, not the monotonic clock of the core
    std::span<const std::byte> bytes{};  // what was kept
    size_t original_length = 0;          // of the frame
    std::string_view comment{};          // none when empty; cut to kMaxPcapngText
};

inline constexpr size_t kMaxPcapngText = 1024;
inline constexpr uint32_t kPcapngSnapLength = 65536;

// How many bytes a block takes, and the block. `out` has room for it; both return the same.
[[nodiscard]] size_t pcapng_section_bytes(std::string_view application);
[[nodiscard]] size_t write_pcapng_section(std::span<std::byte> out, std::string_view application);

// Ethernet, timestamps in nanoseconds.
[[nodiscard]] size_t pcapng_interface_bytes(std::string_view name);
[[nodiscard]] size_t write_pcapng_interface(std::span<std::byte> out, std::string_view name);

[[nodiscard]] size_t pcapng_packet_bytes(const CapturedPacket& packet);
[[nodiscard]] size_t write_pcapng_packet(std::span<std::byte> out, const CapturedPacket& packet);

}  // namespace vrdma::wire
