/* Commands: how a driver creates and changes objects of its device.
 *
 * On the attach socket (SOCK_SEQPACKET) one message is one command or one response:
 * vrdma_command_header, then the request body, or vrdma_response_header, then the response body.
 * File descriptors travel as SCM_RIGHTS with the command that names them. One command is in flight
 * per context; the first must be OPEN. The device answers every well-formed message; it closes the
 * connection on one whose header is malformed. Reserved fields must be zero.
 *
 * Handles are per context and chosen by the device. `cookie` values are opaque to the device and
 * come back in events.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

enum vrdma_command_opcode {
    VRDMA_CMD_OPEN = 1,
    VRDMA_CMD_CLOSE = 2, /* orderly end: peers are not told that this tenant died */
    VRDMA_CMD_QUERY_PORT = 3,
    VRDMA_CMD_ALLOC_PD = 4,
    VRDMA_CMD_DEALLOC_PD = 5,
    VRDMA_CMD_ADD_REGION = 6,
    VRDMA_CMD_REMOVE_REGION = 7,
    VRDMA_CMD_REG_MR = 8,
    VRDMA_CMD_DEREG_MR = 9,
    VRDMA_CMD_CREATE_CHANNEL = 10,
    VRDMA_CMD_DESTROY_CHANNEL = 11,
    VRDMA_CMD_CREATE_CQ = 12,
    VRDMA_CMD_RESIZE_CQ = 13,
    VRDMA_CMD_DESTROY_CQ = 14,
    VRDMA_CMD_CREATE_SRQ = 15,
    VRDMA_CMD_MODIFY_SRQ = 16,
    VRDMA_CMD_QUERY_SRQ = 17,
    VRDMA_CMD_DESTROY_SRQ = 18,
    VRDMA_CMD_CREATE_QP = 19,
    VRDMA_CMD_MODIFY_QP = 20,
    VRDMA_CMD_QUERY_QP = 21,
    VRDMA_CMD_DESTROY_QP = 22,
    VRDMA_CMD_ALLOC_MW = 23,    /* VRDMA_FEATURE_MEMORY_WINDOWS */
    VRDMA_CMD_DEALLOC_MW = 24,  /* VRDMA_FEATURE_MEMORY_WINDOWS */
    VRDMA_CMD_QUERY_CLOCK = 25, /* VRDMA_FEATURE_TIMESTAMPS */
    /* VRDMA_FEATURE_XRC: */
    VRDMA_CMD_OPEN_XRCD = 32,
    VRDMA_CMD_CLOSE_XRCD = 33,
    VRDMA_CMD_CREATE_XRC_SRQ = 34,
    VRDMA_CMD_CREATE_XRC_TARGET = 35,
    VRDMA_CMD_OPEN_XRC_TARGET = 36,
    /* VRDMA_FEATURE_MULTICAST */
    VRDMA_CMD_ATTACH_MCAST = 40,
    VRDMA_CMD_DETACH_MCAST = 41,
};

struct vrdma_command_header {
    uint16_t opcode; /* enum vrdma_command_opcode */
    uint16_t reserved;
    uint32_t length; /* of the whole message */
    uint64_t tag;    /* comes back in the response */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_command_header) == 16, "size");

struct vrdma_response_header {
    uint16_t opcode;
    uint16_t status; /* enum vrdma_status; not OK: no body but `reason` */
    uint32_t length;
    uint64_t tag;
    char reason[112]; /* NUL-terminated sentence when status is not OK: what was wrong, what was
                         expected */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_response_header) == 128, "size");

/* ---- OPEN. fds: [0] doorbell memory (sealed against shrinking), [1] kick eventfd.
 *      Response fds: [0] event socket (SOCK_SEQPACKET, vrdma_event messages; hang-up = device
 *      gone), with VRDMA_FEATURE_USERFAULT [1] an open /dev/userfaultfd. */
