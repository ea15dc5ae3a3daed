/* Connection management: how drivers of one network find each other's listeners and exchange what
 * rdma_cm programs need to connect their queue pairs.
 *
 * It has a socket of its own beside the attach socket of a vNIC (SOCK_SEQPACKET, the same access
 * rights), so that a process has one conversation for all its devices' contexts. Every message,
 * both ways, is one vrdma_cm_message. A driver's first is HELLO. The messages up to ANSWERED are
 * commands: the service repeats type and tag, sets VRDMA_CM_ANSWER and tells a status. The others
 * are notices: nobody answers, and one about a connection that has just ended is dropped, because
 * both ends may end it at once.
 */
#pragma once

#include <stddef.h>

#include "driver/abi/limits.h"

enum vrdma_cm_type {
    VRDMA_CM_HELLO = 1,   /* version; answer: address, mtu of the vNIC */
    VRDMA_CM_RESOLVE = 2, /* address: a vNIC of this network on this service, or a host that its
                             port reaches? answer: mtu of the path */
    VRDMA_CM_RESERVE = 3, /* handle, port_space, port (0: any); answer: port */
    VRDMA_CM_LISTEN = 4,  /* handle of a reservation, backlog */
    VRDMA_CM_RELEASE = 5, /* handle: the reservation and its listener end */
    VRDMA_CM_REQUEST =
        6,               /* handle, address, port_space, port, parameters; answer: connection; what
                            comes of it is told with the handle. As a notice
                            to the listener: handle of its reservation, the source's address, port */
    VRDMA_CM_REPLY = 7,  /* the listener's side accepts: parameters. Ends a datagram resolution */
    VRDMA_CM_READY = 8,  /* the requester's queue pair can send and receive */
    VRDMA_CM_REJECT = 9, /* reason */
    VRDMA_CM_DISCONNECT = 10,
    VRDMA_CM_LAST_COMMAND = VRDMA_CM_REQUEST,
    VRDMA_CM_LAST = VRDMA_CM_DISCONNECT,
    VRDMA_CM_ANSWER = 0x80, /* added to the type */
};

enum vrdma_cm_status {
    VRDMA_CM_OK = 0,
    VRDMA_CM_INVALID = 1,     /* a field is out of its range, or the handle is in use or unknown */
    VRDMA_CM_IN_USE = 2,      /* somebody has this port of the vNIC */
    VRDMA_CM_UNREACHABLE = 3, /* no vNIC of this network on this service has the address, and the
                                 network has no port. In a REJECT: the other host did not answer */
    VRDMA_CM_REFUSED = 4,     /* nobody listens there */
    VRDMA_CM_FULL = 5,        /* the listener's backlog, or a quota */
    VRDMA_CM_NO_ROUTE = 6,    /* outside the port's prefix, and it has no gateway */
    VRDMA_CM_SILENT = 7,      /* nobody behind the port answers for the address */
};

enum {
    VRDMA_CM_VERSION = 1,
    VRDMA_CM_PRIVATE_BYTES = 224,
    /* What InfiniBand's messages leave for programs (IBA 12.6, A11). */
    VRDMA_CM_REQUEST_BYTES = 56,
    VRDMA_CM_REPLY_BYTES = 196,
    VRDMA_CM_REJECT_BYTES = 148,
    VRDMA_CM_DATAGRAM_REQUEST_BYTES = 180,
    VRDMA_CM_DATAGRAM_REPLY_BYTES = 136,
    /* Reasons of a REJECT (IBA 12.6.7.2). */
    VRDMA_CM_REASON_NO_RESOURCES = 3,
    VRDMA_CM_REASON_TIMEOUT = 4,
    VRDMA_CM_REASON_NO_LISTENER = 8,
    VRDMA_CM_REASON_PROGRAM = 28,
};

struct vrdma_cm_message {
    uint8_t type;
    uint8_t status;
    uint16_t port_space; /* RDMA_PS_*; with port the name of a listener at an address */
    uint32_t tag;        /* of a command, repeated by its answer */
    uint64_t connection; /* named by the service, not guessable */
    uint8_t address[16]; /* of the other side, as a GID */
    uint32_t handle;     /* of a reservation or a requester, chosen by the driver */
    uint16_t port;       /* host byte order */
    uint16_t source_port;
    uint32_t qpn;
    uint32_t psn; /* that the sender of this message wants first (IBA 12.7.31) */
    uint32_t qkey;
    uint16_t backlog;
    uint16_t reason;
    uint8_t datagram; /* 1: UD, which has no connection afterwards */
    uint8_t mtu;      /* enum ibv_mtu */
    uint8_t responder_resources;
    uint8_t initiator_depth;
    uint8_t flow_control;
    uint8_t retry_count;
    uint8_t rnr_retry_count;
    uint8_t srq;
    uint32_t version;
    uint8_t private_bytes;
    uint8_t listener_side; /* 1: said by, or to, the end that listened */
    uint8_t reserved[2];
    uint8_t private_data[VRDMA_CM_PRIVATE_BYTES];
};

VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cm_message, connection) == 8, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cm_message, handle) == 32, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cm_message, qpn) == 40, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cm_message, datagram) == 56, "layout");
VRDMA_STATIC_ASSERT(offsetof(struct vrdma_cm_message, private_data) == 72, "layout");
VRDMA_STATIC_ASSERT(sizeof(struct vrdma_cm_message) == 296, "layout");
