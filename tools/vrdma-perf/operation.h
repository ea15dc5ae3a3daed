#pragma once

// The operations that can be measured and what each of them implies.

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace vrdma::perf {

enum class Operation : std::uint8_t { kWrite, kWriteImm, kRead, kSend, kFetchAdd, kCmpSwap };

[[nodiscard]] std::string_view operation_name(Operation operation);
[[nodiscard]] std::optional<Operation> operation_from(std::string_view name);
[[nodiscard]] ibv_wr_opcode work_request_opcode(Operation operation);

[[nodiscard]] bool supported_over(Operation operation, ibv_qp_type transport);
/// The far end must have posted a receive.
[[nodiscard]] bool consumes_receive(Operation operation);
/// Data flows towards the side that posts the work request.
[[nodiscard]] bool returns_data(Operation operation);
[[nodiscard]] bool is_atomic(Operation operation);

[[nodiscard]] std::string_view transport_option_name(ibv_qp_type transport);
[[nodiscard]] std::optional<ibv_qp_type> transport_from(std::string_view name);

}  // namespace vrdma::perf