struct vrdma_cmd_open {
    uint32_t abi_major;
    uint32_t abi_minor;
    uint64_t features;
    uint64_t doorbell_offset; /* of struct vrdma_doorbell in fd 0, page aligned */
    uint32_t process_id;      /* as the tenant sees it, for tools */
    uint32_t reserved;
    char program[32]; /* NUL-terminated, for tools */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cmd_open) == 64, "size");

struct vrdma_device_limits {
    uint32_t max_qps;
    uint32_t max_cqs;
    uint32_t max_mrs;
    uint32_t max_pds;
    uint32_t max_srqs;
    uint32_t max_queue_entries; /* power of two */
    uint32_t max_cq_entries;    /* power of two */
    uint32_t max_sge;
    uint32_t max_inline;
    uint32_t max_rd_atomic;
    uint64_t max_mr_bytes;
    uint32_t max_transfer_bytes;
    uint32_t max_mws; /* zero without VRDMA_FEATURE_MEMORY_WINDOWS */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_device_limits) == 56, "size");

struct vrdma_gid_entry {
    uint8_t gid[16];
};

struct vrdma_rsp_open {
    uint32_t abi_major;
    uint32_t abi_minor;
    uint64_t features;  /* negotiated */
    uint64_t node_guid; /* host byte order */
    struct vrdma_device_limits limits;
    struct vrdma_gid_entry gid[VRDMA_GID_TABLE_LENGTH];
    uint32_t context_id; /* for tools */
    uint32_t completion_vectors;
    char vnic[32];
    char service_version[32];
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_rsp_open) == 216, "size");

/* ---- QUERY_PORT */
struct vrdma_rsp_query_port {
    uint32_t state; /* enum ibv_port_state: 1 DOWN, 4 ACTIVE */
    uint32_t mtu;   /* enum ibv_mtu of the port: 5 = 4096 */
};

/* ---- objects named by one handle: ALLOC_PD response, all DESTROY/DEALLOC/REMOVE requests */
struct vrdma_handle {
    uint32_t handle;
    uint32_t reserved;
};

/* ---- ADD_REGION. fds: [0] the memory. A region is memory the device can reach. */
enum vrdma_region_kind {
    /* mmap of the file at `offset`. For queues it must be a memfd that is sealed against shrinking;
     * other files may be truncated by their owner, who then loses the access (never the service).
     */
    VRDMA_REGION_MAPPED = 1,
    /* fd is the tenant's own /proc/self/mem: read and written by pread/pwrite at tenant virtual
     * addresses. Not for queues. `offset` is the first address. */
    VRDMA_REGION_PROCESS = 2,
};
enum {
    VRDMA_REGION_WRITABLE = 1 << 0,
    VRDMA_REGION_ADOPTED =
        1 << 1, /* for tools: private memory that the driver turned into shared memory */
};
struct vrdma_cmd_add_region {
    uint32_t kind;
    uint32_t flags;
    uint64_t offset; /* page aligned */
    uint64_t length; /* multiple of the page size, not zero */
};
/* response: vrdma_handle */

/* ---- REG_MR: struct, then range_count ranges that cover [iova, iova + length) in order. Every
 * range but the first and the last is at least one page long. */
enum { /* enum ibv_access_flags */
       VRDMA_ACCESS_LOCAL_WRITE = 1 << 0,
       VRDMA_ACCESS_REMOTE_WRITE = 1 << 1,
       VRDMA_ACCESS_REMOTE_READ = 1 << 2,
       VRDMA_ACCESS_REMOTE_ATOMIC = 1 << 3,
       VRDMA_ACCESS_MASK = 0xf,
       /* REG_MR with VRDMA_FEATURE_MEMORY_WINDOWS: windows may be bound to the region. */
       VRDMA_ACCESS_MW_BIND = 1 << 4,
       /* BIND_MW only: the window's first byte has the remote address 0. */
       VRDMA_ACCESS_ZERO_BASED = 1 << 5,
};
struct vrdma_mr_range {
    uint32_t region; /* handle */
    uint32_t reserved;
    uint64_t offset; /* bytes from the start of the region */
    uint64_t length; /* bytes, not zero */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_mr_range) == 24, "size");
