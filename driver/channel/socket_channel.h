// A device behind the attach socket of a service on this host.
//
// Threading: as Channel. Commands are serialised by a mutex; the thread that sends one waits for
// its answer.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>

#include "driver/channel/channel.h"
#include "driver/channel/shared_memory.h"
#include "driver/channel/unique_fd.h"

namespace vrdma::driver {

class SocketChannel final : public Channel {
  public:
    // Connects to `path` and opens the device with `features` on offer. `program` is shown by
    // tools. Errors: the errno of connect (ENOENT, ECONNREFUSED: no service; EACCES: not this
    // tenant's vNIC); EPROTO: another major version of the contract; what OPEN was refused with.
    [[nodiscard]] static tl::expected<std::unique_ptr<SocketChannel>, CommandError> open(
        const char* path, std::string_view program, std::uint64_t features);

    [[nodiscard]] tl::expected<void, CommandError> request(const Command& command,
                                                           std::span<std::byte> response) override;
    [[nodiscard]] const vrdma_rsp_open& info() const override { return info_; }
    [[nodiscard]] const Doorbell& doorbell() const override { return doorbell_; }
    [[nodiscard]] int event_socket() const override { return event_socket_.get(); }
    [[nodiscard]] bool dead() const override { return dead_.load(std::memory_order_acquire); }
    void mark_dead() override { dead_.store(true, std::memory_order_release); }
    void abandon() override;
    void say_goodbye() override;
    // The open /dev/userfaultfd that a device with VRDMA_FEATURE_USERFAULT handed over; once, then
    // and else none.
    [[nodiscard]] UniqueFd take_userfault_device() { return std::move(userfault_device_); }

  private:
    SocketChannel() = default;

    [[nodiscard]] tl::expected<void, CommandError> open_device(std::string_view program,
                                                               std::uint64_t features);
    [[nodiscard]] tl::expected<void, CommandError> exchange(const Command& command,
                                                            std::span<std::byte> response,
                                                            std::span<UniqueFd> received);
    [[nodiscard]] tl::expected<void, CommandError> send(const Command& command);
    [[nodiscard]] tl::expected<void, CommandError> receive(const Command& command,
                                                           std::span<std::byte> response,
                                                           std::span<UniqueFd> received);
    [[nodiscard]] tl::unexpected<CommandError> broken(const CommandError& error);

    std::mutex mutex_;
    std::uint64_t tag_ = 0;
    std::atomic<bool> dead_ = false;
    UniqueFd socket_;
    UniqueFd event_socket_;
    UniqueFd kick_;
    UniqueFd userfault_device_;
    SharedMemory doorbell_pages_;
    Doorbell doorbell_;
    vrdma_rsp_open info_{};
};

}  // namespace vrdma::driver
