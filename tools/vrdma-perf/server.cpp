#include "tools/vrdma-perf/server.h"

#include <fmt/format.h>
#include <poll.h>

#include <memory>
#include <optional>

#include "tools/verbs_util/address_json.h"
#include "tools/vrdma-perf/control.h"
#include "tools/vrdma-perf/responder.h"

// Answers the control requests of one client with a LocalResponder. Between "begin" and "end" of an
// operation that consumes receives it polls for messages and looks at the control connection now
// and then; with events it sleeps on both. For all other operations it sleeps on the control
// connection, so a WRITE, READ or atomic is measured against an idle far end.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::object_field;
using verbs_util::Result;
using verbs_util::Stream;
using verbs_util::text_field;

constexpr unsigned kPollsPerLook = 2048;

class ClientSession {
  public:
    ClientSession(Stream& stream, const verbs_util::DeviceOptions& device)
        : stream_(stream), device_options_(device) {}

    /// False when the client has gone in an orderly way.
    Result<bool> answer_one() {
        if (receiving_) {
            if (auto served = receive_until_request(); !served) {
                return tl::make_unexpected(served.error());
            }
        }
        auto request = stream_.receive();
        if (!request) {
            return false;
        }
        auto answer = handle(*request);
        nlohmann::json reply =
            answer ? std::move(*answer) : nlohmann::json{{"error", to_json(answer.error())}};
        if (auto sent = stream_.send(reply); !sent) {
            return tl::make_unexpected(sent.error());
        }
        return true;
    }

  private:
    Result<void> receive_until_request() {
        while (true) {
            for (unsigned i = 0; i < kPollsPerLook; ++i) {
                const auto taken = responder_->progress();
                if (!taken) {
                    return tl::make_unexpected(taken.error());
                }
            }
            if (stream_.readable()) {
                return {};
            }
            if (endpoint_->recv_cq().has_events()) {
                if (auto slept = sleep_for_message(); !slept) {
                    return slept;
                }
            } else {
                (void)sched_yield();
            }
        }
    }

    Result<void> sleep_for_message() {
        verbs_util::CompletionQueue& cq = endpoint_->recv_cq();
        if (auto armed = cq.arm(); !armed) {
            return armed;
        }
        const auto taken = responder_->progress();
        if (!taken) {
            return tl::make_unexpected(taken.error());
        }
        if (*taken > 0) {
            return {};
        }
        pollfd waiting[2] = {{stream_.fd(), POLLIN, 0}, {cq.event_fd(), POLLIN, 0}};
        (void)poll(waiting, 2, -1);
        if ((waiting[1].revents & POLLIN) != 0) {
            if (auto event = cq.take_event(0); !event) {
                return tl::make_unexpected(event.error());
            }
        }
        return {};
    }

    Result<nlohmann::json> handle(const nlohmann::json& request) {
        const std::string name = text_field(request, "request");
        if (name == "open") {
            return open(object_field(request, "options"));
        }
        if (!responder_) {
            return fail(ErrorKind::kPartner, fmt::format("request \"{}\" before open", name));
        }
        if (name == "connect") {
            return connect(object_field(request, "endpoint"));
        }
        if (name == "end") {
            return end(request);
        }
        auto workload = workload_from(object_field(request, "workload"), endpoint_->options());
        if (!workload) {
            return tl::make_unexpected(workload.error());
        }
        if (name == "begin") {
            receiving_ = consumes_receive(workload->operation);
            return confirm(responder_->begin(*workload));
        }
        const auto batch = batch_from(object_field(request, "batch"), *workload);
        if (!batch) {
            return tl::make_unexpected(batch.error());
        }
        if (name == "prepare") {
            return confirm(responder_->prepare_batch(*workload, *batch));
        }
        if (name == "check") {
            return confirm(responder_->check_batch(*workload, *batch));
        }
        return fail(ErrorKind::kPartner, fmt::format("request \"{}\" is unknown", name));
    }

    static Result<nlohmann::json> confirm(const Result<void>& done) {
        if (!done) {
            return tl::make_unexpected(done.error());
        }
        return nlohmann::json{{"ok", true}};
    }

    Result<nlohmann::json> open(const nlohmann::json& json) {
        const auto options = endpoint_options_from(json);
        if (!options) {
            return tl::make_unexpected(options.error());
        }
        auto device = verbs_util::Device::open(device_options_);
        if (!device) {
            return tl::make_unexpected(device.error());
        }
        auto endpoint = Endpoint::create(std::move(*device), *options);
        if (!endpoint) {
            return tl::make_unexpected(endpoint.error());
        }
        responder_.reset();
        endpoint_ = std::move(*endpoint);
        responder_ = std::make_unique<LocalResponder>(*endpoint_);
        return nlohmann::json{{"ok", true}, {"endpoint", to_json(endpoint_->describe())}};
    }

    Result<nlohmann::json> connect(const nlohmann::json& json) {
        const auto description = endpoint_description_from(json);
        if (!description) {
            return tl::make_unexpected(description.error());
        }
        return confirm(endpoint_->connect(*description));
    }

    Result<nlohmann::json> end(const nlohmann::json& request) {
        receiving_ = false;
        const auto sent = verbs_util::number_field(request, "sent", UINT64_MAX);
        if (!sent) {
            return tl::make_unexpected(sent.error());
        }
        const auto count = responder_->end(*sent);
        if (!count) {
            return tl::make_unexpected(count.error());
        }
        return nlohmann::json{{"ok", true}, {"messages", count->messages}, {"bytes", count->bytes}};
    }

    Stream& stream_;
    const verbs_util::DeviceOptions& device_options_;
    std::unique_ptr<Endpoint> endpoint_;
    std::unique_ptr<LocalResponder> responder_;
    bool receiving_ = false;
};

}  // namespace

Result<void> serve_client(Stream stream, const verbs_util::DeviceOptions& device) {
    ClientSession session(stream, device);
    while (true) {
        const auto more = session.answer_one();
        if (!more) {
            (void)stream.send({{"error", to_json(more.error())}});
            return tl::make_unexpected(more.error());
        }
        if (!*more) {
            return {};
        }
    }
}

Result<void> run_server(std::uint16_t port, const verbs_util::DeviceOptions& device) {
    if (auto opened = verbs_util::Device::open(device); !opened) {
        return tl::make_unexpected(opened.error());
    }
    auto listener = verbs_util::Listener::listen(fmt::format(":{}", port));
    if (!listener) {
        return tl::make_unexpected(listener.error());
    }
    fmt::print(stderr, "vrdma-perf: serving on TCP port {}\n", listener->port());
    while (true) {
        auto client = listener->accept();
        if (!client) {
            return tl::make_unexpected(client.error());
        }
        if (const auto served = serve_client(std::move(*client), device); !served) {
            fmt::print(stderr, "vrdma-perf: {}\n", served.error().message());
        }
    }
}

}  // namespace vrdma::perf
