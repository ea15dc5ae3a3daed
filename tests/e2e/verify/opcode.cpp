#include "tests/e2e/verify/opcode.h"

// Names, work request opcodes and completion opcodes of the operations (ibv_post_send(3),
// ibv_poll_cq(3)). An immediate does not change the opcode of the sender's completion.

namespace vrdma::verify {

const char* opcode_name(Opcode opcode) {
    switch (opcode) {
        case Opcode::kSend:
            return "SEND";
        case Opcode::kSendImm:
            return "SEND_IMM";
        case Opcode::kWrite:
            return "WRITE";
        case Opcode::kWriteImm:
            return "WRITE_IMM";
        case Opcode::kRead:
            return "READ";
        case Opcode::kCompareSwap:
            return "CMP_SWP";
        case Opcode::kFetchAdd:
            return "FETCH_ADD";
    }
    return "unknown";
}

ibv_wr_opcode work_request_opcode(Opcode opcode) {
    switch (opcode) {
        case Opcode::kSend:
            return IBV_WR_SEND;
        case Opcode::kSendImm:
            return IBV_WR_SEND_WITH_IMM;
        case Opcode::kWrite:
            return IBV_WR_RDMA_WRITE;
        case Opcode::kWriteImm:
            return IBV_WR_RDMA_WRITE_WITH_IMM;
        case Opcode::kRead:
            return IBV_WR_RDMA_READ;
        case Opcode::kCompareSwap:
            return IBV_WR_ATOMIC_CMP_AND_SWP;
        case Opcode::kFetchAdd:
            return IBV_WR_ATOMIC_FETCH_AND_ADD;
    }
    return IBV_WR_SEND;
}

ibv_wc_opcode completion_opcode(Opcode opcode) {
    switch (opcode) {
        case Opcode::kSend:
        case Opcode::kSendImm:
            return IBV_WC_SEND;
        case Opcode::kWrite:
        case Opcode::kWriteImm:
            return IBV_WC_RDMA_WRITE;
        case Opcode::kRead:
            return IBV_WC_RDMA_READ;
        case Opcode::kCompareSwap:
            return IBV_WC_COMP_SWAP;
        case Opcode::kFetchAdd:
            return IBV_WC_FETCH_ADD;
    }
    return IBV_WC_SEND;
}

bool is_send(Opcode opcode) {
    return opcode == Opcode::kSend || opcode == Opcode::kSendImm;
}

bool is_write(Opcode opcode) {
    return opcode == Opcode::kWrite || opcode == Opcode::kWriteImm;
}

bool is_atomic(Opcode opcode) {
    return opcode == Opcode::kCompareSwap || opcode == Opcode::kFetchAdd;
}

bool carries_immediate(Opcode opcode) {
    return opcode == Opcode::kSendImm || opcode == Opcode::kWriteImm;
}

bool consumes_receive(Opcode opcode) {
    return is_send(opcode) || opcode == Opcode::kWriteImm;
}

}  // namespace vrdma::verify
