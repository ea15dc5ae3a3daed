// The tools' end of the control API.
//
// One connection per request: a tool asks once or twice and ends. The call waits for the response,
// but is built on asynchronous operations, because those have a time limit and a tool must not hang
// on a service that is stuck. The limit is above the service's own, so that its
// explanation arrives before ours.
//
// The only file of the tools that includes Beast, which is slow to compile.

#include "tools/common/control_client.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "dataplane/control/runtime_directory.h"

namespace vrdma::tools {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

constexpr std::uint64_t kMaxResponseBytes = std::uint64_t{1} << 30;

/// Connect, write, read, one after the other.
class Exchange {
  public:
    Exchange(const std::string& path, const ControlRequest& from) : path_(path), stream_(context_) {
        request_.version(11);
        request_.method_string(from.method);
        request_.target(from.target);
        request_.set(http::field::host, "vrdmad");
        request_.keep_alive(false);
        if (!from.body.empty()) {
            request_.set(http::field::content_type, "application/json");
        }
        request_.body() = from.body;
        request_.prepare_payload();
        parser_.body_limit(kMaxResponseBytes);
    }

    /// Whether a response is there; else error() says why not.
    bool run(std::chrono::milliseconds timeout) {
        stream_.expires_after(timeout);
        stream_.async_connect(Protocol::endpoint(path_), [this](const ErrorCode& error) {
            if (!failed(error)) {
                write();
            }
        });
        context_.run();
        return !error_;
    }

    [[nodiscard]] const ErrorCode& error() const { return error_; }

    [[nodiscard]] ControlResponse response() {
        auto message = parser_.release();
        return {message.result_int(), std::move(message.body())};
    }

  private:
    bool failed(const ErrorCode& error) {
        error_ = error;
        return static_cast<bool>(error);
    }

    void write() {
        http::async_write(stream_, request_, [this](const ErrorCode& error, std::size_t) {
            // A service that refuses a request early closes before it has read all: read what it
            // said.
            if (error != asio::error::broken_pipe && failed(error)) {
                return;
            }
            read();
        });
    }

    void read() {
        http::async_read(stream_, buffer_, parser_,
                         [this](const ErrorCode& error, std::size_t) { failed(error); });
    }

    std::string path_;
    asio::io_context context_;
    beast::basic_stream<Protocol> stream_;
    http::request<http::string_body> request_;
    beast::flat_buffer buffer_;
    http::response_parser<http::string_body> parser_;
    ErrorCode error_;
};

std::string directory_of(const std::string& path) {
    return std::filesystem::path(path).parent_path().string();
}

/// Who may use the socket, as far as this user can see it.
std::string permission_remedy(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
        return fmt::format("the directory {} is closed to this user; run as root",
                           directory_of(path));
    }
    const group* const entry = ::getgrgid(status.st_gid);
    const std::string name = entry == nullptr ? std::to_string(status.st_gid) : entry->gr_name;
    return fmt::format("run as root or as a member of the group {}", name);
}

ControlError explain(const ErrorCode& error, const std::string& path) {
    using Kind = ControlError::Kind;
    if (error == asio::error::access_denied) {
        return {Kind::kPermission,
                fmt::format("no permission to use {}: {}", path, permission_remedy(path))};
    }
    const bool absent = error == boost::system::errc::no_such_file_or_directory ||
                        error == boost::system::errc::not_a_directory;
    if (absent || error == asio::error::connection_refused) {
        return {Kind::kNotRunning,
                fmt::format("vrdmad is not running: {} at {}; start vrdmad, or name its runtime "
                            "directory with --runtime-dir",
                            absent ? "there is no socket" : "nobody answers", path)};
    }
    if (error == beast::error::timeout) {
        return {Kind::kTimeout,
                fmt::format("vrdmad did not answer at {} in time: see its log", path)};
    }
    return {Kind::kBroken,
            fmt::format("{} does not answer as vrdmad does ({}): check the path, and that tool and "
                        "service are of the same release",
                        path, error.message())};
}

}  // namespace

tl::expected<ControlResponse, ControlError> ask_control(const std::string& socket_path,
                                                        const ControlRequest& request,
                                                        std::chrono::milliseconds timeout) {
    if (socket_path.size() > control::kMaxSocketPath) {
        return tl::unexpected(ControlError{
            ControlError::Kind::kNotRunning,
            fmt::format("{} is longer than the {} bytes of a socket path: name another one",
                        socket_path, control::kMaxSocketPath)});
    }
    Exchange exchange(socket_path, request);
    if (!exchange.run(timeout)) {
        return tl::unexpected(explain(exchange.error(), socket_path));
    }
    return exchange.response();
}

}  // namespace vrdma::tools
