#pragma once

// What both sides do in a round, and what their memory is afterwards: known to both from the seed.

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vrdma::wire_verify {

constexpr std::size_t kRegionBytes = std::size_t{1} << 19U;
constexpr std::uint32_t kMaxOperations = 16;  ///< in a round

struct PlanOptions {
    std::uint64_t seed = 1;
    ibv_qp_type type = IBV_QPT_RC;
    std::uint32_t queue_pairs = 1;
    std::uint32_t max_size = 1U << 16U;  ///< bytes of a message, at most a quarter of the region
    std::uint32_t initiators = 0b11;     ///< sides that start operations: bit 0 the server's
};

/// From `initiator`'s memory to the other side's or back, at the same offset in both.
struct Operation {
    ibv_wr_opcode opcode = IBV_WR_SEND;
    std::uint32_t initiator = 0;  ///< side 0 or 1
    std::uint32_t queue_pair = 0;
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    std::uint32_t immediate = 0;
    std::uint64_t add_or_compare = 0;
    std::uint64_t swap = 0;
};

/// No two operations of a round touch the same byte, so their order does not matter; between any
/// two there may be bytes that nobody may touch.
[[nodiscard]] std::vector<Operation> plan_round(const PlanOptions& options, std::uint64_t round);

/// What a side's memory is before a round. `region` has kRegionBytes.
void fill(std::span<std::byte> region, const PlanOptions& options, std::uint64_t round,
          std::uint32_t side);

/// Turns both sides' memory before the round into what it must be after it.
void apply(const std::vector<Operation>& operations,
           const std::array<std::span<std::byte>, 2>& regions);

[[nodiscard]] bool is_atomic(ibv_wr_opcode opcode);
/// Whether the other side needs a receive for it.
[[nodiscard]] bool takes_receive(ibv_wr_opcode opcode);
[[nodiscard]] bool has_immediate(ibv_wr_opcode opcode);

}  // namespace vrdma::wire_verify
