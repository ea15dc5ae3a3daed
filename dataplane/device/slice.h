// A slice: the part of a message that the requester hands to the responder at once, and the answer.
//
// It plays the role of a packet on the same-host path. The payload is not in it: `spans` point to
// the requester's memory, checked and resolved by the requester; the responder checks its own side
// and copies. Between shards a slice travels by pointer in a Message.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/device/limits.h"
#include "dataplane/memory/region.h"
#include "driver/abi/cqe.h"
#include "driver/abi/status.h"
#include "driver/abi/wqe.h"

namespace vrdma {

struct Slice {
    uint8_t opcode;  // enum vrdma_wqe_opcode
    bool first;
    bool last;
    bool solicited;
    bool streaming;
    uint8_t type;  // of the queue pair that it is for
    uint16_t span_count;
    uint32_t imm_data;
    uint32_t source_qpn;
    uint32_t destination_qpn;  // UD
    uint32_t source_vnic;
    uint32_t rkey;
    uint32_t qkey;
    uint32_t srqn;            // for an XRC target
    uint64_t remote_address;  // of the message's first byte
    uint32_t total;           // bytes of the message
    uint32_t position;        // of this slice in the message
    uint32_t length;          // bytes of this slice
    uint8_t traffic_class;    // UD: for the GRH area
    uint8_t hop_limit;
    uint8_t reserved[2];
    uint32_t flow_label;
    vrdma_gid_entry remote_gid;  // UD
    uint64_t compare_add;
    uint64_t swap;
    const std::byte* inline_data;  // instead of spans; already at `position`
    std::array<MemorySpan, kMaxSpansPerSlice> spans;
};

enum class Answer : uint8_t {
    Ack,
    Rnr,     // receiver not ready
    Nak,     // refused: the requester completes with `status`
    Silent,  // nobody answered
};

// Four bytes: it is returned in a register for every slice.
class Reply {
  public:
    constexpr Reply() = default;
    constexpr Reply(Answer kind, uint8_t timer, vrdma_wc_status status, vrdma_reason reason)
        : answer(kind),
          rnr_timer(timer),
          status_(static_cast<uint8_t>(status)),
          reason_(static_cast<uint8_t>(reason)) {}
    [[nodiscard]] constexpr vrdma_wc_status status() const {
        return static_cast<vrdma_wc_status>(status_);
    }
    [[nodiscard]] constexpr vrdma_reason reason() const {
        return static_cast<vrdma_reason>(reason_);
    }

    Answer answer = Answer::Ack;
    uint8_t rnr_timer = 0;

  private:
    uint8_t status_ = VRDMA_WC_SUCCESS;
    uint8_t reason_ = VRDMA_REASON_NONE;
};
static_assert(sizeof(Reply) == 4 && VRDMA_REASON_COUNT <= 256);

enum class MessageKind : uint8_t { Request, GroupRequest, Response, PeerDead };

// Between shards.
struct Message {
    MessageKind kind;
    uint8_t reserved[3];
    uint32_t from_shard;
    uint32_t requester_slot;
    uint32_t requester_qpn;
    uint32_t requester_context;
    uint32_t requester_vnic;   // PeerDead
    uint32_t requester_round;  // Context::slice_round
    // kNone: the members of a group.
    uint32_t destination_vnic;
    uint32_t destination_qpn;
    uint32_t slice_index;
    uint32_t group_member;  // Multicast::deliver: the next one
    Slice* slice;
    Reply reply;
};

}  // namespace vrdma
