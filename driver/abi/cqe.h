/* Completion-queue entries, written by the device only. An entry with index i (free-running) is
 * valid once sequence == i + 1: the device writes that field last, with release.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

/* Work completion status: the values of enum ibv_wc_status (IBA 11.6.2). */
enum vrdma_wc_status {
    VRDMA_WC_SUCCESS = 0,
    VRDMA_WC_LOC_LEN_ERR = 1,
    VRDMA_WC_LOC_QP_OP_ERR = 2,
    VRDMA_WC_LOC_PROT_ERR = 4,
    VRDMA_WC_WR_FLUSH_ERR = 5,
    VRDMA_WC_MW_BIND_ERR = 6,
    VRDMA_WC_LOC_ACCESS_ERR = 8,
    VRDMA_WC_REM_INV_REQ_ERR = 9,
    VRDMA_WC_REM_ACCESS_ERR = 10,
    VRDMA_WC_REM_OP_ERR = 11,
    VRDMA_WC_RETRY_EXC_ERR = 12,
    VRDMA_WC_RNR_RETRY_EXC_ERR = 13,
    VRDMA_WC_FATAL_ERR = 19,
    VRDMA_WC_GENERAL_ERR = 21,
};

/* Operation that completed: the values of enum ibv_wc_opcode. */
enum vrdma_wc_opcode {
    VRDMA_WC_SEND = 0,
    VRDMA_WC_RDMA_WRITE = 1,
    VRDMA_WC_RDMA_READ = 2,
    VRDMA_WC_COMP_SWAP = 3,
    VRDMA_WC_FETCH_ADD = 4,
    VRDMA_WC_BIND_MW = 5,
    VRDMA_WC_LOCAL_INV = 6,
    VRDMA_WC_RECV = 128,
    VRDMA_WC_RECV_RDMA_WITH_IMM = 129,
};

enum {
    VRDMA_CQE_WITH_IMM = 1 << 0,  /* imm_data is valid */
    VRDMA_CQE_GRH = 1 << 1,       /* the first 40 bytes of the buffer are the GRH area (UD) */
    VRDMA_CQE_SRQ = 1 << 2,       /* the receive came from a shared receive queue */
    VRDMA_CQE_IPV4 = 1 << 3,      /* what the GRH area ends with is an IPv4 header, not IPv6 */
    VRDMA_CQE_SOLICITED = 1 << 4, /* the sender asked for an event of this one */
    VRDMA_CQE_WITH_INV = 1 << 5,  /* imm_data is the rkey that the sender invalidated */
};

struct vrdma_cqe {
    uint64_t wr_id;
    uint32_t byte_len;
    uint32_t imm_data;
    uint32_t qpn;
    /* Receive on UD: the sender's QPN. Send: free-running index of the completed send entry, which
     * also says that every earlier one is complete. */
    uint32_t src_qpn_or_index;
    uint8_t status;     /* enum vrdma_wc_status */
    uint8_t opcode;     /* enum vrdma_wc_opcode */
    uint8_t flags;      /* VRDMA_CQE_* */
    uint8_t vendor_err; /* enum vrdma_reason: why, when status is not success */
    uint32_t sequence;
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cqe) == 32, "half a cache line");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cqe, status) == 24, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cqe, sequence) == 28, "layout");
