// The send and receive rings of a queue pair and the ring of a shared receive queue, as posting and
// polling see them.
//
// head: entries posted, written by the poster under the lock. tail: entries whose slots may be used
// again, written by the poller under the lock of the CQ. Each is on its own cache line; all indices
// are free-running and compare by subtraction.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "driver/abi/cqe.h"
#include "driver/abi/queue.h"
#include "driver/abi/wqe.h"
#include "verbs/spin_lock.h"

namespace vrdma::verbs {

inline constexpr std::size_t kCacheLineBytes = 64;

struct alignas(kCacheLineBytes) SendQueue {
    QueueLock lock;
    bool postable = false;  // the state allows posting: RTS, SQD, SQE, ERR
    bool is_ud = false;
    bool is_xrc = false;
    std::uint8_t data_offset = VRDMA_WQE_DATA_OFFSET;
    std::uint32_t opcodes = 0;  // bit of each ibv_wr_opcode that the type allows
    std::uint32_t entries = 0;
    std::uint32_t stride = 0;
    std::uint32_t max_sge = 0;
    std::uint32_t max_inline = 0;
    std::byte* ring = nullptr;
    std::uint32_t* producer = nullptr;  // in the shared header
    std::atomic<std::uint32_t> head = 0;

    alignas(kCacheLineBytes) std::atomic<std::uint32_t> tail = 0;

    [[nodiscard]] vrdma_send_wqe* slot(std::uint32_t index) const {
        return reinterpret_cast<vrdma_send_wqe*>(ring +
                                                 std::size_t{index & (entries - 1)} * stride);
    }
    void publish(std::uint32_t new_head) {
        head.store(new_head, std::memory_order_release);
        std::atomic_ref(*producer).store(new_head, std::memory_order_release);
    }
};

struct alignas(kCacheLineBytes) ReceiveQueue {
    QueueLock lock;
    bool postable = false;  // every state but RESET
    std::uint32_t entries = 0;
    std::uint32_t stride = 0;
    std::uint32_t max_sge = 0;
    std::byte* ring = nullptr;
    std::uint32_t* producer = nullptr;
    std::atomic<std::uint32_t> head = 0;

    alignas(kCacheLineBytes) std::atomic<std::uint32_t> tail = 0;

    [[nodiscard]] vrdma_recv_wqe* slot(std::uint32_t index) const {
        return reinterpret_cast<vrdma_recv_wqe*>(ring +
                                                 std::size_t{index & (entries - 1)} * stride);
    }
    void publish(std::uint32_t new_head) {
        head.store(new_head, std::memory_order_release);
        std::atomic_ref(*producer).store(new_head, std::memory_order_release);
    }
};

// Writes one receive entry. 0, or EINVAL: more SGEs than max_sge.
[[nodiscard]] int write_receive(const ibv_recv_wr& wr, std::uint32_t max_sge, vrdma_recv_wqe& wqe);

}  // namespace vrdma::verbs
