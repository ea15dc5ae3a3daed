#pragma once

// The side that answers. It alone starts RDMA, as a storage service does.

#include <cstdint>
#include <map>
#include <vector>

#include "tests/interop/storage_socket/event_loop.h"
#include "tests/interop/storage_socket/message.h"
#include "tests/interop/storage_socket/socket.h"

namespace vrdma::storage_socket {

class Server {
  public:
    Server(Socket& socket, EventLoop& loop, Region& memory, std::uint32_t max_sge);

    /// Until the client closes.
    [[nodiscard]] verbs_util::Result<void> run();

  private:
    struct Job {
        Message message;
        std::size_t slot = 0;
    };

    [[nodiscard]] verbs_util::Result<void> take_requests();
    [[nodiscard]] verbs_util::Result<void> start(Message message);
    [[nodiscard]] verbs_util::Result<void> finish(std::uint64_t token);
    [[nodiscard]] verbs_util::Result<void> answer(const Message& request);
    [[nodiscard]] std::vector<ibv_sge> scatter(std::byte* at, std::uint32_t bytes,
                                               std::uint64_t random) const;

    Socket* socket_;
    EventLoop* loop_;
    Region* memory_;
    std::uint32_t max_sge_;
    std::map<std::uint64_t, Job> jobs_;
    std::vector<std::size_t> free_slots_;
};

}  // namespace vrdma::storage_socket
