// The address resolution protocol for IPv4 over Ethernet (RFC 826).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/address.h"
#include "dataplane/wire/drop_reason.h"

namespace vrdma::wire {

struct Arp {
    enum class Operation : uint16_t { Request = 1, Reply = 2 };

    Operation operation = Operation::Request;
    Mac sender_mac{};
    Address sender{};  // 0.0.0.0 in a probe for a duplicate address (RFC 5227)
    Mac target_mac{};
    Address target{};
};

inline constexpr size_t kArpFrameBytes = 14 + 28;

[[nodiscard]] tl::expected<Arp, DropReason> parse_arp(std::span<const std::byte> frame);

// `out` has room for kArpFrameBytes, which is what is returned.
[[nodiscard]] size_t build_arp(std::span<std::byte> out, const Arp& arp,
                               const Mac& destination_mac);

}  // namespace vrdma::wire
