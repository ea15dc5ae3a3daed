/* Work-queue entries. The device copies an entry once, then validates the copy; reserved fields
 * must be zero. Immediate data is carried opaquely in the byte order the program gave it.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

enum vrdma_wqe_opcode {
    VRDMA_WQE_SEND = 1,
    VRDMA_WQE_SEND_WITH_IMM = 2,
    VRDMA_WQE_RDMA_WRITE = 3,
    VRDMA_WQE_RDMA_WRITE_WITH_IMM = 4,
    VRDMA_WQE_RDMA_READ = 5,
    VRDMA_WQE_ATOMIC_CMP_AND_SWP = 6,
    VRDMA_WQE_ATOMIC_FETCH_AND_ADD = 7,
    /* With VRDMA_FEATURE_MEMORY_WINDOWS: */
    VRDMA_WQE_SEND_WITH_INV = 8, /* rkey: of a window of the receiver */
    VRDMA_WQE_BIND_MW = 9,
    VRDMA_WQE_LOCAL_INV = 10, /* rkey: of a window of our own */
};

enum {
    VRDMA_WQE_SIGNALED = 1 << 0,
    VRDMA_WQE_SOLICITED = 1 << 1,
    VRDMA_WQE_FENCE = 1 << 2,
    VRDMA_WQE_INLINE = 1 << 3,
    VRDMA_WQE_FLAGS_MASK = 0xf,
};

struct vrdma_sge {
    uint64_t address; /* tenant virtual address (iova of the MR) */
    uint32_t length;  /* bytes */
    uint32_t lkey;
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_sge) == 16, "size");

/* One send entry. Its data segment (scatter/gather list, or inline bytes) begins at
 * VRDMA_WQE_DATA_OFFSET_*: by opcode for RC and UC, always the UD one on a UD queue pair and on an
 * XRC initiator. */
struct vrdma_send_wqe {
    uint8_t opcode; /* enum vrdma_wqe_opcode */
    uint8_t flags;
    uint8_t sge_count;
    uint8_t reserved0;
    uint32_t imm_data;
    uint64_t wr_id;
    union {
        uint64_t remote_address; /* RDMA and atomics; BIND_MW: the window's first byte in the MR */
        struct {
            uint32_t remote_qpn;
            uint32_t remote_qkey;
        } ud;
    };
    uint32_t rkey;          /* RDMA, atomics, *_INV; BIND_MW: the window; zero otherwise */
    uint32_t inline_length; /* bytes of inline data, zero without VRDMA_WQE_INLINE */
    union {
        struct {
            uint64_t compare_add; /* CMP_AND_SWP: compare; FETCH_AND_ADD: add */
            uint64_t swap;
            struct vrdma_sge result;
        } atomic;
        struct {
            uint8_t remote_gid[16];
            uint32_t flow_label;
            uint8_t sgid_index;
            uint8_t hop_limit;
            uint8_t traffic_class;
            uint8_t sl;
            uint64_t reserved;
        } ud_address;
        struct {
            uint64_t length; /* of the window in bytes; 0 takes the access away */
            uint32_t lkey;   /* of the MR; without meaning when length is 0 */
            uint32_t rkey;   /* that gives access from now on; the window's upper 24 bits */
            uint32_t access; /* VRDMA_ACCESS_REMOTE_*, VRDMA_ACCESS_ZERO_BASED */
            uint32_t reserved[3];
        } bind;
        struct {
            uint64_t compare_add; /* as in `atomic` */
            uint64_t swap;
            uint32_t remote_srqn; /* 24 bits */
            uint32_t reserved[3];
        } xrc;
        struct vrdma_sge sge[2];
        uint8_t inline_data[32];
    };
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_send_wqe) == 64, "one cache line");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, wr_id) == 8, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, remote_address) == 16, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, rkey) == 24, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, sge) == 32, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, atomic.result) == 48, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, ud_address.flow_label) == 48, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, bind.access) == 48, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_send_wqe, xrc.remote_srqn) == 48, "layout");

enum {
    VRDMA_WQE_DATA_OFFSET = 32,        /* SEND, RDMA_* on RC and UC */
    VRDMA_WQE_DATA_OFFSET_ATOMIC = 48, /* exactly one SGE */
    VRDMA_WQE_DATA_OFFSET_UD = 64,
    VRDMA_SEND_WQE_ALIGN = 64,
    VRDMA_RECV_WQE_ALIGN = 32,
};

struct vrdma_recv_wqe {
    uint64_t wr_id;
    uint8_t sge_count;
    uint8_t reserved[7];
    /* struct vrdma_sge sge[] follows */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_recv_wqe) == 16, "size");

/* Stride of a send ring: bytes of one slot. data_bytes = max(16 * max_sge, max_inline). An XRC
 * initiator's is that of UD. */
static inline uint32_t vrdma_send_stride(uint32_t is_ud, uint32_t max_sge, uint32_t max_inline) {
    const uint32_t sge_bytes = max_sge * 16u;
    const uint32_t data_bytes = sge_bytes > max_inline ? sge_bytes : max_inline;
    const uint32_t offset =
        is_ud != 0 ? (uint32_t)VRDMA_WQE_DATA_OFFSET_UD : (uint32_t)VRDMA_WQE_DATA_OFFSET;
    const uint32_t align = (uint32_t)VRDMA_SEND_WQE_ALIGN;
    const uint32_t bytes = (offset + data_bytes + align - 1u) / align * align;
    return bytes;
}

/* Stride of a receive ring (queue pair or shared). */
static inline uint32_t vrdma_recv_stride(uint32_t max_sge) {
    const uint32_t align = (uint32_t)VRDMA_RECV_WQE_ALIGN;
    return (16u + max_sge * 16u + align - 1u) / align * align;
}
