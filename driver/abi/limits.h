/* Bounds of the contract. A device may announce smaller ones in OPEN, never larger ones. */
#pragma once

#include "driver/abi/version.h"

enum {
    VRDMA_MAX_QPS_PER_CONTEXT = 32768, /* = doorbell bits of one context */
    VRDMA_MAX_QUEUE_ENTRIES = 32768,   /* SQ, RQ, SRQ depth; a power of two */
    VRDMA_MAX_CQ_ENTRIES = 4194304,    /* CQ depth; a power of two */
    VRDMA_MAX_SGE = 32,
    VRDMA_MAX_INLINE = 512,          /* bytes */
    VRDMA_MAX_RD_ATOMIC = 16,        /* what a queue pair keeps for repeated READs and atomics */
    VRDMA_MAX_RANGES_PER_MR = 1024,  /* contiguous pieces of one memory region */
    VRDMA_MAX_MESSAGE_BYTES = 65536, /* one command or response on the attach socket */
    VRDMA_MAX_FDS_PER_MESSAGE = 4,
    VRDMA_GID_TABLE_LENGTH = 4,
    VRDMA_MAX_MCAST_GROUPS = 256,       /* that the queue pairs of one vNIC are attached to */
    VRDMA_MAX_MCAST_QPS = 64,           /* of one vNIC, attached to one group */
    VRDMA_MAX_MCAST_ATTACHMENTS = 1024, /* of one vNIC */
    VRDMA_PAGE_BYTES = 4096,
};

#define VRDMA_MAX_TRANSFER_BYTES (UINT32_C(1) << 31) /* one message, as in InfiniBand (IBA 9.2) */

VRDMA_STATIC_ASSERT((VRDMA_MAX_QUEUE_ENTRIES & (VRDMA_MAX_QUEUE_ENTRIES - 1)) == 0, "power of two");
VRDMA_STATIC_ASSERT((VRDMA_MAX_CQ_ENTRIES & (VRDMA_MAX_CQ_ENTRIES - 1)) == 0, "power of two");
