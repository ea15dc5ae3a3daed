// Bounds and times of the network layer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::net {

// Of one worker at one port.
inline constexpr uint32_t kMaxNeighbours = 1024;
inline constexpr uint32_t kMaxLocalAddresses = 3072;  // three for each vNIC
// Packets that wait for their neighbour's address. The transport retransmits what does not fit.
inline constexpr uint32_t kMaxWaiting = 256;
inline constexpr uint32_t kMaxWaitingPerNeighbour = 16;

// Groups that vNICs belong to, counted for each vNIC; and reports of leaving that wait for a
// buffer. Who hears of no leaving finds out by asking.
inline constexpr size_t kMaxMemberships = 4096;
inline constexpr size_t kMaxLeaves = 256;
// Membership reports sent in one turn.
inline constexpr uint32_t kReportsPerTurn = 8;

// Solicitations: RFC 4861 (10) has one second between three of them. A fabric answers in
// microseconds, so we ask sooner, and longer in all.
inline constexpr Duration kSolicitInterval = Duration::milliseconds(250);
inline constexpr uint8_t kSolicitations = 8;         // until the neighbour counts as unreachable
inline constexpr uint8_t kUnicastSolicitations = 3;  // first ones, to a neighbour that was known
// A neighbour that did not answer is asked again when somebody wants it, but not sooner.
inline constexpr Duration kUnreachableFor = Duration::milliseconds(1000);
// How long an answer holds (REACHABLE_TIME of RFC 4861).
inline constexpr Duration kReachableFor = Duration::milliseconds(30'000);

// Frames taken from a port in one turn.
inline constexpr uint32_t kFramesPerTurn = 64;

static_assert(kMaxWaitingPerNeighbour <= kMaxWaiting);
static_assert(kUnicastSolicitations < kSolicitations);

}  // namespace vrdma::net
