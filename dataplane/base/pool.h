// A fixed pool of T in the arena, handed out by index; the capacity is a power of two.
//
// Freed entries are used again in the order they were freed, and only once kReuseDelay of them wait
// or nothing fresh is left: a stale index meets its old, empty entry for as long as possible, and
// memory that was never used stays untouched.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "dataplane/base/arena.h"

namespace vrdma {

template <class T>
class Pool {
  public:
    Pool() = default;
    Pool(Arena& arena, uint32_t capacity)
        : entries_(arena.array<T>(capacity)),
          waiting_(arena.array<uint32_t>(capacity)),
          state_(arena.array<State>(1)),
          capacity_(capacity) {
        VR_CHECK(std::has_single_bit(capacity));
    }

    [[nodiscard]] static constexpr size_t bytes_for(uint32_t capacity) {
        return Arena::bytes_for<T>(capacity) + Arena::bytes_for<uint32_t>(capacity) +
               Arena::bytes_for<State>(1);
    }

    // The entry keeps what its last owner left in it; the caller resets it.
    [[nodiscard]] std::optional<uint32_t> allocate() {
        const uint32_t waiting = state_->tail - state_->head;
        uint32_t index = 0;
        if (state_->fresh < capacity_ && waiting < kReuseDelay) {
            index = state_->fresh++;
        } else if (waiting > 0) {
            index = waiting_[state_->head++ & (capacity_ - 1)];
        } else {
            return std::nullopt;
        }
        ++state_->used;
        return index;
    }

    void release(uint32_t index) {
        VR_CHECK(index < state_->fresh && state_->used > 0);
        waiting_[state_->tail++ & (capacity_ - 1)] = index;
        --state_->used;
    }

    [[nodiscard]] T& operator[](uint32_t index) { return entries_[index]; }
    [[nodiscard]] const T& operator[](uint32_t index) const { return entries_[index]; }
    [[nodiscard]] uint32_t index_of(const T& entry) const {
        return static_cast<uint32_t>(&entry - entries_);
    }
    [[nodiscard]] uint32_t capacity() const { return capacity_; }
    [[nodiscard]] uint32_t used() const { return state_->used; }
    // Entries from here on were never handed out.
    [[nodiscard]] uint32_t fresh() const { return state_->fresh; }

  private:
    static constexpr uint32_t kReuseDelay = 64;
    struct State {
        uint32_t head;
        uint32_t tail;
        uint32_t fresh;
        uint32_t used;
    };

    T* entries_ = nullptr;
    uint32_t* waiting_ = nullptr;
    State* state_ = nullptr;
    uint32_t capacity_ = 0;
};

}  // namespace vrdma
