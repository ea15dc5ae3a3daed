// The control API's transport.
//
// Whoever may connect to the socket may ask for anything, but must not be able to take the API away
// from others. A session is always in one of three states, each with a time limit: reading a
// request, waiting for the handler, writing the response. When all connections are taken, a
// newcomer closes the oldest session that waits for its own client; only if all wait for the
// service itself is the newcomer told to come back. The handler's answer may arrive after its
// session is gone or has given up, so it carries the number of the exchange it belongs to and is
// dropped if that is over.
//
// Single-threaded: all state belongs to the thread that runs the io_context. The only file that
// includes Beast's server side, because Beast is slow to compile.

#include "dataplane/control/http_server.h"

#include <filesystem>
#include <functional>
#include <list>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace vrdma::control {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

/// One connection. Lives while an operation of it is pending or the server lists it.
class Session : public std::enable_shared_from_this<Session> {
  public:
    enum class State : std::uint8_t { kReading, kHandling, kWriting, kClosed };
    using OnClosed = std::function<void(Session*)>;

    Session(asio::io_context& context, Protocol::socket socket, const HttpServerOptions& options,
            const ApiHandler& handler, OnClosed on_closed)
        : stream_(std::move(socket)),
          answer_timer_(context),
          options_(options),
          handler_(handler),
          on_closed_(std::move(on_closed)) {}

    [[nodiscard]] State state() const { return state_; }

    void read() {
        state_ = State::kReading;
        is_head_ = false;
        parser_.emplace();
        parser_->header_limit(options_.max_header_bytes);
        parser_->body_limit(options_.max_body_bytes);
        stream_.expires_after(options_.read_timeout);
        http::async_read(stream_, buffer_, *parser_,
                         [self = shared_from_this()](const ErrorCode& error, std::size_t) {
                             self->on_read(error);
                         });
    }

    /// Answers without having read a request, and closes.
    void refuse(ApiResponse response) {
        keep_alive_ = false;
        write(std::move(response));
    }

    void close() {
        if (std::exchange(state_, State::kClosed) == State::kClosed) {
            return;
        }
        ++exchange_;
        ErrorCode ignored;
        answer_timer_.cancel();
        stream_.socket().shutdown(Protocol::socket::shutdown_both, ignored);
        stream_.close();
        if (on_closed_) {
            std::exchange(on_closed_, nullptr)(this);
        }
    }

    /// Ends the session from the server's destructor, which needs no notice of it.
    void abandon() {
        on_closed_ = nullptr;
        close();
    }

  private:
    void on_read(const ErrorCode& error) {
        if (state_ == State::kClosed) {
            return;
        }
        if (!error) {
            call_handler();
            return;
        }
        if (auto response = complaint(error)) {
            refuse(std::move(*response));
        } else {
            close();
        }
    }

    /// What to tell a client whose request could not be read; nothing if it went away.
    [[nodiscard]] std::optional<ApiResponse> complaint(const ErrorCode& error) const {
        if (error == http::error::body_limit) {
            return problem(413, "the body is too large",
                           fmt::format("at most {} bytes", options_.max_body_bytes),
                           "send less: no request of this API needs more");
        }
        if (error == http::error::header_limit) {
            return problem(431, "the header is too large",
                           fmt::format("at most {} bytes", options_.max_header_bytes),
                           "send fewer or shorter header fields");
        }
        const bool gone =
            error == http::error::end_of_stream || error == http::error::partial_message;
        const bool is_http =
            error.category() == make_error_code(http::error::bad_method).category();
        if (gone || !is_http) {
            return std::nullopt;
        }
        return problem(400, "the request is not HTTP/1.1: " + error.message(),
                       "an HTTP/1.1 request", "use vrdmactl, or curl --unix-socket");
    }

    void call_handler() {
        state_ = State::kHandling;
        auto message = parser_->release();
        keep_alive_ = message.keep_alive();
        is_head_ = message.method() == http::verb::head;
        ApiRequest request{std::string(message.method_string()), std::string(message.target()),
                           std::move(message.body())};
        answer_timer_.expires_after(options_.answer_timeout);
        answer_timer_.async_wait([self = shared_from_this(), exchange = exchange_](auto error) {
            if (!error) {
                self->answer(exchange,
                             problem(504, "the service did not answer in time",
                                     fmt::format("an answer within {} ms",
                                                 self->options_.answer_timeout.count()),
                                     "try again; if it lasts, see the workers in the log"));
            }
        });
        handler_(request, [session = weak_from_this(), exchange = exchange_](ApiResponse response) {
            if (const auto self = session.lock()) {
                self->answer(exchange, std::move(response));
            }
        });
    }

    void answer(std::uint64_t exchange, ApiResponse response) {
        if (exchange != exchange_ || state_ != State::kHandling) {
            return;
        }
        answer_timer_.cancel();
        write(std::move(response));
    }

    void write(ApiResponse from) {
        state_ = State::kWriting;
        ++exchange_;
        response_ = {};
        response_.version(11);
        response_.result(from.status);
        response_.keep_alive(keep_alive_);
        response_.set(http::field::cache_control, "no-store");
        if (!from.allow.empty()) {
            response_.set(http::field::allow, from.allow);
        }
        if (from.status != 204) {
            response_.set(http::field::content_type, from.content_type);
            response_.content_length(from.body.size());
        }
        if (!is_head_) {
            response_.body() = std::move(from.body);
        }
        stream_.expires_after(options_.write_timeout);
        http::async_write(stream_, response_,
                          [self = shared_from_this()](const ErrorCode& error, std::size_t) {
                              self->on_written(error);
                          });
    }

