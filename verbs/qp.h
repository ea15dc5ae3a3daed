// Queue pairs.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "driver/abi/queue.h"
#include "driver/channel/doorbell.h"
#include "driver/channel/queue_memory.h"
#include "verbs/async_events.h"
#include "verbs/libibverbs_abi/structs.h"
#include "verbs/work_queue.h"

namespace vrdma::verbs {

struct Context;
struct Cq;

// The state of the ibv_wr_* builder between wr_start and wr_complete (send_builder.cpp).
struct SendBuilder {
    vrdma_send_wqe* wqe = nullptr;  // the entry being built; nullptr before the first
    std::uint32_t head = 0;         // entries begun, counted on from the queue's head
    int error = 0;                  // the first; wr_complete hands it back
    bool addressed = false;         // UD: the entry has its address; XRC: its SRQ
};

struct Qp {
    verbs_abi::VerbsQp base{};  // first: an ibv_qp* is a Qp*

    driver::Doorbell doorbell;
    std::uint32_t doorbell_index = 0;
    Context* context = nullptr;
    vrdma_qp_header* header = nullptr;
    SendQueue sq;
    ReceiveQueue rq;
    SendBuilder builder;  // under sq.lock

    Cq* send_cq = nullptr;
    Cq* recv_cq = nullptr;
    ibv_qp_cap cap{};
    bool signal_all = false;
    bool block_loopback = false;  // of what it sends to groups
    driver::QueueBlock block;
    AsyncEventCount async_events;
    Qp* next = nullptr;  // in Context::qp_list

    [[nodiscard]] static Qp* of(ibv_qp* qp) { return reinterpret_cast<Qp*>(qp); }
    [[nodiscard]] static Qp* of(ibv_qp_ex* qp) { return reinterpret_cast<Qp*>(qp); }
    void ring_doorbell() const { doorbell.ring(doorbell_index); }
};

[[nodiscard]] ibv_qp* create_qp(ibv_pd* pd, ibv_qp_init_attr* attr);
[[nodiscard]] ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attr);
int modify_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask);
int query_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask, ibv_qp_init_attr* init);
int query_qp_data_in_order(ibv_qp* qp, ibv_wr_opcode opcode, std::uint32_t flags);
int destroy_qp(ibv_qp* qp);

// Removes the completions of qp from its CQs. The device writes no more of them.
void discard_completions(Qp& qp);

// Allows posting as the state does.
void apply_state(Qp& qp, std::uint32_t state);

int post_send(ibv_qp* qp, ibv_send_wr* wr, ibv_send_wr** bad_wr);
// A bind of a type 1 window, as ibv_bind_mw posts it.
int post_bind(Qp& qp, ibv_mw& mw, std::uint32_t rkey, const ibv_mw_bind& bind);
int post_recv(ibv_qp* qp, ibv_recv_wr* wr, ibv_recv_wr** bad_wr);

// Fills the ibv_wr_* functions of an extended queue pair.
void set_builder_functions(ibv_qp_ex& qp);

}  // namespace vrdma::verbs
