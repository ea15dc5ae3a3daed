// The texts that `vrdmactl counters`, /metrics and docs/operations.md share. Every counter and
// every reason has one; a test compares them with the documentation.
#include "dataplane/device/counters.h"

namespace vrdma {

CounterText counter_text(Counter counter) {
    switch (counter) {
        case Counter::SendOperations:
            return {"send_operations", "messages sent with SEND"};
        case Counter::SendBytes:
            return {"send_bytes", "bytes sent with SEND"};
        case Counter::ReceiveOperations:
            return {"receive_operations", "messages received"};
        case Counter::ReceiveBytes:
            return {"receive_bytes", "bytes received into receive entries"};
        case Counter::WriteOperations:
            return {"write_operations", "RDMA WRITEs done"};
        case Counter::WriteBytes:
            return {"write_bytes", "bytes written with RDMA WRITE"};
        case Counter::ReadOperations:
            return {"read_operations", "RDMA READs done"};
        case Counter::ReadBytes:
            return {"read_bytes", "bytes read with RDMA READ"};
        case Counter::AtomicOperations:
            return {"atomic_operations", "atomics done"};
        case Counter::CompletionsWritten:
            return {"completions_written", "completion queue entries"};
        case Counter::CompletionEvents:
            return {"completion_events", "events on completion channels"};
        case Counter::CompletionEventsDelayed:
            return {"completion_events_delayed", "completion channel was full; sent later"};
        case Counter::AsyncEvents:
            return {"async_events", "asynchronous events"};
        case Counter::AsyncEventsLost:
            return {"async_events_lost",
                    "event socket was full: the tenant does not read its events"};
        case Counter::Flushed:
            return {"flushed", "entries flushed from queues in the error state"};
        case Counter::RnrSent:
            return {"rnr_sent", "answered: receiver not ready"};
        case Counter::RnrRetries:
            return {"rnr_retries", "sends repeated after receiver not ready"};
        case Counter::TransportRetries:
            return {"transport_retries", "requests repeated because the peer did not answer"};
        case Counter::CqOverflows:
            return {"cq_overflows", "completion queues that overflowed"};
        case Counter::QpErrors:
            return {"qp_errors", "queue pairs that went to the error state"};
        case Counter::PeersLost:
            return {"peers_lost", "queue pairs told that their peer died"};
        case Counter::UdDroppedNoQp:
            return {"ud_dropped_no_qp", "UD: no such queue pair, or it cannot receive"};
        case Counter::UdDroppedQkey:
            return {"ud_dropped_qkey", "UD: wrong Q_Key"};
        case Counter::UdDroppedNoReceive:
            return {"ud_dropped_no_receive", "UD: no receive posted"};
        case Counter::UdDroppedLength:
            return {"ud_dropped_length", "UD: longer than the receive entry"};
        case Counter::UdDroppedMemory:
            return {"ud_dropped_memory", "UD: the receive entry's memory was refused"};
        case Counter::UcDroppedNoQp:
            return {"uc_dropped_no_qp", "UC: no such queue pair, or not connected back"};
        case Counter::UcDroppedNoReceive:
            return {"uc_dropped_no_receive", "UC: no receive posted"};
        case Counter::UcDroppedAccess:
            return {"uc_dropped_access", "UC: remote access refused"};
        case Counter::UcDroppedLength:
            return {"uc_dropped_length", "UC: longer than the receive entry"};
        case Counter::UcDroppedMemory:
            return {"uc_dropped_memory", "UC: the receiver's memory was refused"};
        case Counter::RcDroppedNotConnected:
            return {"rc_dropped_not_connected",
                    "RC: request for a queue pair that is absent or not connected to the sender"};
        case Counter::XrcSrqRefused:
            return {"xrc_srq_refused",
                    "XRC: request that names no SRQ of the target's domain; the target failed"};
        case Counter::WireDroppedNoQp:
            return {
                "wire_dropped_no_qp",
                "packets from other hosts for a queue pair that is absent or not connected there"};
        case Counter::WireDroppedNotPeer:
            return {"wire_dropped_not_peer",
                    "packets from a host that the queue pair is not connected to"};
        case Counter::WireDroppedService:
            return {"wire_dropped_service", "packets of another service than the queue pair's"};
        case Counter::WireDroppedState:
            return {"wire_dropped_state",
                    "packets for a queue pair that is not ready to receive, or failed"};
        case Counter::WireProbesIgnored:
            return {"wire_probes_ignored",
                    "questions and answers about what a host speaks that nobody here waits for"};
        case Counter::Kicks:
            return {"kicks", "contexts woken by their doorbell's eventfd"};
        case Counter::CommandsExecuted:
            return {"commands_executed", "commands done"};
        case Counter::CommandsRejected:
            return {"commands_rejected", "commands refused"};
        case Counter::MadsReceived:
            return {"mads_received", "management datagrams from other hosts"};
        case Counter::MadsSent:
            return {"mads_sent", "management datagrams to other hosts"};
        case Counter::MadsUnsent:
            return {"mads_unsent", "management datagrams for which there was no way or no room"};
        case Counter::MadDroppedOpcode:
            return {"mad_dropped_opcode", "to queue pair 1: not a datagram of one packet"};
        case Counter::MadDroppedQkey:
            return {"mad_dropped_qkey", "to queue pair 1: not its Q_Key"};
        case Counter::MadDroppedSource:
            return {"mad_dropped_source", "to queue pair 1: from another one than 1"};
        case Counter::MadDroppedLength:
            return {"mad_dropped_length", "to queue pair 1: not 256 bytes"};
        case Counter::MadDroppedFull:
            return {"mad_dropped_full",
                    "to queue pair 1: connection management was too slow to take them"};
        case Counter::MadDroppedTenant:
            return {"mad_dropped_tenant", "datagrams of programs for a queue pair 1"};
        case Counter::Count:
            break;
    }
    return {"unknown", ""};
}

CounterText reason_text(vrdma_reason reason) {
    switch (reason) {
        case VRDMA_REASON_NONE:
            return {"none", "no failure"};
        case VRDMA_REASON_WQE_OPCODE:
            return {"wqe_opcode", "operation unknown or not possible on this queue pair type"};
        case VRDMA_REASON_WQE_FLAGS:
            return {"wqe_flags", "unknown flag or reserved field"};
        case VRDMA_REASON_WQE_SGE_COUNT:
            return {"wqe_sge_count", "more SGEs than the queue pair has"};
        case VRDMA_REASON_WQE_INLINE:
            return {"wqe_inline", "inline data too long or not allowed"};
        case VRDMA_REASON_WQE_LENGTH:
            return {"wqe_length", "message too long"};
        case VRDMA_REASON_WQE_ATOMIC_SGE:
            return {"wqe_atomic_sge", "an atomic needs exactly one SGE of 8 bytes"};
        case VRDMA_REASON_SQ_INDEX:
            return {"sq_index", "send producer index beyond the ring"};
        case VRDMA_REASON_RQ_INDEX:
            return {"rq_index", "receive producer index beyond the ring"};
        case VRDMA_REASON_RD_ATOMIC:
            return {"rd_atomic", "READ or atomic with max_rd_atomic 0"};
        case VRDMA_REASON_MW_KEY:
            return {"mw_key", "bind or invalidate: no window that allows it"};
        case VRDMA_REASON_LKEY_UNKNOWN:
            return {"lkey_unknown", "lkey names no memory region"};
        case VRDMA_REASON_LKEY_PD:
            return {"lkey_pd", "lkey of another protection domain"};
        case VRDMA_REASON_LKEY_RANGE:
            return {"lkey_range", "local access outside the memory region"};
        case VRDMA_REASON_LKEY_ACCESS:
            return {"lkey_access", "memory region is not LOCAL_WRITE"};
        case VRDMA_REASON_LOCAL_MEMORY:
            return {"local_memory", "the memory behind the local region is gone"};
        case VRDMA_REASON_RECV_LKEY:
            return {"recv_lkey", "a receive entry's memory was refused"};
        case VRDMA_REASON_RECV_LENGTH:
            return {"recv_length", "message longer than the receive entry"};
        case VRDMA_REASON_RECV_SGE_COUNT:
            return {"recv_sge_count", "receive entry with more SGEs than its queue has"};
        case VRDMA_REASON_RKEY_UNKNOWN:
            return {"rkey_unknown", "rkey names no memory region"};
        case VRDMA_REASON_RKEY_PD:
            return {"rkey_pd", "rkey of another protection domain"};
        case VRDMA_REASON_RKEY_RANGE:
            return {"rkey_range", "remote access outside the memory region"};
        case VRDMA_REASON_RKEY_ACCESS:
            return {"rkey_access", "memory region does not allow this remote access"};
        case VRDMA_REASON_QP_ACCESS:
            return {"qp_access", "the remote queue pair does not enable this operation"};
        case VRDMA_REASON_ATOMIC_ALIGNMENT:
            return {"atomic_alignment", "atomic on an address that is not a multiple of 8"};
        case VRDMA_REASON_REMOTE_MEMORY:
            return {"remote_memory", "the memory behind the remote region is gone"};
        case VRDMA_REASON_REMOTE_OPCODE:
            return {"remote_opcode", "operation not possible on the remote queue pair"};
        case VRDMA_REASON_REMOTE_RECV_LENGTH:
            return {"remote_recv_length", "longer than the peer's receive entry"};
        case VRDMA_REASON_REMOTE_RECV:
            return {"remote_recv", "the peer's receive entry could not be used"};
        case VRDMA_REASON_RKEY_QP:
            return {"rkey_qp", "memory window of another queue pair"};
        case VRDMA_REASON_XRC_SRQ:
            return {"xrc_srq", "no SRQ of the remote XRC domain has this number"};
        case VRDMA_REASON_PEER_UNREACHABLE:
            return {"peer_unreachable", "no such address in this network"};
        case VRDMA_REASON_PEER_SILENT:
            return {"peer_silent", "the peer's queue pair does not answer"};
        case VRDMA_REASON_PEER_DEAD:
            return {"peer_dead", "the peer's process died"};
        case VRDMA_REASON_RNR:
            return {"rnr", "receiver not ready, retries used up"};
        case VRDMA_REASON_FLUSHED:
            return {"flushed", "queue pair is in the error state"};
        case VRDMA_REASON_CQ_OVERFLOW:
            return {"cq_overflow", "its completion queue overflowed"};
        case VRDMA_REASON_DEVICE_FATAL:
            return {"device_fatal", "the service is gone"};
        case VRDMA_REASON_SRQ_ERROR:
            return {"srq_error", "its shared receive queue is broken"};
        case VRDMA_REASON_MODIFIED:
            return {"modified", "moved to the error state by the program"};
        case VRDMA_REASON_COUNT:
            break;
    }
    return {"unknown", ""};
}

}  // namespace vrdma
