/* How the device says no.
 *
 * Status: the answer of a command. The driver maps it to an errno, in one place
 * (vrdma_status_errno), as hardware drivers do. Reason: why a work request or a queue failed; it
 * travels as vendor_err of the completion and names a counter (docs/operations.md).
 */
#pragma once

#include <errno.h>

#include "driver/abi/version.h"

enum vrdma_status {
    VRDMA_STATUS_OK = 0,
    VRDMA_STATUS_INVALID = 1,     /* an argument is out of range or inconsistent */
    VRDMA_STATUS_NOT_FOUND = 2,   /* a handle names nothing of this context */
    VRDMA_STATUS_BUSY = 3,        /* the object is still in use */
    VRDMA_STATUS_NO_RESOURCE = 4, /* a pool or a quota is exhausted; nothing was changed */
    VRDMA_STATUS_NO_ACCESS = 5,   /* the memory does not allow what was asked for */
    VRDMA_STATUS_UNSUPPORTED = 6, /* this device does not do that */
    VRDMA_STATUS_VERSION = 7,     /* the major versions differ */
    VRDMA_STATUS_STATE = 8,       /* not allowed in the object's present state */
    VRDMA_STATUS_FATAL = 9,       /* the device is gone */
    VRDMA_STATUS_TRY_AGAIN = 10,  /* what was to be opened does not exist yet (OPEN_XRCD) */
};

static inline int vrdma_status_errno(uint32_t status) {
    switch (status) {
        case VRDMA_STATUS_OK:
            return 0;
        case VRDMA_STATUS_NOT_FOUND:
            return EINVAL;
        case VRDMA_STATUS_BUSY:
            return EBUSY;
        case VRDMA_STATUS_NO_RESOURCE:
            return ENOMEM;
        case VRDMA_STATUS_NO_ACCESS:
            return EFAULT;
        case VRDMA_STATUS_UNSUPPORTED:
            return EOPNOTSUPP;
        case VRDMA_STATUS_VERSION:
            return EPROTO;
        case VRDMA_STATUS_FATAL:
            return EIO;
        case VRDMA_STATUS_TRY_AGAIN:
            return EAGAIN;
        default:
            return EINVAL;
    }
}

/* Why a work request failed. 0 = it did not. */
enum vrdma_reason {
    VRDMA_REASON_NONE = 0,
    /* found by the requester in the entry itself */
    VRDMA_REASON_WQE_OPCODE = 1,     /* opcode unknown or not allowed on this queue pair type */
    VRDMA_REASON_WQE_FLAGS = 2,      /* unknown flag or reserved field not zero */
    VRDMA_REASON_WQE_SGE_COUNT = 3,  /* more SGEs than the queue pair has */
    VRDMA_REASON_WQE_INLINE = 4,     /* inline longer than the queue pair allows, or not allowed */
    VRDMA_REASON_WQE_LENGTH = 5,     /* message longer than the port or the type allows */
    VRDMA_REASON_WQE_ATOMIC_SGE = 6, /* atomics need one SGE of 8 bytes */
    VRDMA_REASON_SQ_INDEX = 7,       /* producer index beyond the ring */
    VRDMA_REASON_RQ_INDEX = 8,
    VRDMA_REASON_RD_ATOMIC = 9, /* READ or atomic with max_rd_atomic 0 */
    VRDMA_REASON_MW_KEY = 10,   /* bind or local invalidate: the key is no window that allows it */
    /* local memory */
    VRDMA_REASON_LKEY_UNKNOWN = 16,
    VRDMA_REASON_LKEY_PD = 17,
    VRDMA_REASON_LKEY_RANGE = 18,
    VRDMA_REASON_LKEY_ACCESS = 19,
    VRDMA_REASON_LOCAL_MEMORY = 20, /* the memory behind the MR is gone */
    VRDMA_REASON_RECV_LKEY = 21,    /* a receive entry's memory was refused */
    VRDMA_REASON_RECV_LENGTH = 22,  /* message longer than the receive entry */
    VRDMA_REASON_RECV_SGE_COUNT = 23,
    /* found by the responder */
    VRDMA_REASON_RKEY_UNKNOWN = 32,
    VRDMA_REASON_RKEY_PD = 33,
    VRDMA_REASON_RKEY_RANGE = 34,
    VRDMA_REASON_RKEY_ACCESS = 35,
    VRDMA_REASON_QP_ACCESS = 36, /* the responder queue pair does not enable the operation */
    VRDMA_REASON_ATOMIC_ALIGNMENT = 37,
    VRDMA_REASON_REMOTE_MEMORY = 38,
    VRDMA_REASON_REMOTE_OPCODE = 39,      /* operation not valid on the responder's type */
    VRDMA_REASON_REMOTE_RECV_LENGTH = 40, /* the responder's receive entry is too short */
    VRDMA_REASON_REMOTE_RECV = 41,        /* the responder's receive entry could not be used */
    VRDMA_REASON_RKEY_QP = 42, /* the window works through another queue pair of the responder */
    VRDMA_REASON_XRC_SRQ = 43, /* no SRQ of the target's domain has this number */
    /* the way there */
    VRDMA_REASON_PEER_UNREACHABLE = 48, /* no such address in this network */
    VRDMA_REASON_PEER_SILENT = 49,      /* address known, no queue pair that answers */
    VRDMA_REASON_PEER_DEAD = 50,        /* the peer's process died */
    VRDMA_REASON_RNR = 51,              /* receiver not ready, retries used up */
    /* the queue pair */
    VRDMA_REASON_FLUSHED = 64,
    VRDMA_REASON_CQ_OVERFLOW = 65,
    VRDMA_REASON_DEVICE_FATAL = 66,
    VRDMA_REASON_SRQ_ERROR = 67,
    VRDMA_REASON_MODIFIED = 68, /* the program moved the queue pair to the error state */
    VRDMA_REASON_COUNT = 69,
};
