// Which of N things has its deadline next: a binary heap over small indices, at most one deadline
// an index, moved or removed in O(log n). Fixed memory.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/base/time.h"

namespace vrdma {

class DeadlineQueue {
  public:
    explicit DeadlineQueue(uint32_t capacity) : position_(capacity, kAbsent) {
        heap_.reserve(capacity);
    }

    void set(uint32_t index, Instant deadline);
    void clear(uint32_t index);
    [[nodiscard]] bool contains(uint32_t index) const { return position_[index] != kAbsent; }
    [[nodiscard]] Instant next() const {
        return heap_.empty() ? Instant::never() : heap_[0].deadline;
    }
    // Removes and returns an index whose deadline has come. False when there is none.
    [[nodiscard]] bool pop_due(Instant now, uint32_t& index);

  private:
    static constexpr uint32_t kAbsent = UINT32_MAX;
    struct Entry {
        Instant deadline;
        uint32_t index;
    };
    void place(uint32_t at, Entry entry);
    void sift_up(uint32_t at, Entry entry);
    void sift_down(uint32_t at, Entry entry);

    std::vector<uint32_t> position_;
    std::vector<Entry> heap_;
};

}  // namespace vrdma
