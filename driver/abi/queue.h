/* Queue memory: what stands where in the memory a tenant gives to a queue.
 *
 * A queue pair, a completion queue and a shared receive queue each take one contiguous block of a
 * region, aligned to 64 bytes: a header, then the ring or rings. All indices are free-running
 * 32-bit counters of entries; the slot is index & (entries - 1). Fields of one cache line have one
 * writer.
 *
 *   queue pair:   vrdma_qp_header | send ring (sq_entries * sq_stride) | receive ring (rq_entries *
 * rq_stride) CQ:           vrdma_cq_header | ring (entries * sizeof(vrdma_cqe)) SRQ:
 * vrdma_srq_header | ring (entries * stride)
 *
 * A CQ with VRDMA_CQ_TIMESTAMPS has behind its ring one uint64_t for each entry, by slot: when the
 * entry was written, in nanoseconds of the clock of QUERY_CLOCK. Valid as the entry is.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

struct vrdma_qp_header {
    /* Tenant: entries posted to the send queue, release store after the entries. */
    uint32_t sq_producer;
    uint32_t reserved0[15];
    /* Tenant: entries posted to the receive queue. */
    uint32_t rq_producer;
    uint32_t reserved1[15];
    /* Device: 1 once the queue pair is in the error state. A tenant that posts a receive fences and
     * reads it; when it is 1, the tenant rings the doorbell so that the entry is flushed. */
    uint32_t in_error;
    uint32_t sq_consumer; /* device: send entries taken, for tools */
    uint32_t rq_consumer; /* device: receive entries taken, for tools */
    uint32_t reserved2[13];
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_qp_header) == 192, "three cache lines");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_qp_header, rq_producer) == 64, "one writer a line");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_qp_header, in_error) == 128, "one writer a line");

/* Values of vrdma_cq_header.arm, bits 0-1; bits 2-31 count arms so that a re-arm is seen. */
enum {
    VRDMA_ARM_NONE = 0,
    VRDMA_ARM_NEXT = 1,      /* event at the next completion */
    VRDMA_ARM_SOLICITED = 2, /* event at the next solicited or failed completion */
    VRDMA_ARM_TYPE_MASK = 3,
    VRDMA_ARM_COUNT_SHIFT = 2,
};

struct vrdma_cq_header {
    /* Tenant: completions consumed. The device only uses it to notice an overflow. */
    uint32_t consumer;
    uint32_t reserved0[15];
    /* Tenant: (count << 2) | type. One event is sent for each value; store, fence, then poll. */
    uint32_t arm;
    uint32_t reserved1[15];
    /* Device: 1 once the queue has overflowed and is dead. */
    uint32_t in_error;
    uint32_t producer; /* device: completions written, for tools */
    /* Device: completion events sent (accepted by the channel's socket), final before DESTROY_CQ is
     * answered: a driver waits until the program has acknowledged that many. */
    uint32_t events;
    uint32_t reserved2[13];
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cq_header) == 192, "three cache lines");

struct vrdma_srq_header {
    /* Tenant: entries posted. */
    uint32_t producer;
    uint32_t reserved0[15];
    /* Device: entries taken; their slots may be used again. */
    uint32_t consumer;
    uint32_t reserved1[15];
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_srq_header) == 128, "two cache lines");
