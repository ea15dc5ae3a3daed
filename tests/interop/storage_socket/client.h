#pragma once

// The side that asks: echoes, and files that the server fetches from or brings to its memory.

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "tests/interop/storage_socket/event_loop.h"
#include "tests/interop/storage_socket/message.h"
#include "tests/interop/storage_socket/socket.h"

namespace vrdma::storage_socket {

inline constexpr std::size_t kSlots = 64;  ///< requests under way, more than there are credits
inline constexpr std::size_t kSlotBytes = 256 * 1024;

class Client {
  public:
    Client(Socket& socket, EventLoop& loop, Region& memory, std::uint64_t seed)
        : socket_(&socket), loop_(&loop), memory_(&memory), seed_(seed) {}

    [[nodiscard]] verbs_util::Result<void> run(std::uint32_t requests);

  private:
    struct Asked {
        Message message;
        std::size_t slot = 0;
    };

    [[nodiscard]] verbs_util::Result<void> ask();
    [[nodiscard]] verbs_util::Result<void> take_answers();
    [[nodiscard]] verbs_util::Result<void> judge(const Message& answer);
    [[nodiscard]] std::vector<Segment> choose_segments(std::size_t slot, std::uint64_t random);

    Socket* socket_;
    EventLoop* loop_;
    Region* memory_;
    std::uint64_t seed_;
    std::uint32_t asked_ = 0, answered_ = 0;
    std::map<std::uint32_t, Asked> under_way_;
    std::vector<std::size_t> free_slots_;
};

}  // namespace vrdma::storage_socket
