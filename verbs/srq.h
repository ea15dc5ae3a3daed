// Shared receive queues.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "driver/abi/queue.h"
#include "driver/channel/queue_memory.h"
#include "verbs/async_events.h"
#include "verbs/libibverbs_abi/structs.h"
#include "verbs/work_queue.h"

namespace vrdma::verbs {

struct Context;
struct Cq;
struct Pd;
struct Xrcd;

struct Srq {
    verbs_abi::VerbsSrq base{};  // first: an ibv_srq* is a Srq*

    QueueLock lock;
    std::uint32_t head = 0;  // entries posted, under lock
    std::uint32_t entries = 0;
    std::uint32_t stride = 0;
    std::uint32_t max_sge = 0;
    std::byte* ring = nullptr;
    vrdma_srq_header* header = nullptr;

    Context* context = nullptr;
    std::uint32_t handle = 0;
    driver::QueueBlock block;
    Pd* pd = nullptr;
    Cq* cq = nullptr;  // of an XRC SRQ
    AsyncEventCount async_events;

    [[nodiscard]] static Srq* of(ibv_srq* srq) { return reinterpret_cast<Srq*>(srq); }
    [[nodiscard]] vrdma_recv_wqe* slot(std::uint32_t index) const {
        return reinterpret_cast<vrdma_recv_wqe*>(ring +
                                                 std::size_t{index & (entries - 1)} * stride);
    }
};

[[nodiscard]] ibv_srq* create_srq(ibv_pd* pd, ibv_srq_init_attr* attr);
[[nodiscard]] ibv_srq* create_srq_ex(ibv_context* context, ibv_srq_init_attr_ex* attr);
int get_srq_num(ibv_srq* srq, std::uint32_t* number);
int modify_srq(ibv_srq* srq, ibv_srq_attr* attr, int mask);
int query_srq(ibv_srq* srq, ibv_srq_attr* attr);
int destroy_srq(ibv_srq* srq);
int post_srq_recv(ibv_srq* srq, ibv_recv_wr* wr, ibv_recv_wr** bad_wr);

}  // namespace vrdma::verbs
