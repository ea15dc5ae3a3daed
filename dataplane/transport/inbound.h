// What a received request packet asks of the one who owns memory and receive entries, and what that
// one answers. Shared by RC responder and UC receiver.
#pragma once

#include <cstdint>

#include "dataplane/transport/drop_reason.h"
#include "dataplane/transport/message.h"
#include "dataplane/transport/psn.h"

namespace vrdma::transport {

struct Inbound {
    enum class Action : uint8_t {
        Nothing,    // consumed; perhaps an answer is waiting in poll_transmit()
        Execute,    // do it, then call executed(); no other packet before that
        Reexecute,  // RC: a READ again. Check key and range as for the first time, then executed()
        Hold,       // out of order: call hold(sequence, handle) and keep the packet, or drop it
        Drop,
    };
    Action action = Action::Nothing;
    DropReason reason = DropReason::None;

    // Execute and Reexecute:
    // SendImm, SendInvalidate and WriteImm only on the last packet.
    Operation operation = Operation::Send;
    bool first = false;  // of its message
    bool last = false;
    bool solicited = false;
    bool restarted = false;  // UC: an unfinished message was given up; its receive entry is free
    uint32_t imm = 0;
    uint32_t offset = 0;  // of the payload in its message, bytes
    uint32_t length = 0;  // of the payload; READ: of the response
    // WRITE and READ: of the whole message. SEND: unknown before its last packet, so what has come
    // so far, this packet included.
    uint32_t total = 0;
    uint64_t remote_address = 0;  // of the message's first byte; atomics: of the word
    uint32_t rkey = 0;            // SendInvalidate: what ends
    uint64_t compare = 0;
    uint64_t swap_or_add = 0;
    uint32_t srqn = 0;  // XRC: of this packet

    // Hold:
    Sequence sequence = 0;
};

enum class ExecuteStatus : uint8_t {
    Ok,
    ReceiverNotReady,      // no receive entry; nothing was changed. UC: the message is dropped
    NakInvalidRequest,     // length beyond the receive entry, operation not enabled, ...
    NakRemoteAccess,       // key, domain, range or rights
    NakRemoteOperational,  // memory behind the region is gone, receive entry unusable
};

struct ExecuteResult {
    ExecuteStatus status = ExecuteStatus::Ok;
    uint8_t rnr_timer = 0;  // ReceiverNotReady: the queue pair's min_rnr_timer code
    uint64_t original = 0;  // atomics: the word before
};

}  // namespace vrdma::transport
