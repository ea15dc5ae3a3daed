#include "tests/e2e/fault_client/session.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "tests/e2e/fault_client/async_events.h"
#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/stream.h"
#include "tools/verbs_util/tsc.h"

// Both roles are the same loop: transfer, look for asynchronous events, look at the control
// connection. That connection is the reference for all times: the kernel closes it when the
// victim's process ends, and the partner sees that within microseconds. The device may be faster,
// since its own connection is closed in the same moment; differences are therefore signed.

namespace vrdma::fault {

namespace {

using verbs_util::Device;
using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::monotonic_ns;
using verbs_util::Result;
using verbs_util::Stream;

constexpr int kConnectMs = 30'000;
constexpr int kAnswerMs = 60'000;
constexpr unsigned kTurnsPerLook = 32;
constexpr std::uint64_t kStragglersMs = 50;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

/// When this side first noticed what.
struct Observations {
    std::optional<std::uint64_t> first_error;
    std::optional<std::uint64_t> last_error;  ///< the moment the last QP failed
    std::optional<std::uint64_t> first_event;
    std::optional<std::uint64_t> closed;  ///< control connection
};

class Session {
  public:
    Session(Link& link, Stream& control, const SessionOptions& options, bool sends, EventLog& log)
        : link_(link),
          control_(control),
          options_(options),
          log_(log),
          loop_(link, options.transfer, sends),
          sends_(sends) {}

    Result<void> start() {
        auto events = AsyncEvents::watch(link_.device());
        if (!events) {
            return tl::make_unexpected(events.error());
        }
        events_ = *events;
        return loop_.start();
    }

    /// Some turns of transferring and one look at everything else.
    Result<void> work() {
        bool moved = false;
        for (unsigned i = 0; i < kTurnsPerLook; ++i) {
            const auto turn = loop_.turn([this](const QueueError& error) { note(error); });
            if (!turn) {
                return tl::make_unexpected(turn.error());
            }
            moved = moved || *turn;
        }
        if (!announced_ && (!sends_ || loop_.proven_qps() == link_.options().qps)) {
            announced_ = true;
            (void)log_.write("transferring", {{"qps", link_.options().qps}});
        }
        while (const auto event = events_->take()) {
            note(*event);
        }
        if (!seen_.closed && control_.readable()) {
            seen_.closed = log_.write("control_closed");
        }
        moved ? spinner_.reset() : spinner_.idle();
        return {};
    }

    [[nodiscard]] const Observations& seen() const { return seen_; }
    [[nodiscard]] bool every_qp_failed() const { return loop_.failed_qps() == link_.options().qps; }
    [[nodiscard]] bool device_failed() const { return device_failed_; }
    [[nodiscard]] std::uint64_t completed() const { return loop_.completed(); }
    [[nodiscard]] std::uint32_t failed_qps() const { return loop_.failed_qps(); }
    [[nodiscard]] nlohmann::json events_by_type() const { return events_by_type_; }

  private:
    void note(const QueueError& error) {
        const std::uint64_t now = monotonic_ns();
        const nlohmann::json fields = {{"qp", error.qp},
                                       {"qpn", error.qpn},
                                       {"status", ibv_wc_status_str(error.status)},
                                       {"status_code", static_cast<int>(error.status)},
                                       {"receive", error.receive}};
        if (!seen_.first_error) {
            seen_.first_error = log_.write_at(now, "first_error", fields);
        }
        if (every_qp_failed()) {
            seen_.last_error = log_.write_at(now, "all_errors", fields);
        }
    }

    /// Writes the first event of each type; a device with many QPs has many of the same.
    void note(const AsyncEvent& event) {
        const std::uint64_t now = monotonic_ns();
        const std::string type = ibv_event_type_str(event.type);
        if (++events_by_type_[type] == 1) {
            (void)log_.write_at(
                now, "async_event",
                {{"type", type}, {"type_code", static_cast<int>(event.type)}, {"qpn", event.qpn}});
        }
        seen_.first_event = seen_.first_event ? seen_.first_event : now;
        device_failed_ = device_failed_ || event.type == IBV_EVENT_DEVICE_FATAL;
    }

