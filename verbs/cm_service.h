// A vNIC as connection management sees it, and the conversation with its service.
//
// Threading: ask() and tell() on any thread. received() on the thread that reads the socket.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "driver/abi/connection.h"
#include "driver/channel/unique_fd.h"

namespace vrdma::verbs {

class CmService {
  public:
    using Address = std::array<std::uint8_t, 16>;

    // Connects and says HELLO; an errno else. `guid` is the device's, in network order.
    [[nodiscard]] static tl::expected<std::unique_ptr<CmService>, int> open(
        const std::string& socket_path, std::uint64_t guid);

    // Waits for the answer, whose status is the caller's to look at; an errno when there is none.
    [[nodiscard]] tl::expected<vrdma_cm_message, int> ask(vrdma_cm_message message);
    // False when the service is gone.
    [[nodiscard]] bool tell(vrdma_cm_message message);

    // Reads one message. An answer goes to whoever waits for it; a notice is returned in `notice`.
    enum class Received { nothing, answer, notice, gone };
    [[nodiscard]] Received receive(vrdma_cm_message& notice);

    [[nodiscard]] int fd() const { return socket_.get(); }
    [[nodiscard]] const Address& address() const { return address_; }
    [[nodiscard]] std::uint64_t guid() const { return guid_; }
    [[nodiscard]] std::uint8_t mtu() const { return mtu_; }
    [[nodiscard]] bool alive() const;

  private:
    driver::UniqueFd socket_;
    std::uint64_t guid_ = 0;
    Address address_{};
    std::uint8_t mtu_ = 0;
    mutable std::mutex mutex_;
    std::condition_variable answered_;
    std::vector<vrdma_cm_message> answers_;  // not yet taken by who waits for them
    std::uint32_t last_tag_ = 0;
    bool alive_ = true;
};

}  // namespace vrdma::verbs
