// Asynchronous events: from the device's event socket to the program's async fd.
//
// Threading: every function takes the context's event lock itself, except where it says so.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <tl/expected.hpp>
#include <unordered_map>

#include "driver/abi/command.h"
#include "driver/channel/unique_fd.h"
#include "verbs/event_pipe.h"

namespace vrdma::verbs {

struct Context;
struct Cq;

// Who waits until the program has acknowledged the events of an object (ibv_ack_async_event).
struct AsyncEventCount {
    std::uint32_t sent = 0;  // under the event lock
};

class AsyncEvents {
  public:
    enum class Kind : std::uint8_t { cq, qp, srq };

    explicit AsyncEvents(Context& context) : context_(context) {}

    // Makes the pipe. Returns the program's end, which becomes async_fd; the error is an errno.
    [[nodiscard]] tl::expected<driver::UniqueFd, int> open();

    // Events name an object by the address of its ibv_cq, ibv_qp or ibv_srq, which is the cookie it
    // was created with.
    void add(Kind kind, const void* object, AsyncEventCount& count);
    // After the device has destroyed it: no event of it is left anywhere but with the program.
    void remove(const void* object);

    // The watcher: the device's socket can be read; our pipe has room.
    void device_readable();
    void pipe_writable();

    // Tells the program that the device is gone, once: DEVICE_FATAL, and an event for every CQ that
    // has a channel, so that nobody sleeps on it.
    void device_lost();

  private:
    struct Object {
        Kind kind;
        AsyncEventCount* count;
    };

    // Under the event lock. False when the device hung up.
    [[nodiscard]] bool take_all();
    void deliver(const vrdma_event& event);
    void send(std::uint64_t element, std::uint32_t type);

    Context& context_;
    EventPipe pipe_;
    int program_fd_ = -1;
    std::unordered_map<std::uint64_t, Object> objects_;
};

// Waits until `completed`, which libibverbs counts up under `mutex`, reaches `sent`.
void wait_for_acknowledgement(pthread_mutex_t& mutex, pthread_cond_t& cond,
                              const std::uint32_t& completed, std::uint32_t sent);

}  // namespace vrdma::verbs
