// Rings a context's doorbell, exactly as driver/abi/doorbell.h says.
//
// Memory ordering. The caller has published its producer index with a release store. fetch_or on
// the leaf word is a locked instruction and thus a full fence, so the index is visible before the
// bit, and the loads of summary and need_kick come after the bit. The device works the other way
// round: it takes the summary before the leaf, and arms need_kick, fences, then scans once more.
// Whoever comes second sees the first: either the device's last scan finds the bit, or need_kick is
// seen here.
//
// Threading: any thread.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "driver/abi/doorbell.h"

namespace vrdma::driver {

class Doorbell {
  public:
    Doorbell() = default;
    Doorbell(vrdma_doorbell* pages, int kick_fd) : pages_(pages), kick_fd_(kick_fd) {}

    // index < VRDMA_MAX_QPS_PER_CONTEXT, as CREATE_QP gave it.
    void ring(std::uint32_t index) const {
        const std::uint32_t leaf = index / 64;
        const std::uint64_t leaf_bit = std::uint64_t{1} << (index % 64);
        const std::uint64_t summary_bit = std::uint64_t{1} << (leaf % 64);
        std::atomic_ref(pages_->leaf[leaf]).fetch_or(leaf_bit, std::memory_order_seq_cst);
        std::atomic_ref summary(pages_->summary[leaf / 64]);
        if ((summary.load(std::memory_order_seq_cst) & summary_bit) == 0) {
            summary.fetch_or(summary_bit, std::memory_order_seq_cst);
        }
        std::atomic_ref need_kick(pages_->need_kick);
        if (need_kick.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
            kick(need_kick);
        }
    }

  private:
    void kick(std::atomic_ref<std::uint32_t> need_kick) const {
        if (need_kick.exchange(0, std::memory_order_seq_cst) != 0) {
            const std::uint64_t one = 1;
            // The eventfd's counter cannot fill up (one write for each arming), and a device that
            // is gone needs no kick: nothing to do about a failure.
            [[maybe_unused]] const ssize_t written = ::write(kick_fd_, &one, sizeof one);
        }
    }

    vrdma_doorbell* pages_ = nullptr;
    int kick_fd_ = -1;
};

}  // namespace vrdma::driver
