// A heap rather than a wheel: deadlines here are rare (a receiver that is not ready, a peer that
// does not answer), and a sleeping worker needs the exact next one, which the heap has at its root.
// The position of each index in the heap is kept so that a deadline can be moved without a search.
#include "dataplane/base/deadline_queue.h"

namespace vrdma {

void DeadlineQueue::place(uint32_t at, Entry entry) {
    heap_[at] = entry;
    position_[entry.index] = at;
}

void DeadlineQueue::sift_up(uint32_t at, Entry entry) {
    while (at > 0) {
        const uint32_t parent = (at - 1) / 2;
        if (heap_[parent].deadline <= entry.deadline) {
            break;
        }
        place(at, heap_[parent]);
        at = parent;
    }
    place(at, entry);
}

void DeadlineQueue::sift_down(uint32_t at, Entry entry) {
    const uint32_t size = static_cast<uint32_t>(heap_.size());
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= size) {
            break;
        }
        if (child + 1 < size && heap_[child + 1].deadline < heap_[child].deadline) {
            ++child;
        }
        if (entry.deadline <= heap_[child].deadline) {
            break;
        }
        place(at, heap_[child]);
        at = child;
    }
    place(at, entry);
}

void DeadlineQueue::set(uint32_t index, Instant deadline) {
    const Entry entry{deadline, index};
    uint32_t at = position_[index];
    if (at == kAbsent) {
        at = static_cast<uint32_t>(heap_.size());
        heap_.push_back(entry);
        sift_up(at, entry);
        return;
    }
    if (deadline < heap_[at].deadline) {
        sift_up(at, entry);
    } else {
        sift_down(at, entry);
    }
}

void DeadlineQueue::clear(uint32_t index) {
    const uint32_t at = position_[index];
    if (at == kAbsent) {
        return;
    }
    position_[index] = kAbsent;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.index == index) {
        return;
    }
    if (at > 0 && last.deadline < heap_[(at - 1) / 2].deadline) {
        sift_up(at, last);
    } else {
        sift_down(at, last);
    }
}

bool DeadlineQueue::pop_due(Instant now, uint32_t& index) {
    if (heap_.empty() || now < heap_[0].deadline) {
        return false;
    }
    index = heap_[0].index;
    clear(index);
    return true;
}

}  // namespace vrdma
