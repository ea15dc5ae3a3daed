// The objects of a virtual device, as they stand in the arena, and beside each the pointers into
// tenant memory that a restart makes anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/time.h"
#include "dataplane/device/limits.h"
#include "driver/abi/command.h"
#include "driver/abi/cqe.h"
#include "driver/abi/doorbell.h"
#include "driver/abi/queue.h"
#include "driver/abi/status.h"
#include "driver/abi/wqe.h"

namespace vrdma {

inline constexpr uint32_t kNone = UINT32_MAX;

// A virtual NIC. Every shard has the whole table; the control thread keeps them alike.
struct Vnic {
    bool present;
    bool up;
    uint8_t active_mtu;  // enum ibv_mtu; the shard's to say (Shard::set_vnic)
    uint8_t reserved[1];
    uint32_t network;  // 24 bits
    uint32_t address;  // IPv4, host byte order
    uint32_t reserved1;
    uint64_t guid;
    std::array<vrdma_gid_entry, VRDMA_GID_TABLE_LENGTH> gids;
    vrdma_device_limits limits;  // what a context of this vNIC is told
};

// One attached driver.
struct Context {
    bool present;
    bool hot;       // its doorbells are polled
    bool closing;   // it said CLOSE: its end is orderly
    bool detached;  // its end has begun: nothing of it is polled any more
    uint32_t vnic;
    uint32_t objects;  // PDs, MRs, MWs, CQs, SRQs, QPs, channels, regions, XRC handles it still has
    // Slices of it that another shard is working on, in two rounds: what waits for them to come
    // back begins a new round and waits for the old one, however many begin meanwhile.
    std::array<uint32_t, 2> slices_in_flight;
    uint8_t slice_round;  // of slices that begin now
    bool draining;        // somebody waits for the other round
    Instant last_doorbell;
    uint32_t doorbells;      // bits that were ever used: [0, doorbells)
    uint32_t doorbell_hint;  // no free bit below
    uint32_t process_id;
    uint32_t reserved1;
    uint64_t features;
    char program[32];
    // Queue pair of each doorbell bit; allocated in the arena beside this (doorbell_slots()).
};
struct ContextRuntime {
    vrdma_doorbell* doorbell = nullptr;
    int event_file = -1;
};

struct Pd {
    bool present;
    uint8_t reserved[3];
    uint32_t context;
    uint32_t users;  // MRs, MWs, QPs, SRQs
};

struct Channel {
    bool present;
    uint8_t reserved[3];
    uint32_t context;
    uint32_t users;  // CQs
};
struct ChannelRuntime {
    int file = -1;
};

struct Cq {
    bool present;
    bool overflowed;
    bool dirty;      // on the list of CQs written in this turn
    bool solicited;  // one of the entries of this turn was solicited or failed
    uint32_t context;
    uint32_t mask;  // entries - 1
    uint32_t producer;
    uint32_t consumer_seen;  // the tenant's consumer when it was last read
    uint32_t arm_seen;       // the last arm that got its event
    uint32_t channel;        // kNone without
    uint32_t region;
    uint64_t cookie;
    uint32_t users;   // QPs, XRC SRQs
    uint32_t events;  // sent
    bool delayed;     // on the list of CQs whose event could not be sent yet
    bool moving;      // to another ring: entries [move_from, move_next) are there
    bool timestamps;  // each entry has one
    uint32_t move_from;
    uint32_t move_next;
    uint32_t failing;  // overflowed: doorbell bits below belong to queue pairs that failed already
};
struct CqRuntime {
    vrdma_cq_header* header = nullptr;
    vrdma_cqe* ring = nullptr;
    uint64_t* timestamps = nullptr;  // by slot; nullptr: the queue has none
};

struct Srq {
    bool present;
    bool broken;
    uint8_t reserved[2];
    uint32_t context;
    uint32_t pd;
    uint32_t mask;
    uint32_t stride;
    uint32_t max_sge;
    uint32_t consumer;
    uint32_t limit;  // 0 = not armed
    uint32_t region;
    uint32_t users;  // QPs
    uint64_t cookie;
    // Of an XRC SRQ:
    uint32_t xrcd_opening;  // kNone: it is an ordinary one
    uint32_t cq;
    uint32_t srqn;
    uint32_t generation;  // kept from owner to owner
    uint64_t identity;    // never given to another SRQ; 0: ordinary
};
struct SrqRuntime {
    vrdma_srq_header* header = nullptr;
    std::byte* ring = nullptr;
};

// What SRQs and target queue pairs of one or several contexts have in common (IBA annex A14).
struct Xrcd {
    uint32_t openings;  // 0 = free entry
    uint32_t vnic;
    bool shared;  // named by a file
    uint8_t reserved[7];
    uint64_t device;  // of the file
    uint64_t inode;
};

// A context's handle of a domain.
struct XrcdOpening {
    bool present;
    uint8_t reserved[3];
    uint32_t context;
    uint32_t xrcd;
    uint32_t users;  // its SRQs, and its handles of target queue pairs
};

// A context's handle of a target queue pair.
struct TargetOpening {
    bool present;
    uint8_t reserved[3];
    uint32_t context;
    uint32_t qp;
    uint32_t xrcd_opening;
    uint32_t next;  // of the same queue pair; kNone: the last
    uint32_t reserved1;
    uint64_t cookie;
};

// What the requester of a queue pair is doing with the entry in `wqe`.
enum class SendPhase : uint8_t {
    Idle,       // no entry taken
    Moving,     // slices are being executed
    RnrWait,    // the receiver was not ready; its timer runs
    RetryWait,  // the peer did not answer; the transport timer runs
    InFlight,   // another shard has the slice
};

inline constexpr uint32_t kSendWqeBytes = uint32_t{VRDMA_WQE_DATA_OFFSET_UD} + VRDMA_MAX_INLINE;
static_assert(VRDMA_MAX_INLINE >= VRDMA_MAX_SGE * sizeof(vrdma_sge));

struct alignas(64) Qp {
    // ---- read for every send
    uint32_t qpn;   // 0 = free entry
    uint8_t type;   // enum vrdma_qp_type
    uint8_t state;  // enum vrdma_qp_state
    bool signal_all;
    bool queued;  // on the run queue
    SendPhase phase;
    uint8_t rnr_left;
    uint8_t retries_left;
    bool drained_notify;  // SQ_DRAINED was asked for and not sent
    uint32_t context;
    uint32_t vnic;
    uint32_t pd;
    uint32_t send_cq;
    uint32_t sq_consumer;
    uint32_t sq_entries;
    uint32_t sq_stride;
    uint32_t position;    // bytes of the current message done
    uint32_t length;      // bytes of the current message
    uint32_t peer_vnic;   // vNIC of the destination GID, as of vnic_epoch; kNone: nobody has it
    uint32_t vnic_epoch;  // 0: not looked up
    uint32_t max_inline;
    bool halted;      // it is about to be reset or destroyed: starts nothing more
    bool peer_lost;   // its peer died while a slice was on its way
    uint8_t silence;  // why nobody answers (enum vrdma_reason)
    bool windows;     // its driver speaks VRDMA_FEATURE_MEMORY_WINDOWS
    // It gets no copy of what it sends to a group.
    bool block_loopback;
    // ---- read for every receive
    uint32_t recv_cq;
    uint32_t srq;  // kNone without
    uint32_t rq_consumer;
    uint32_t rq_entries;
    uint32_t rq_stride;
    uint32_t max_send_sge;
    uint32_t max_recv_sge;
    bool receiving;  // a receive entry is taken, the message is not complete
    uint8_t receive_sge_count;
    bool established;      // COMM_EST was sent
    uint8_t error_reason;  // why it is in ERR
    uint32_t receive_position;
    uint32_t receive_capacity;
    uint64_t receive_wr_id;
    vrdma_qp_attributes attributes;
    uint32_t doorbell;
    uint32_t region;
    uint32_t generation;
    uint32_t retransmissions;
    uint32_t rnr_naks;
    uint32_t error_index;  // sq index of the entry that failed first
    uint32_t remote;       // of DeviceState::remotes, when its peer is on another host; else kNone
    uint32_t attachments;  // to multicast groups: the first, of MulticastGroups; else kNone
    // Of the current entry, when it goes to a group: the shard whose members get their copies,
    // counted from its own on (after the last one comes the wire), and the member that is next.
    uint32_t group_shard;
    uint32_t group_member;
    uint64_t cookie;
    uint64_t sends;
    uint64_t receives;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    // Of an XRC target. Its `pd`, `recv_cq` and `srq` are those of the SRQ that the last request
    // named, as long as that SRQ has this identity; its `context` is that of the first opening.
    uint32_t xrcd;
    uint32_t first_opening;
    uint64_t srq_identity;
    alignas(64) std::array<std::byte, kSendWqeBytes> wqe;  // private copy of the current send entry
    std::array<vrdma_sge, VRDMA_MAX_SGE> receive_sges;  // private copy of the current receive entry

    [[nodiscard]] const vrdma_send_wqe& entry() const {
        return *reinterpret_cast<const vrdma_send_wqe*>(wqe.data());
    }
};
static_assert(sizeof(Qp) <= 2048, "memory of an idle queue pair (docs/performance.md)");

// Requests are acknowledged, repeated and executed once (IBA 9.7; annex A14 for XRC).
[[nodiscard]] constexpr bool is_reliable(uint32_t type) {
    return type == VRDMA_QPT_RC || type == VRDMA_QPT_XRC_SEND || type == VRDMA_QPT_XRC_RECV;
}
[[nodiscard]] constexpr bool is_xrc(const Qp& qp) {
    return qp.type == VRDMA_QPT_XRC_SEND || qp.type == VRDMA_QPT_XRC_RECV;
}
// Its send entries have 64 bytes before their data.
[[nodiscard]] constexpr bool has_long_entries(uint32_t type) {
    return type == VRDMA_QPT_UD || type == VRDMA_QPT_XRC_SEND;
}

struct QpRuntime {
    vrdma_qp_header* header = nullptr;
    std::byte* send_ring = nullptr;
    std::byte* receive_ring = nullptr;
};

}  // namespace vrdma
