#include "tools/vrdma-perf/operation.h"

#include <array>

// Which operation exists over which transport, as the InfiniBand specification has it
// (IBA 9.6, 9.7, 9.8): everything over RC, no READ and no atomics over UC, only SEND over UD.

namespace vrdma::perf {

namespace {
constexpr std::array kOperations = {Operation::kWrite, Operation::kWriteImm, Operation::kRead,
                                    Operation::kSend,  Operation::kFetchAdd, Operation::kCmpSwap};
}

std::string_view operation_name(Operation operation) {
    switch (operation) {
        case Operation::kWrite:
            return "write";
        case Operation::kWriteImm:
            return "write-imm";
        case Operation::kRead:
            return "read";
        case Operation::kSend:
            return "send";
        case Operation::kFetchAdd:
            return "fetch-add";
        case Operation::kCmpSwap:
            return "cmp-swap";
    }
    return "unknown";
}

std::optional<Operation> operation_from(std::string_view name) {
    for (const Operation operation : kOperations) {
        if (operation_name(operation) == name) {
            return operation;
        }
    }
    return std::nullopt;
}

ibv_wr_opcode work_request_opcode(Operation operation) {
    switch (operation) {
        case Operation::kWrite:
            return IBV_WR_RDMA_WRITE;
        case Operation::kWriteImm:
            return IBV_WR_RDMA_WRITE_WITH_IMM;
        case Operation::kRead:
            return IBV_WR_RDMA_READ;
        case Operation::kSend:
            return IBV_WR_SEND;
        case Operation::kFetchAdd:
            return IBV_WR_ATOMIC_FETCH_AND_ADD;
        case Operation::kCmpSwap:
            return IBV_WR_ATOMIC_CMP_AND_SWP;
    }
    return IBV_WR_RDMA_WRITE;
}

bool supported_over(Operation operation, ibv_qp_type transport) {
    if (transport == IBV_QPT_RC) {
        return true;
    }
    if (transport == IBV_QPT_UC) {
        return !returns_data(operation);
    }
    return operation == Operation::kSend;
}

bool consumes_receive(Operation operation) {
    return operation == Operation::kSend || operation == Operation::kWriteImm;
}

bool returns_data(Operation operation) {
    return operation == Operation::kRead || is_atomic(operation);
}

bool is_atomic(Operation operation) {
    return operation == Operation::kFetchAdd || operation == Operation::kCmpSwap;
}

std::string_view transport_option_name(ibv_qp_type transport) {
    if (transport == IBV_QPT_RC) {
        return "rc";
    }
    return transport == IBV_QPT_UC ? "uc" : "ud";
}

std::optional<ibv_qp_type> transport_from(std::string_view name) {
    for (const ibv_qp_type transport : {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD}) {
        if (transport_option_name(transport) == name) {
            return transport;
        }
    }
    return std::nullopt;
}

}  // namespace vrdma::perf
