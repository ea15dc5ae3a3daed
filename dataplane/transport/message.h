// A work request as the transport sees it, and its end.
#pragma once

#include <cstdint>

namespace vrdma::transport {

enum class Operation : uint8_t {
    Send,
    SendImm,
    Write,
    WriteImm,
    Read,
    CompareSwap,
    FetchAdd,
    SendInvalidate,
};

[[nodiscard]] constexpr bool is_atomic(Operation operation) {
    return operation == Operation::CompareSwap || operation == Operation::FetchAdd;
}
// Answered by data and not by an ACK alone.
[[nodiscard]] constexpr bool has_response(Operation operation) {
    return operation == Operation::Read || is_atomic(operation);
}
[[nodiscard]] constexpr bool is_write(Operation operation) {
    return operation == Operation::Write || operation == Operation::WriteImm;
}
[[nodiscard]] constexpr bool has_imm(Operation operation) {
    return operation == Operation::SendImm || operation == Operation::WriteImm;
}

struct Message {
    uint32_t id = 0;  // the caller's: comes back in plans, verdicts and completions
    Operation operation = Operation::Send;
    bool solicited = false;
    bool fence = false;           // waits for the READs and atomics before it
    uint32_t length = 0;          // bytes; at most kMaxMessageBytes; 8 for atomics
    uint64_t remote_address = 0;  // WRITE, READ, atomics
    uint32_t rkey = 0;            // WRITE, READ, atomics; SendInvalidate: what ends
    uint32_t imm = 0;             // as it lies on the wire (wire::Packet::imm)
    uint64_t compare = 0;         // CompareSwap
    uint64_t swap_or_add = 0;     // atomics
};

// Values of enum ibv_wc_status (IBA 11.6.2).
enum class CompletionStatus : uint8_t {
    Success = 0,
    LocalLength = 1,
    LocalQpOperation = 2,
    LocalProtection = 4,
    Flushed = 5,
    RemoteInvalidRequest = 9,
    RemoteAccess = 10,
    RemoteOperational = 11,
    RetryExceeded = 12,
    RnrRetryExceeded = 13,
};

struct Completion {
    uint32_t id = 0;
    CompletionStatus status = CompletionStatus::Success;
};

}  // namespace vrdma::transport
