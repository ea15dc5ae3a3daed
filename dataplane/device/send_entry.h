// A send entry: what a tenant may post, and where its bytes are.
#pragma once

#include <optional>

#include "dataplane/device/state.h"

namespace vrdma {

// What a tenant may not post, found in the private copy of an entry. nullopt: fine; `length` is
// set.
struct EntryFault {
    vrdma_wc_status status;
    vrdma_reason reason;
};
[[nodiscard]] std::optional<EntryFault> check_entry(const DeviceState& state, const Qp& qp,
                                                    uint32_t& length);

// Copies entry `index` of the send ring into Qp::wqe, as much of it as can mean something.
void load_entry(Qp& qp, const QpRuntime& runtime, uint32_t index);

// Where SGEs or inline data begin in the entry that Qp::wqe holds.
[[nodiscard]] size_t data_offset(const Qp& qp, uint8_t opcode);

// A part of the bytes that an entry's SGEs name.
struct Part {
    uint32_t from;    // of the message's bytes
    uint32_t length;  // at most so many
    uint32_t rights;  // VRDMA_ACCESS_* that the memory must allow
    size_t data_offset;
};
// Resolves the part into slice.spans and slice.length; fewer bytes when the table of spans is full.
// The domain is that of the queue pair.
[[nodiscard]] std::optional<vrdma_reason> gather_entry(DeviceState& state, const std::byte* wqe,
                                                       uint32_t pd, const Part& part, Slice& slice);

// Counts the entry in Qp::wqe, which was executed.
void account_send(DeviceState& state, Qp& qp);

[[nodiscard]] constexpr bool is_atomic(uint8_t opcode) {
    return opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP || opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
}
[[nodiscard]] constexpr bool is_write(uint8_t opcode) {
    return opcode == VRDMA_WQE_RDMA_WRITE || opcode == VRDMA_WQE_RDMA_WRITE_WITH_IMM;
}
// Done by the device alone, without the peer.
[[nodiscard]] constexpr bool is_local(uint8_t opcode) {
    return opcode == VRDMA_WQE_BIND_MW || opcode == VRDMA_WQE_LOCAL_INV;
}
[[nodiscard]] constexpr bool is_send(uint8_t opcode) {
    return opcode == VRDMA_WQE_SEND || opcode == VRDMA_WQE_SEND_WITH_IMM ||
           opcode == VRDMA_WQE_SEND_WITH_INV;
}

}  // namespace vrdma