struct vrdma_cmd_reg_mr {
    uint32_t pd;
    uint32_t access;
    uint64_t iova;
    uint64_t length; /* may be zero: no ranges then */
    uint32_t range_count;
    uint32_t reserved;
};
struct vrdma_rsp_reg_mr {
    uint32_t handle;
    uint32_t lkey; /* also the rkey; never zero */
};

/* ---- ALLOC_MW. A window gives remote access to a part of an MR, under a key of its own, from a
 * BIND_MW entry (wqe.h) on. The upper 24 bits of its key are the window's for its life; a bind
 * chooses the lower 8. */
enum vrdma_mw_type { /* enum ibv_mw_type */
                     VRDMA_MW_TYPE_1 =
                         1, /* works through every queue pair of its domain; bound again in place */
                     VRDMA_MW_TYPE_2 =
                         2, /* 2B: works through the queue pair that bound it, until invalidated */
};
struct vrdma_cmd_alloc_mw {
    uint32_t pd;
    uint32_t type; /* enum vrdma_mw_type */
};
struct vrdma_rsp_alloc_mw {
    uint32_t handle;
    uint32_t rkey; /* gives no access before a bind */
};

/* ---- QUERY_CLOCK: the clock of completion time stamps, now. */
struct vrdma_rsp_query_clock {
    uint64_t nanoseconds; /* monotonic; from an instant that says nothing */
};

/* ---- CREATE_CHANNEL. fds: [0] one end of a SOCK_SEQPACKET socketpair; the device sends 8-byte
 * completion events (the cq's cookie) to it without blocking. Response: vrdma_handle. */

/* ---- CREATE_CQ */
#define VRDMA_NO_HANDLE UINT32_C(0xffffffff)
struct vrdma_queue_memory {
    uint32_t region;
    uint32_t reserved;
    uint64_t offset; /* of the queue's header, multiple of 64 */
};
enum {
    /* A time stamp for each entry, behind the ring (queue.h). With VRDMA_FEATURE_TIMESTAMPS. */
    VRDMA_CQ_TIMESTAMPS = 1 << 0,
};
struct vrdma_cmd_create_cq {
    struct vrdma_queue_memory memory;
    uint32_t entries; /* power of two */
    uint32_t channel; /* handle or VRDMA_NO_HANDLE */
    uint64_t cookie;  /* in events */
    uint32_t completion_vector;
    uint32_t flags; /* VRDMA_CQ_* */
};
/* response: vrdma_handle */
struct vrdma_cmd_resize_cq { /* the driver does not poll while this runs; unread entries are moved,
                                indices go on */
    uint32_t handle;
    uint32_t entries;
    struct vrdma_queue_memory memory;
};

/* ---- SRQ */
struct vrdma_cmd_create_srq {
    struct vrdma_queue_memory memory;
    uint32_t pd;
    uint32_t entries; /* power of two */
    uint32_t max_sge;
    uint32_t limit;
    uint64_t cookie;
};
/* response: vrdma_handle */
struct vrdma_cmd_modify_srq {
    uint32_t handle;
    uint32_t limit; /* arms one SRQ_LIMIT_REACHED event when fewer entries are left; 0 disarms */
};
struct vrdma_rsp_query_srq {
    uint32_t limit;
    uint32_t reserved;
};

