#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/control/api.h"
#include "dataplane/control/socket_claim.h"

namespace boost::asio {
class io_context;
}

namespace vrdma::control {

struct HttpServerOptions {
    std::string socket_path;
    std::size_t max_connections = 64;
    std::uint32_t max_header_bytes = 8192;
    std::uint64_t max_body_bytes = 65536;
    std::chrono::milliseconds read_timeout{30'000};  ///< for one whole request, idle time included
    std::chrono::milliseconds answer_timeout{30'000};  ///< for the handler
    std::chrono::milliseconds write_timeout{30'000};   ///< for one whole response
};

/// HTTP/1.1 on a unix stream socket of mode 0660. Everything happens on the thread that runs the
/// io_context, which must outlive the server. No client can make it wait, grow without bound or
/// end: bytes, time and connections are limited, and when all connections are taken, the oldest
/// that is not waiting for an answer gives way to the newcomer.
class HttpServer {
  public:
    [[nodiscard]] static tl::expected<std::unique_ptr<HttpServer>, ClaimError> start(
        boost::asio::io_context& context, HttpServerOptions options, ApiHandler handler);

    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// Closes all connections and removes the socket. A Respond called afterwards does nothing.
    ~HttpServer();

    [[nodiscard]] std::size_t connections() const;

  private:
    class Implementation;
    explicit HttpServer(std::shared_ptr<Implementation> implementation);

    std::shared_ptr<Implementation> implementation_;
};

}  // namespace vrdma::control
