// Why a work request failed, in the operator's words.
//
// The device reports a number (vendor_err of the completion). Whoever is called at night has the
// number and the queue pair, not the source, so the API and vrdmactl give the sentence and the next
// step with it. The switch has no default: a reason added to the contract does not compile until it
// has its text here and its row in docs/operations.md.

#include "dataplane/control/reason.h"

#include "driver/abi/status.h"

namespace vrdma::control {
namespace {

constexpr std::string_view kFixProgram = "a bug of the program: look at the work request it posted";

ReasonText text_of(vrdma_reason reason) {
    switch (reason) {
        case VRDMA_REASON_NONE:
            return {"none", "no work request of this queue pair failed", ""};
        case VRDMA_REASON_WQE_OPCODE:
            return {"wqe_opcode",
                    "the operation is unknown or not allowed on this type of queue pair",
                    kFixProgram};
        case VRDMA_REASON_WQE_FLAGS:
            return {"wqe_flags", "the work request has an unknown flag or a reserved field set",
                    "check that provider and service are of the same release"};
        case VRDMA_REASON_WQE_SGE_COUNT:
            return {"wqe_sge_count",
                    "the work request has more SGEs than the queue pair was created with",
                    kFixProgram};
        case VRDMA_REASON_WQE_INLINE:
            return {"wqe_inline",
                    "inline data is longer than the queue pair allows, or not allowed",
                    kFixProgram};
        case VRDMA_REASON_WQE_LENGTH:
            return {"wqe_length",
                    "the message is longer than the port or the type of queue pair allows",
                    kFixProgram};
        case VRDMA_REASON_WQE_ATOMIC_SGE:
            return {"wqe_atomic_sge", "an atomic operation needs exactly one SGE of 8 bytes",
                    kFixProgram};
        case VRDMA_REASON_SQ_INDEX:
            return {"sq_index", "the send queue's producer index lies beyond the ring",
                    "the program corrupted its queue memory: look for stray writes"};
        case VRDMA_REASON_RQ_INDEX:
            return {"rq_index", "the receive queue's producer index lies beyond the ring",
                    "the program corrupted its queue memory: look for stray writes"};
        case VRDMA_REASON_RD_ATOMIC:
            return {"rd_atomic", "a READ or atomic was posted with max_rd_atomic 0",
                    "set max_rd_atomic when modifying the queue pair to RTS"};
        case VRDMA_REASON_MW_KEY:
            return {"mw_key", "a bind or local invalidate names no memory window that allows it",
                    "invalidate a type 2 window before it is bound again; keep window, region "
                    "and queue pair in one protection domain"};
        case VRDMA_REASON_LKEY_UNKNOWN:
            return {"lkey_unknown", "an lkey names no memory region of the sender",
                    "the region was deregistered too early, or the key is wrong"};
        case VRDMA_REASON_LKEY_PD:
            return {"lkey_pd", "an lkey belongs to another protection domain",
                    "register the memory in the queue pair's own protection domain"};
        case VRDMA_REASON_LKEY_RANGE:
            return {"lkey_range", "an SGE reaches outside its memory region", kFixProgram};
        case VRDMA_REASON_LKEY_ACCESS:
            return {"lkey_access", "the memory region lacks local write access",
                    "register it with IBV_ACCESS_LOCAL_WRITE"};
        case VRDMA_REASON_LOCAL_MEMORY:
            return {"local_memory", "the memory behind a local region is gone",
                    "the program unmapped or truncated memory while it was registered"};
        case VRDMA_REASON_RECV_LKEY:
            return {"recv_lkey", "the memory of a receive request was refused",
                    "check lkey, range and local write access of the posted receive"};
        case VRDMA_REASON_RECV_LENGTH:
            return {"recv_length", "a message was longer than the posted receive",
                    "post larger receives, or let the peer send less"};
        case VRDMA_REASON_RECV_SGE_COUNT:
            return {"recv_sge_count",
                    "a receive request has more SGEs than its queue was created with", kFixProgram};
        case VRDMA_REASON_RKEY_UNKNOWN:
            return {"rkey_unknown", "an rkey names no memory region of the peer",
                    "the peer deregistered it, or the key was exchanged wrongly"};
        case VRDMA_REASON_RKEY_PD:
            return {"rkey_pd", "an rkey belongs to another protection domain of the peer",
                    "the peer must register the memory in its queue pair's protection domain"};
        case VRDMA_REASON_RKEY_RANGE:
            return {"rkey_range", "a remote access reaches outside the peer's memory region",
                    "check the remote address and length that were exchanged"};
        case VRDMA_REASON_RKEY_ACCESS:
            return {"rkey_access", "the peer's memory region does not allow this operation",
                    "the peer must register it with the remote access that is used"};
        case VRDMA_REASON_QP_ACCESS:
            return {"qp_access", "the peer's queue pair does not enable this operation",
                    "the peer must set qp_access_flags when modifying the queue pair"};
        case VRDMA_REASON_ATOMIC_ALIGNMENT:
            return {"atomic_alignment", "the remote address of an atomic is not a multiple of 8",
                    kFixProgram};
        case VRDMA_REASON_REMOTE_MEMORY:
            return {"remote_memory", "the memory behind the peer's region is gone",
                    "the peer unmapped or truncated memory while it was registered"};
        case VRDMA_REASON_REMOTE_OPCODE:
            return {"remote_opcode", "the operation is not valid on the peer's type of queue pair",
                    "connect queue pairs of one type"};
        case VRDMA_REASON_REMOTE_RECV_LENGTH:
            return {"remote_recv_length", "the peer's posted receive is too short for the message",
                    "the peer must post larger receives, or this side send less"};
        case VRDMA_REASON_REMOTE_RECV:
            return {"remote_recv", "the peer's posted receive could not be used",
                    "look at the last error of the peer's queue pair"};
        case VRDMA_REASON_RKEY_QP:
            return {"rkey_qp",
                    "a type 2 memory window works through another queue pair of the peer",
                    "the peer must bind the window on the queue pair that is connected here"};
        case VRDMA_REASON_XRC_SRQ:
            return {"xrc_srq", "no SRQ of the peer's XRC domain has the number that was named",
                    "check the exchange of SRQ numbers, and that the SRQ and the target queue pair "
                    "were made in one domain"};
        case VRDMA_REASON_PEER_UNREACHABLE:
            return {"peer_unreachable", "no vNIC of this network has the destination's address",
                    "check the destination GID, and that its vNIC exists and is up"};
        case VRDMA_REASON_PEER_SILENT:
            return {"peer_silent", "the destination exists, but no queue pair there answers",
                    "check the destination QPN, and that the peer's queue pair is in RTR or RTS"};
        case VRDMA_REASON_PEER_DEAD:
            return {"peer_dead", "the peer's process ended", "look at the peer"};
        case VRDMA_REASON_RNR:
            return {"rnr", "the peer posted no receive in time and the RNR retries are used up",
                    "the peer must post receives earlier; rnr_retry 7 waits without end"};
        case VRDMA_REASON_FLUSHED:
            return {"flushed", "the queue pair was in the error state when the request's turn came",
                    "look for the first completion that failed: it has the cause"};
        case VRDMA_REASON_CQ_OVERFLOW:
            return {"cq_overflow", "the completion queue was full",
                    "create it with room for all outstanding requests, or poll sooner"};
        case VRDMA_REASON_DEVICE_FATAL:
            return {"device_fatal", "the vNIC was removed or its process broke the contract",
                    "see the service's log; open the device again"};
        case VRDMA_REASON_SRQ_ERROR:
            return {"srq_error", "the shared receive queue is in error",
                    "look at the receive requests that were posted to it"};
        case VRDMA_REASON_MODIFIED:
            return {"modified", "the program moved the queue pair to the error state",
                    "none needed: this is how programs close connections"};
        case VRDMA_REASON_COUNT:
            break;
    }
    return {"unknown", "the service reports a reason that this release does not know",
            "check that all parts are of the same release"};
}

}  // namespace

ReasonText reason_text(std::uint32_t reason) {
    const bool known = reason < VRDMA_REASON_COUNT;
    return text_of(known ? static_cast<vrdma_reason>(reason) : VRDMA_REASON_COUNT);
}

}  // namespace vrdma::control
