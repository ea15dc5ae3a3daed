// The provider's end of a socket on which a program reads events (an async fd, a completion
// channel).
//
// A program may read late or never, so a message that does not fit is kept here and sent when there
// is room. Threading: callers hold the context's event lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <tl/expected.hpp>

#include "driver/channel/unique_fd.h"

namespace vrdma::verbs {

class EventPipe {
  public:
    static constexpr std::size_t kMaxMessageBytes = 16;  // struct ib_uverbs_async_event_desc
    static constexpr std::size_t kMaxPending = 65536;    // then the newest are lost, and logged

    // Makes the socket. Returns the program's end; the error is an errno.
    [[nodiscard]] tl::expected<driver::UniqueFd, int> open(std::size_t message_bytes);

    [[nodiscard]] int fd() const { return end_.get(); }
    // Messages wait for room: flush() when fd() is writable.
    [[nodiscard]] bool has_pending() const { return !pending_.empty(); }

    void send(std::span<const std::byte> message);
    void flush();

    // Takes back the messages for which `matches` is true and that the program has not read from
    // program_fd yet. Returns how many.
    std::uint32_t take_back(int program_fd,
                            const std::function<bool(std::span<const std::byte>)>& matches);

  private:
    struct Message {
        std::array<std::byte, kMaxMessageBytes> bytes;
    };

    [[nodiscard]] bool try_send(std::span<const std::byte> message);

    driver::UniqueFd end_;
    std::size_t message_bytes_ = 0;
    std::deque<Message> pending_;
};

}  // namespace vrdma::verbs