    void on_written(const ErrorCode& error) {
        if (state_ == State::kClosed) {
            return;
        }
        if (error || !keep_alive_) {
            close();
        } else {
            read();
        }
    }

    beast::basic_stream<Protocol> stream_;
    asio::steady_timer answer_timer_;
    const HttpServerOptions& options_;
    const ApiHandler& handler_;
    OnClosed on_closed_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::string_body>> parser_;
    http::response<http::string_body> response_;
    State state_ = State::kReading;
    std::uint64_t exchange_ = 0;  ///< counts answers: an answer to an earlier one is late
    bool keep_alive_ = true;
    bool is_head_ = false;
};

ClaimError cannot(const std::string& what, const std::string& path, const std::string& why) {
    return {fmt::format("cannot {} {}: {}", what, path, why),
            "check the permissions of the runtime directory"};
}

/// Nobody can connect before listen(), so the mode is right from the first connection on.
std::optional<ClaimError> open(Protocol::acceptor& acceptor, const std::string& path) {
    namespace fs = std::filesystem;
    ErrorCode error;
    acceptor.open(Protocol(), error);
    if (!error) {
        acceptor.bind(path, error);
    }
    if (error) {
        return cannot("bind", path, error.message());
    }
    std::error_code mode_error;
    constexpr auto kOwnerAndGroup = static_cast<fs::perms>(0660);
    fs::permissions(path, kOwnerAndGroup, mode_error);
    if (mode_error) {
        return cannot("set the mode of", path, mode_error.message());
    }
    static_cast<void>(::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC));
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
        return cannot("listen on", path, error.message());
    }
    return std::nullopt;
}

}  // namespace

class HttpServer::Implementation : public std::enable_shared_from_this<Implementation> {
  public:
    Implementation(asio::io_context& context, HttpServerOptions options, ApiHandler handler,
                   SocketClaim claim)
        : context_(context),
          options_(std::move(options)),
          handler_(std::move(handler)),
          claim_(std::move(claim)),
          acceptor_(context),
          retry_timer_(context) {}

    std::optional<ClaimError> listen() {
        if (auto error = open(acceptor_, options_.socket_path)) {
            return error;
        }
        accept();
        return std::nullopt;
    }

    void stop() {
        stopped_ = true;
        claim_.reset();
        ErrorCode ignored;
        acceptor_.close(ignored);
        retry_timer_.cancel();
        for (const auto& session : std::exchange(sessions_, {})) {
            session->abandon();
        }
    }

    [[nodiscard]] std::size_t connections() const { return sessions_.size(); }

  private:
    void accept() {
        acceptor_.async_accept(
            [self = shared_from_this()](const ErrorCode& error, Protocol::socket socket) {
                if (self->stopped_) {
                    return;
                }
                if (error) {
                    self->accept_later();
                } else {
                    self->admit(std::move(socket));
                    self->accept();
                }
            });
    }

    /// Out of descriptors, most likely: trying again at once would spin.
    void accept_later() {
        constexpr std::chrono::milliseconds kPause{100};
        retry_timer_.expires_after(kPause);
        retry_timer_.async_wait([self = shared_from_this()](const ErrorCode& error) {
            if (!error && !self->stopped_) {
                self->accept();
            }
        });
    }

    void admit(Protocol::socket socket) {
        const bool room = sessions_.size() < options_.max_connections || make_room();
        const auto session =
            std::make_shared<Session>(context_, std::move(socket), options_, handler_,
                                      [this](Session* closed) { forget(closed); });
        sessions_.push_back(session);
        if (room) {
            session->read();
        } else {
            session->refuse(problem(503, "all connections wait for the service",
                                    fmt::format("at most {} at a time", options_.max_connections),
                                    "try again in a moment"));
        }
    }

    /// Closes the oldest session that waits for its client. False if there is none.
    bool make_room() {
        for (const auto& session : sessions_) {
            if (session->state() != Session::State::kHandling) {
                const auto victim = session;
                victim->close();
                return true;
            }
        }
        return false;
    }

    void forget(const Session* closed) {
        sessions_.remove_if([closed](const auto& session) { return session.get() == closed; });
    }

    asio::io_context& context_;
    const HttpServerOptions options_;
    const ApiHandler handler_;
    std::optional<SocketClaim> claim_;
    Protocol::acceptor acceptor_;
    asio::steady_timer retry_timer_;
    std::list<std::shared_ptr<Session>> sessions_;  ///< oldest connection first
    bool stopped_ = false;
};

HttpServer::HttpServer(std::shared_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

HttpServer::~HttpServer() {
    try {
        implementation_->stop();
    } catch (...) {  // cancelling a timer cannot fail in a way that leaves something to do
    }
}

std::size_t HttpServer::connections() const {
    return implementation_->connections();
}

tl::expected<std::unique_ptr<HttpServer>, ClaimError> HttpServer::start(asio::io_context& context,
                                                                        HttpServerOptions options,
                                                                        ApiHandler handler) {
    auto claim = SocketClaim::take(options.socket_path);
    if (!claim) {
        return tl::unexpected(claim.error());
    }
    const auto implementation = std::make_shared<Implementation>(
        context, std::move(options), std::move(handler), std::move(*claim));
    if (auto error = implementation->listen()) {
        return tl::unexpected(std::move(*error));
    }
    return std::unique_ptr<HttpServer>(new HttpServer(implementation));
}

}  // namespace vrdma::control
