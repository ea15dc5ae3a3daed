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
    uint8_t type;  // of the requester's queue pair
    uint16_t span_count;
    uint32_t imm_data;
    uint32_t source_qpn;
    uint32_t source_vnic;
    uint32_t rkey;
    uint32_t qkey;
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

struct Reply {
    Answer answer = Answer::Ack;
    uint8_t rnr_timer = 0;
    vrdma_wc_status status = VRDMA_WC_SUCCESS;
    vrdma_reason reason = VRDMA_REASON_NONE;
};

enum class MessageKind : uint8_t { Request, Response, PeerDead };

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
    uint32_t destination_vnic;
    uint32_t destination_qpn;
    uint32_t slice_index;
    Slice* slice;
    Reply reply;
};

}  // namespace vrdma
