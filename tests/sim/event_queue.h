// What happens next: events in order of time, and of insertion where the time is the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataplane/base/time.h"

namespace vrdma::sim {

struct Event {
    enum class Kind : uint8_t { Arrival, Turn, Restart };
    Instant at;
    uint64_t serial = 0;
    uint32_t frame = 0;  // Arrival
    uint8_t host = 0;
    Kind kind = Kind::Turn;
};

class EventQueue {
  public:
    void push(Event event) {
        event.serial = next_serial_++;
        heap_.push_back(event);
        std::push_heap(heap_.begin(), heap_.end(), later);
    }
    [[nodiscard]] bool empty() const { return heap_.empty(); }
    Event pop() {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        const Event event = heap_.back();
        heap_.pop_back();
        return event;
    }

  private:
    static bool later(const Event& a, const Event& b) {
        return a.at != b.at ? a.at > b.at : a.serial > b.serial;
    }
    std::vector<Event> heap_;
    uint64_t next_serial_ = 0;
};

}  // namespace vrdma::sim
