/* The doorbell pages: how a tenant tells the device that a queue pair has work.
 *
 * One per context, in memory that the tenant shares at OPEN, and never shared between contexts, so
 * a hostile tenant can only set its own bits. A two-level bitmap: bit q % 64 of leaf[q / 64] says
 * that queue pair q (its doorbell index, given by CREATE_QP) has new work; bit w % 64 of
 * summary[w / 64] says that leaf[w] is not empty. Setting a bit twice is harmless, nothing can
 * overflow.
 *
 * To ring (after the release store of the producer index):
 *     fetch_or(leaf[q / 64], bit)                       -- full fence
 *     if (!(summary[w / 64] & bit)) fetch_or(summary[w / 64], bit)
 *     if (need_kick && exchange(need_kick, 0)) write(kick_fd, 1)
 * The device takes the summary first and a leaf after it, both by exchange with zero. It sets
 * need_kick to 1, fences and scans once more before it stops looking at this context.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

enum {
    VRDMA_DOORBELL_LEAF_WORDS = VRDMA_MAX_QPS_PER_CONTEXT / 64,
    VRDMA_DOORBELL_SUMMARY_WORDS = VRDMA_DOORBELL_LEAF_WORDS / 64,
};

struct vrdma_doorbell {
    /* Written by both: the device arms it (1), the tenant takes it (0) and writes the kick eventfd.
     */
    uint32_t need_kick;
    uint32_t reserved0[15];
    uint64_t summary[VRDMA_DOORBELL_SUMMARY_WORDS];
    uint8_t reserved1[4096 - 64 - 8 * VRDMA_DOORBELL_SUMMARY_WORDS];
    uint64_t leaf[VRDMA_DOORBELL_LEAF_WORDS];
};

VRDMA_STATIC_ASSERT(offsetof(struct vrdma_doorbell, summary) == 64, "its own cache line");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_doorbell, leaf) == 4096, "its own page");
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_doorbell) == 8192, "two pages");