/* ---- QP */
enum vrdma_qp_type { /* enum ibv_qp_type */
                     VRDMA_QPT_RC = 2,
                     VRDMA_QPT_UC = 3,
                     VRDMA_QPT_UD = 4,
                     /* VRDMA_FEATURE_XRC: an initiator, without receive queue: recv_cq and srq are
                        VRDMA_NO_HANDLE */
                     VRDMA_QPT_XRC_SEND = 9,
                     /* a target; made by CREATE_XRC_TARGET, never by CREATE_QP */
                     VRDMA_QPT_XRC_RECV = 10,
};
enum vrdma_qp_state { /* enum ibv_qp_state */
                      VRDMA_QPS_RESET = 0,
                      VRDMA_QPS_INIT = 1,
                      VRDMA_QPS_RTR = 2,
                      VRDMA_QPS_RTS = 3,
                      VRDMA_QPS_SQD = 4,
                      VRDMA_QPS_SQE = 5,
                      VRDMA_QPS_ERR = 6,
};
enum { VRDMA_QP_SIGNAL_ALL = 1 << 0 };
/* Flag of CREATE_QP with VRDMA_FEATURE_MULTICAST: what it sends to a group does not come back to
 * itself. */
enum { VRDMA_QP_BLOCK_MCAST_LOOPBACK = 1 << 1 };
struct vrdma_cmd_create_qp {
    struct vrdma_queue_memory memory;
    uint32_t pd;
    uint32_t type;
    uint32_t send_cq;
    uint32_t recv_cq;
    uint32_t srq;        /* handle or VRDMA_NO_HANDLE */
    uint32_t sq_entries; /* power of two; 0 = no send queue */
    uint32_t rq_entries; /* power of two; 0 with an SRQ or no receive queue */
    uint32_t max_send_sge;
    uint32_t max_recv_sge;
    uint32_t max_inline;
    uint32_t flags;
    uint32_t reserved;
    uint64_t cookie;
};
struct vrdma_rsp_create_qp {
    uint32_t handle;
    uint32_t qpn;      /* 24 bits */
    uint32_t doorbell; /* index of its bit */
    uint32_t reserved;
};

/* Address vector: how a queue pair reaches its peer (IBA 11.2.2.1). */
struct vrdma_address {
    uint8_t gid[16];
    uint32_t flow_label;
    uint8_t sgid_index;
    uint8_t hop_limit;
    uint8_t traffic_class;
    uint8_t sl;
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_address) == 24, "size");

/* Which attributes a MODIFY_QP carries: enum ibv_qp_attr_mask. */
enum {
    VRDMA_QP_STATE = 1 << 0,
    VRDMA_QP_CUR_STATE = 1 << 1,
    VRDMA_QP_EN_SQD_ASYNC_NOTIFY = 1 << 2,
    VRDMA_QP_ACCESS_FLAGS = 1 << 3,
    VRDMA_QP_PKEY_INDEX = 1 << 4,
    VRDMA_QP_PORT = 1 << 5,
    VRDMA_QP_QKEY = 1 << 6,
    VRDMA_QP_AV = 1 << 7,
    VRDMA_QP_PATH_MTU = 1 << 8,
    VRDMA_QP_TIMEOUT = 1 << 9,
    VRDMA_QP_RETRY_CNT = 1 << 10,
    VRDMA_QP_RNR_RETRY = 1 << 11,
    VRDMA_QP_RQ_PSN = 1 << 12,
    VRDMA_QP_MAX_QP_RD_ATOMIC = 1 << 13,
    VRDMA_QP_MIN_RNR_TIMER = 1 << 15,
    VRDMA_QP_SQ_PSN = 1 << 16,
    VRDMA_QP_MAX_DEST_RD_ATOMIC = 1 << 17,
    VRDMA_QP_PATH_MIG_STATE = 1 << 18,
    VRDMA_QP_DEST_QPN = 1 << 20,
};

