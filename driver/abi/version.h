/* The version of the contract between a vRDMA driver (a tenant's process or its guest kernel) and a
 * vRDMA device (the service). Everything in driver/abi is little-endian, the same on every
 * attachment, and described for implementers in docs/device.md.
 *
 * A change that an old peer cannot ignore raises the major number. A change that it can ignore is a
 * feature bit. OPEN negotiates: the device accepts exactly its own major version and answers with
 * the intersection of the feature bits.
 */
#pragma once

#include <stdint.h>

#if defined(__cplusplus)
#define VRDMA_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define VRDMA_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

enum {
    VRDMA_ABI_MAJOR = 1,
    VRDMA_ABI_MINOR = 0,
};

/* Feature bits, negotiated by OPEN. */
#define VRDMA_FEATURE_PROCESS_MEMORY (UINT64_C(1) << 0) /* regions of kind PROCESS are accepted */
#define VRDMA_FEATURE_PEER_DEATH (UINT64_C(1) << 1)     /* a dead peer is reported at once */
#define VRDMA_FEATURE_USERFAULT (UINT64_C(1) << 2)      /* OPEN hands over /dev/userfaultfd */
#define VRDMA_FEATURE_MEMORY_WINDOWS (UINT64_C(1) << 3) /* ALLOC_MW, BIND_MW, *_INV */
#define VRDMA_FEATURE_TIMESTAMPS (UINT64_C(1) << 4)     /* VRDMA_CQ_TIMESTAMPS, QUERY_CLOCK */
#define VRDMA_FEATURE_XRC (UINT64_C(1) << 8)            /* *_XRCD, *_XRC_*, VRDMA_QPT_XRC_SEND */
#define VRDMA_FEATURE_MULTICAST (UINT64_C(1) << 9)      /* ATTACH_MCAST, DETACH_MCAST */