    Link& link_;
    Stream& control_;
    const SessionOptions& options_;
    EventLog& log_;
    TransferLoop loop_;
    const bool sends_;
    std::optional<AsyncEvents> events_;
    Observations seen_;
    std::map<std::string, std::uint64_t> events_by_type_;
    verbs_util::Spinner spinner_;
    bool announced_ = false;
    bool device_failed_ = false;
};

nlohmann::json hello(const SessionOptions& options) {
    return {{"link", to_json(options.link)},
            {"transfer", static_cast<unsigned>(options.transfer)},
            {"victim_sends", options.victim_sends ? 1U : 0U},
            {"partner_sends", options.partner_sends ? 1U : 0U}};
}

/// What the victim wants, taken over into the partner's options.
Result<SessionOptions> accept_hello(const nlohmann::json& message, const SessionOptions& own) {
    SessionOptions options = own;
    const auto link = link_options_from(verbs_util::object_field(message, "link"));
    const auto transfer =
        verbs_util::number_field(message, "transfer", static_cast<unsigned>(Transfer::kMixed));
    const auto victim = verbs_util::number_field(message, "victim_sends", 1);
    const auto partner = verbs_util::number_field(message, "partner_sends", 1);
    if (!link) {
        return tl::make_unexpected(link.error());
    }
    for (const auto* field : {&transfer, &victim, &partner}) {
        if (!*field) {
            return tl::make_unexpected(field->error());
        }
    }
    options.link = *link;
    options.transfer = static_cast<Transfer>(*transfer);
    options.victim_sends = *victim != 0;
    options.partner_sends = *partner != 0;
    return options;
}

/// Both sides have created their link: exchange descriptions, connect, wait until both are ready.
Result<void> connect_links(Link& link, Stream& control) {
    if (auto sent = control.send(link.describe()); !sent) {
        return sent;
    }
    const auto theirs = control.receive(kAnswerMs);
    if (!theirs) {
        return tl::make_unexpected(theirs.error());
    }
    if (auto connected = link.connect(*theirs); !connected) {
        return connected;
    }
    if (auto sent = control.send({{"connected", true}}); !sent) {
        return sent;
    }
    const auto ready = control.receive(kAnswerMs);
    return ready ? Result<void>{} : tl::make_unexpected(ready.error());
}

/// Nanoseconds from the reference to `moment`, negative when it came before.
nlohmann::json difference(const std::optional<std::uint64_t>& moment,
                          const std::optional<std::uint64_t>& reference) {
    if (!moment || !reference) {
        return nullptr;
    }
    return static_cast<std::int64_t>(*moment - *reference);
}

/// The partner's part of one victim's life.
Result<void> serve_victim(const std::shared_ptr<Device>& device, Stream control,
                          const SessionOptions& own, std::uint32_t round, EventLog& log) {
    const auto message = control.receive(kAnswerMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const auto options = accept_hello(*message, own);
    if (!options) {
        return tl::make_unexpected(options.error());
    }
    auto link = Link::create(device, options->link);
    if (!link) {
        return tl::make_unexpected(link.error());
    }
    Session session(**link, control, *options, options->partner_sends, log);
    auto done = session.start();
    if (done) {
        done = connect_links(**link, control);
    }
    if (!done) {
        return done;
    }
    (void)log.write("connected", {{"round", round}, {"qps", options->link.qps}});
    const Observations& seen = session.seen();
    bool finished = false;
    std::optional<std::uint64_t> stop;
    while (!stop || monotonic_ns() < *stop) {
        if (done = session.work(); !done) {
            return done;
        }
        const bool over = (seen.closed && session.every_qp_failed()) || session.device_failed();
        if (over && !finished) {
            finished = true;  // the last events may still be on their way
            stop = monotonic_ns() + kStragglersMs * kNsPerMs;
        } else if (seen.closed && !stop) {
            stop = *seen.closed + own.within_ms * kNsPerMs;
        }
    }
    const bool noticed = session.every_qp_failed() || !options->partner_sends;
    (void)log.write("summary", {{"round", round},
                                {"operations", session.completed()},
                                {"qps", options->link.qps},
                                {"failed_qps", session.failed_qps()},
                                {"noticed", noticed},
                                {"device_failed", session.device_failed()},
                                {"first_error_ns", difference(seen.first_error, seen.closed)},
                                {"all_errors_ns", difference(seen.last_error, seen.closed)},
                                {"first_event_ns", difference(seen.first_event, seen.closed)},
                                {"async_events", session.events_by_type()}});
    if (session.device_failed()) {
        return fail(ErrorKind::kTransfer, "the partner's own device failed");
    }
    if (!noticed) {
        return fail(ErrorKind::kTransfer,
                    fmt::format("{} of {} queue pairs did not fail within {} ms of the end of the "
                                "victim",
                                options->link.qps - session.failed_qps(), options->link.qps,
                                own.within_ms));
    }
    return {};
}

}  // namespace

Result<void> run_victim(const SessionOptions& options, EventLog& log) {
    auto device = Device::open(options.device);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    auto control = Stream::connect(options.address, kConnectMs);
    if (!control) {
        return tl::make_unexpected(control.error());
    }
    if (auto sent = control->send(hello(options)); !sent) {
        return sent;
    }
    auto link = Link::create(*device, options.link);
    if (!link) {
        return tl::make_unexpected(link.error());
    }
    (void)log.write("created", to_json(options.link));
    Session session(**link, *control, options, options.victim_sends, log);
    auto done = session.start();
    if (done) {
        done = connect_links(**link, *control);
    }
    if (!done) {
        return done;
    }
    (void)log.write("connected", {{"qps", options.link.qps}});
    const std::uint64_t stop =
        options.seconds == 0 ? UINT64_MAX : monotonic_ns() + options.seconds * kNsPerSecond;
    while (!session.seen().closed && !session.device_failed() && !session.every_qp_failed()) {
        if (done = session.work(); !done) {
            return done;
        }
        if (monotonic_ns() >= stop) {
            (void)log.write("stopping", {{"operations", session.completed()}});
            return {};
        }
    }
    return fail(ErrorKind::kTransfer, session.device_failed() ? "the device failed"
                                      : session.seen().closed ? "the partner is gone"
                                                              : "every queue pair failed");
}

Result<void> run_partner(const SessionOptions& options, EventLog& log) {
    auto device = Device::open(options.device);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    auto listener = verbs_util::Listener::listen(options.address);
    if (!listener) {
        return tl::make_unexpected(listener.error());
    }
    (void)log.write("listening", {{"address", options.address}, {"port", listener->port()}});
    for (std::uint32_t round = 0; round < options.rounds; ++round) {
        auto control = listener->accept();
        if (!control) {
            return tl::make_unexpected(control.error());
        }
        if (auto done = serve_victim(*device, std::move(*control), options, round, log); !done) {
            return done;
        }
    }
    return {};
}

}  // namespace vrdma::fault
