#pragma once

// The operations that are verified.

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

namespace vrdma::verify {

enum class Opcode : std::uint8_t {
    kSend,
    kSendImm,
    kWrite,
    kWriteImm,
    kRead,
    kCompareSwap,
    kFetchAdd,
};
inline constexpr std::size_t kOpcodes = 7;

[[nodiscard]] const char* opcode_name(Opcode opcode);
[[nodiscard]] ibv_wr_opcode work_request_opcode(Opcode opcode);
/// Of its completion at the side that posted it.
[[nodiscard]] ibv_wc_opcode completion_opcode(Opcode opcode);

[[nodiscard]] bool is_send(Opcode opcode);
[[nodiscard]] bool is_write(Opcode opcode);
[[nodiscard]] bool is_atomic(Opcode opcode);
[[nodiscard]] bool carries_immediate(Opcode opcode);
[[nodiscard]] bool consumes_receive(Opcode opcode);

}  // namespace vrdma::verify
