#pragma once

// Messages between the two processes of a measurement, over TCP, a Unix socket or a socket pair:
// the out-of-band connection that any verbs program needs to exchange addresses.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/unique_fd.h"

namespace vrdma::verbs_util {

class Stream {
  public:
    Stream() = default;
    explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}

    /// "HOST:PORT", "[V6]:PORT" or "unix:PATH". Tries again until `timeout_ms` has passed, so that
    /// both programs may be started at the same time.
    [[nodiscard]] static Result<Stream> connect(const std::string& address, int timeout_ms);
    /// Two connected ends, to be shared out by a fork.
    [[nodiscard]] static Result<std::pair<Stream, Stream>> pair();

    [[nodiscard]] Result<void> send(const nlohmann::json& message);
    /// Waits without end when `timeout_ms` is negative. Fails with kPartner when the partner is
    /// gone, is late or sends what is not a message.
    [[nodiscard]] Result<nlohmann::json> receive(int timeout_ms = -1);
    /// Whether receive() would find something, or the partner has gone.
    [[nodiscard]] bool readable() const;
    [[nodiscard]] int fd() const { return fd_.get(); }
    void close() { fd_.reset(); }

  private:
    [[nodiscard]] Result<void> read_all(void* to, std::size_t bytes, int timeout_ms);

    UniqueFd fd_;
};

class Listener {
  public:
    /// An empty host listens on every address; port 0 picks a free one, see port().
    [[nodiscard]] static Result<Listener> listen(const std::string& address);

    [[nodiscard]] Result<Stream> accept(int timeout_ms = -1);
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    UniqueFd fd_;
    std::uint16_t port_ = 0;
};

}  // namespace vrdma::verbs_util
