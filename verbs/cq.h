// Completion queues.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>

#include "driver/abi/cqe.h"
#include "driver/abi/queue.h"
#include "driver/channel/queue_memory.h"
#include "verbs/async_events.h"
#include "verbs/clock.h"
#include "verbs/completion_channel.h"
#include "verbs/libibverbs_abi/structs.h"
#include "verbs/poll_pacer.h"
#include "verbs/spin_lock.h"
#include "verbs/work_queue.h"

namespace vrdma::verbs {

struct Context;
struct Pd;
struct Qp;

struct Cq {
    verbs_abi::VerbsCq base{};  // first: an ibv_cq* is a Cq*

    // What polling uses, under lock.
    alignas(kCacheLineBytes) SpinLock lock;
    bool single_threaded = false;  // the program promised it: no lock
    std::uint32_t consumer = 0;
    std::uint32_t mask = 0;  // entries - 1
    vrdma_cqe* ring = nullptr;
    vrdma_cq_header* header = nullptr;
    std::uint64_t* timestamps = nullptr;  // by slot, when the program asked for them
    Context* context = nullptr;
    Qp* cached_qp = nullptr;  // the queue pair of the last completion
    std::uint32_t cached_qpn = kNoQpn;
    std::uint32_t arms = 0;
    PollPacer pacer;

    // Extended polling: the completion between start_poll and next_poll/end_poll.
    const vrdma_cqe* current = nullptr;
    vrdma_cqe made_up{};
    WallClock wall_clock;

    std::uint32_t handle = 0;
    std::atomic<std::uint32_t> users = 0;  // queue pairs, counted once for each direction
    driver::QueueBlock block;
    CompletionChannel* channel = nullptr;
    Pd* parent_domain = nullptr;
    // The program asked for an event at the next completion and has not got one since.
    std::atomic<bool> waits_for_next = false;
    // The program has polled since its last event, so that it will not look again for that one.
    std::atomic<bool> polled = true;
    std::atomic<std::uint32_t> events_received = 0;
    std::uint32_t events_of_ours = 0;  // under the event lock: sent by us, not by the device
    AsyncEventCount async_events;

    static constexpr std::uint32_t kNoQpn = ~std::uint32_t{0};  // numbers have 24 bits

    [[nodiscard]] static Cq* of(ibv_cq* cq) { return reinterpret_cast<Cq*>(cq); }
    [[nodiscard]] static Cq* of(ibv_cq_ex* cq) { return reinterpret_cast<Cq*>(cq); }
    [[nodiscard]] std::uint32_t entries() const { return mask + 1; }

    void acquire() {
        if (!single_threaded) {
            lock.lock();
        }
    }
    void release() {
        if (!single_threaded) {
            lock.unlock();
        }
    }

    // Under the lock. The entry with that index once the device has written it, else nullptr.
    [[nodiscard]] const vrdma_cqe* entry(std::uint32_t index) const {
        vrdma_cqe* cqe = &ring[index & mask];
        if (std::atomic_ref(cqe->sequence).load(std::memory_order_acquire) != index + 1) {
            return nullptr;
        }
        return cqe;
    }
    void publish_consumer() {
        std::atomic_ref(header->consumer).store(consumer, std::memory_order_release);
    }
};

class CqGuard {
  public:
    explicit CqGuard(Cq& cq) : cq_(cq) { cq_.acquire(); }
    ~CqGuard() { cq_.release(); }
    CqGuard(const CqGuard&) = delete;
    CqGuard& operator=(const CqGuard&) = delete;

  private:
    Cq& cq_;
};

[[nodiscard]] ibv_cq* create_cq(ibv_context* context, int cqe, ibv_comp_channel* channel,
                                int comp_vector);
[[nodiscard]] ibv_cq_ex* create_cq_ex(ibv_context* context, ibv_cq_init_attr_ex* attr);
int resize_cq(ibv_cq* cq, int cqe);
int destroy_cq(ibv_cq* cq);
int req_notify_cq(ibv_cq* cq, int solicited_only);
void cq_event(ibv_cq* cq);
int poll_cq(ibv_cq* cq, int count, ibv_wc* wc);

// IBV_WC_* flags of a completion.
[[nodiscard]] inline unsigned wc_flags_of(const vrdma_cqe& cqe) {
    unsigned flags = 0;
    if ((cqe.flags & VRDMA_CQE_WITH_IMM) != 0) {
        flags |= IBV_WC_WITH_IMM;
    }
    if ((cqe.flags & VRDMA_CQE_WITH_INV) != 0) {
        flags |= IBV_WC_WITH_INV;
    }
    if ((cqe.flags & VRDMA_CQE_GRH) != 0) {
        flags |= IBV_WC_GRH;
    }
    return flags;
}

// RoCE has no service level to tell. A datagram's completion has the kind of its IP header there
// (RoCEv2 annex A17.4.5.1 wants it told, mlx5 tells it like this): UCX believes nothing else, and
// drops a datagram whose address it therefore looks for in the wrong place. Not mlx5's bit 3 ("is
// RoCEv2"): programs answer with an address made of the completion, whose sl must be a priority.
[[nodiscard]] inline std::uint8_t service_level_of(const vrdma_cqe& cqe) {
    constexpr std::uint8_t kIpv6 = 1;
    constexpr std::uint8_t kIpv4 = 2;
    if ((cqe.flags & VRDMA_CQE_GRH) == 0) {
        return 0;
    }
    return (cqe.flags & VRDMA_CQE_IPV4) != 0 ? kIpv4 : kIpv6;
}

// Under the lock: frees the slots that a completion says are free.
void retire(Cq& cq, const vrdma_cqe& cqe);

// Fills start_poll and its companions; those that wc_flags ask for beyond the standard ones.
void set_poll_functions(ibv_cq_ex& cq, std::uint64_t wc_flags);

// Removes the completions of the queue pair, which writes no more of them.
void discard_completions_of(Cq& cq, std::uint32_t qpn);

}  // namespace vrdma::verbs
