// A bounded queue between exactly one producing and one consuming thread.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace vrdma {

template <class T>
class SpscRing {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    explicit SpscRing(uint32_t capacity)
        : mask_(std::bit_ceil(capacity) - 1), slots_(std::make_unique<T[]>(mask_ + 1)) {}

    // Producer. False when full; nothing was changed.
    [[nodiscard]] bool push(const T& value) {
        const uint32_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - cached_head_ > mask_) {
            cached_head_ = head_.load(std::memory_order_acquire);
            if (tail - cached_head_ > mask_) {
                return false;
            }
        }
        slots_[tail & mask_] = value;
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    // Consumer. False when empty.
    [[nodiscard]] bool pop(T& value) {
        const uint32_t head = head_.load(std::memory_order_relaxed);
        if (head == cached_tail_) {
            cached_tail_ = tail_.load(std::memory_order_acquire);
            if (head == cached_tail_) {
                return false;
            }
        }
        value = slots_[head & mask_];
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

    // Either side; a snapshot.
    [[nodiscard]] bool empty() const {
        return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
    }

  private:
    const uint32_t mask_;
    const std::unique_ptr<T[]> slots_;
    alignas(64) std::atomic<uint32_t> tail_{0};
    uint32_t cached_head_ = 0;
    alignas(64) std::atomic<uint32_t> head_{0};
    uint32_t cached_tail_ = 0;
};

}  // namespace vrdma