/* The attributes of MODIFY_QP and QUERY_QP; `mask` holds enum ibv_qp_attr_mask bits. */
struct vrdma_qp_attributes {
    uint32_t state;
    uint32_t current_state;
    uint32_t path_mtu; /* enum ibv_mtu */
    uint32_t qkey;
    uint32_t rq_psn;
    uint32_t sq_psn;
    uint32_t dest_qpn;
    uint32_t access;
    struct vrdma_address address;
    uint8_t max_rd_atomic;
    uint8_t max_dest_rd_atomic;
    uint8_t min_rnr_timer;
    uint8_t timeout;
    uint8_t retry_count;
    uint8_t rnr_retry;
    uint8_t sq_drained_notify;
    uint8_t sq_draining;
    uint16_t pkey_index;
    uint8_t port;
    uint8_t path_mig_state;
    uint32_t reserved;
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_qp_attributes) == 72, "size");
struct vrdma_cmd_modify_qp {
    uint32_t handle;
    uint32_t mask;
    struct vrdma_qp_attributes attributes;
};
struct vrdma_rsp_query_qp { /* also the response of MODIFY_QP */
    struct vrdma_qp_attributes attributes;
};

/* ---- OPEN_XRCD. fds: none for a domain of this context alone; else [0] any file, whose inode
 * names a domain that all contexts of the vNIC share. */
enum {
    VRDMA_XRCD_CREATE = 1 << 0,    /* make it when there is none; without a file always set */
    VRDMA_XRCD_EXCLUSIVE = 1 << 1, /* there must be none */
};
struct vrdma_cmd_open_xrcd {
    uint32_t flags;
    uint32_t reserved;
};
/* response: vrdma_handle. It is this context's; the domain lives until its last handle is closed */

/* ---- CREATE_XRC_SRQ. An SRQ for the target queue pairs of a domain; ended by DESTROY_SRQ. */
struct vrdma_cmd_create_xrc_srq {
    struct vrdma_cmd_create_srq srq;
    uint32_t xrcd;
    uint32_t cq; /* of what is received into it */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cmd_create_xrc_srq) == 48, "size");
struct vrdma_rsp_create_xrc_srq {
    uint32_t handle;
    uint32_t srqn; /* 24 bits */
};

/* ---- CREATE_XRC_TARGET, OPEN_XRC_TARGET. A target queue pair has no queues; it belongs to its
 * domain and lives until its last handle is given to DESTROY_QP, whoever made it. */
struct vrdma_cmd_xrc_target {
    uint32_t xrcd;
    uint32_t qpn; /* OPEN_XRC_TARGET; zero in CREATE_XRC_TARGET */
    uint64_t cookie;
};
/* response: vrdma_rsp_create_qp, without doorbell (VRDMA_NO_HANDLE) */

/* ---- ATTACH_MCAST, DETACH_MCAST: a UD queue pair gets a copy of what is sent to a group. The
 * queue pair cannot be destroyed while it is attached. */
#define VRDMA_MCAST_QPN UINT32_C(0xffffff) /* the destination QPN of everything sent to a group */
struct vrdma_cmd_mcast {
    uint32_t qp;
    uint32_t reserved;
    uint8_t gid[16]; /* ff00::/8, or ::ffff:224.0.0.0/100 */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cmd_mcast) == 24, "size");

/* ---- events on the event socket */
enum vrdma_event_type { /* enum ibv_event_type */
                        VRDMA_EVENT_CQ_ERR = 0,
                        VRDMA_EVENT_QP_FATAL = 1,
                        VRDMA_EVENT_QP_REQ_ERR = 2,
                        VRDMA_EVENT_QP_ACCESS_ERR = 3,
                        VRDMA_EVENT_COMM_EST = 4,
                        VRDMA_EVENT_SQ_DRAINED = 5,
                        VRDMA_EVENT_DEVICE_FATAL = 8,
                        VRDMA_EVENT_PORT_ACTIVE = 9,
                        VRDMA_EVENT_PORT_ERR = 10,
                        VRDMA_EVENT_SRQ_ERR = 14,
                        VRDMA_EVENT_SRQ_LIMIT_REACHED = 15,
                        VRDMA_EVENT_QP_LAST_WQE_REACHED = 16,
};
struct vrdma_event {
    uint32_t type;
    uint32_t reserved;
    uint64_t cookie; /* of the cq, qp or srq; the port number for port events */
};
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_event) == 16, "size");
