// Who wants which group's packets: queries, reports and leaves of IGMP version 2 (RFC 2236) and MLD
// version 1 (RFC 2710), which routers and snooping switches of every version understand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/base/time.h"
#include "dataplane/wire/address.h"
#include "dataplane/wire/drop_reason.h"

namespace vrdma::wire {

struct MembershipQuery {
    bool v6 = false;
    std::optional<Address> group;  // nothing: every group
    Duration within{};             // answers are spread over this time
};

struct MembershipMessage {
    enum class Kind : uint8_t { Report, Leave };

    Kind kind = Kind::Report;
    Mac source_mac{};
    Address source{};  // of the group's family; of IPv6 a link-local one
    Address group{};
};

// With Ethernet, IPv6 and the hop-by-hop header.
inline constexpr size_t kMaxMembershipFrameBytes = 14 + 40 + 8 + 24;

// Groups that every host belongs to, or whose packets leave no host, are never reported (RFC 2236
// 6, RFC 2710 5).
[[nodiscard]] bool is_reported(const Address& group);

// A query of any version of IGMP or MLD.
[[nodiscard]] tl::expected<MembershipQuery, DropReason> parse_membership_query(
    std::span<const std::byte> frame);

// `out` has room for kMaxMembershipFrameBytes; returns the bytes of the frame.
[[nodiscard]] size_t build_membership(std::span<std::byte> out, const MembershipMessage& message);

}  // namespace vrdma::wire
