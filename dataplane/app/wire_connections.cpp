// Where threads, clock and protocol meet. Datagrams arrive in a mailbox that the first worker fills
// and leave as a job on it, all that there are at a time in one. Which driver may say and hear what
// is ConnectionTable's to decide, what is said on the wire RemoteConnections'.
//
// An address on the wire is resolved by asking its neighbour (or the gateway): a job asks the link,
// and is repeated, less and less often, until the neighbour has answered or has had its time.
#include "dataplane/app/wire_connections.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>

#include "dataplane/app/inspection.h"
#include "dataplane/base/check.h"
#include "dataplane/net/limits.h"
#include "dataplane/platform/clock.h"
#include "dataplane/wire/build.h"

namespace vrdma::app {
namespace {

constexpr uint32_t kMadsAtOnce = 256;    // then the drivers' turn
constexpr uint32_t kMostQuestions = 64;  // of a driver
constexpr Duration kFirstPause = Duration::microseconds(500);
constexpr Duration kLongestPause = Duration::milliseconds(50);
// A neighbour is asked eight times; whoever answers none of them will not answer soon.
constexpr Duration kPatience = net::kSolicitInterval * (net::kSolicitations + 2);

uint64_t random_number() {
    uint64_t number = 0;
    while (getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    }
    return number;
}

std::chrono::nanoseconds to_chrono(Duration duration) {
    return std::chrono::nanoseconds(std::max<int64_t>(duration.ns, 0));
}

// Connections are RC or UD, between IPv4 addresses. 0: none.
uint8_t path_mtu(uint32_t port_mtu) {
    return wire::largest_path_mtu(port_mtu, false, false);
}

class SendMads final : public platform::Job {
  public:
    explicit SendMads(std::vector<Mad> mads) : mads_(std::move(mads)) {}
    bool run(Shard& shard) override {
        for (const Mad& mad : mads_) {
            shard.wire().send_mad(mad);
        }
        return true;
    }
    void finish() override {}

  private:
    std::vector<Mad> mads_;
};

vrdma_cm_status status_of(Reach reach) {
    switch (reach) {
        case Reach::Reachable:
            return VRDMA_CM_OK;
        case Reach::Asking:
        case Reach::Unreachable:
            return VRDMA_CM_SILENT;
        case Reach::NoPort:
            return VRDMA_CM_UNREACHABLE;
        case Reach::NoRoute:
            return VRDMA_CM_NO_ROUTE;
        case Reach::Full:
            return VRDMA_CM_FULL;
    }
    return VRDMA_CM_UNREACHABLE;
}

}  // namespace

WireConnections::WireConnections(boost::asio::io_context& io,
                                 const std::vector<platform::Worker*>& workers, MadMailbox& mailbox,
                                 Ports& ports, ConnectionTable& table, Send send)
    : io_(io),
      worker_{workers.front()},
      mailbox_(mailbox),
      ports_(ports),
      table_(table),
      send_(std::move(send)),
      arrivals_(io, dup(mailbox.file())),
      timer_(io) {
    for (const uint32_t network : ports.networks()) {
        networks_.try_emplace(network, random_number);
        table.set_wire(network);
    }
    ports.on_mtu([this](uint32_t network) { take_mtu(network); });
    ports.set_connection_counters(
        [this](uint32_t network) -> const CmCounters& { return networks_.at(network).counters(); });
    wait_for_mads();
}

uint8_t WireConnections::mtu(uint32_t network) const {
    return path_mtu(ports_.mtu(network));
}

// Connections on this host have what the vNICs say of themselves.
void WireConnections::take_mtu(uint32_t network) {
    table_.set_mtu(network, active_mtu(ports_.mtu(network)));
}

void WireConnections::add_vnic(const AttachedVnic& vnic, const wire::Address& address) {
    const auto network = networks_.find(vnic.device.network);
    if (network == networks_.end()) {
        return;
    }
    vnics_[vnic.index] = Vnic{vnic.device.network, address};
    network->second.add_vnic(vnic.index, {address, vnic.device.guid});
    take_mtu(vnic.device.network);
}

void WireConnections::remove_vnic(uint32_t vnic) {
    const auto found = vnics_.find(vnic);
    if (found == vnics_.end()) {
        return;
    }
    networks_.at(found->second.network).remove_vnic(vnic);
    vnics_.erase(found);
    set_timer();
}

void WireConnections::post(const ConnectionTable::Outgoing& said) {
    const auto found = vnics_.find(said.vnic);
    if (found == vnics_.end()) {
        return;
    }
    if (said.message.type == VRDMA_CM_RESOLVE) {
        resolve(said);
        return;
    }
    const uint32_t network = found->second.network;
    vrdma_cm_message message = said.message;
    const uint8_t most = mtu(network);
    message.mtu = message.mtu == 0 ? most : std::min(message.mtu, most);
    networks_.at(network).post(said.vnic, message, platform::now());
    deliver();
}

void WireConnections::wait_for_mads() {
    arrivals_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this](const boost::system::error_code& error) {
                             if (!error) {
                                 mailbox_.take_notice();
                                 take_mads();
                                 wait_for_mads();
                             }
                         });
}

void WireConnections::take_mads() {
    const Instant now = platform::now();
    for (uint32_t n = 0; n < kMadsAtOnce; ++n) {
        const std::optional<Mad> mad = mailbox_.take();
        if (!mad) {
            break;
        }
        const auto vnic = vnics_.find(mad->vnic);
        if (vnic != vnics_.end()) {
            const uint32_t network = vnic->second.network;
            networks_.at(network).receive(*mad, mtu(network), now);
        }
        if (n + 1 == kMadsAtOnce) {
            boost::asio::post(io_, [this] { take_mads(); });
        }
    }
    deliver();
}

void WireConnections::deliver() {
    for (auto& [network, connections] : networks_) {
        deliver(network, connections);
    }
    set_timer();
}

void WireConnections::deliver(uint32_t, RemoteConnections& connections) {
    ConnectionTable::Out out;
    while (const auto event = connections.poll_event()) {
        if (event->message.type != VRDMA_CM_REQUEST) {
            table_.receive_from_wire(event->message, out);
            continue;
        }
        uint64_t number = 0;
        const vrdma_cm_status status =
            table_.request_from_wire(event->vnic, event->message, number, out);
        if (status == VRDMA_CM_OK) {
            connections.taken(event->exchange, number);
        } else {
            connections.refused(event->exchange, status);
        }
    }
    std::vector<Mad> mads;
    while (const auto mad = connections.poll_transmit()) {
        mads.push_back(*mad);
    }
    if (!mads.empty()) {
        std::unique_ptr<platform::Job> job = std::make_unique<SendMads>(std::move(mads));
        while (!worker_.front()->submit(job)) {
            worker_.front()->finish_jobs();
        }
    }
    if (!out.empty()) {
        send_(out);
    }
}

void WireConnections::set_timer() {
    Instant next = Instant::never();
    for (const auto& [network, connections] : networks_) {
        next = std::min(next, connections.next_deadline());
    }
    if (next == Instant::never()) {
        timer_.cancel();
        return;
    }
    timer_.expires_after(to_chrono(next - platform::now()));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) {
            return;
        }
        for (auto& [network, connections] : networks_) {
            connections.on_deadline(platform::now());
        }
        deliver();
    });
}

// -- addresses ------------------------------------------------------------------------------------

void WireConnections::resolve(const ConnectionTable::Outgoing& said) {
    const auto question =
        std::make_shared<Question>(Question{.asker = said.asker,
                                            .vnic = said.vnic,
                                            .message = said.message,
                                            .own = vnics_.at(said.vnic).address,
                                            .peer = wire::Address::from_gid(said.message.address),
                                            .until = platform::now() + kPatience,
                                            .pause = kFirstPause});
    uint32_t& open = questions_[said.asker];
    ++open;
    if (open > kMostQuestions) {
        answer(*question, VRDMA_CM_FULL, 0);
        return;
    }
    ask(question);
}

void WireConnections::ask(const std::shared_ptr<Question>& question) {
    struct Part {
        Reach reach = Reach::NoPort;
        uint32_t mtu = 0;
    };
    gather<Part>(
        worker_,
        [question](Shard& shard, Part& part) {
            part.reach =
                shard.wire().reach(question->vnic, question->own, question->peer, part.mtu);
            return true;
        },
        [this, question](std::vector<Part>& parts) {
            const Part& part = parts.front();
            if (part.reach != Reach::Asking || platform::now() >= question->until) {
                const vrdma_cm_status status = status_of(part.reach);
                answer(*question, status, status == VRDMA_CM_OK ? path_mtu(part.mtu) : 0);
                return;
            }
            auto timer = std::make_shared<boost::asio::steady_timer>(io_);
            timer->expires_after(to_chrono(question->pause));
            question->pause = std::min(question->pause * 2, kLongestPause);
            timer->async_wait([this, question, timer](const boost::system::error_code& error) {
                if (!error) {
                    ask(question);
                }
            });
        });
}

void WireConnections::answer(const Question& question, vrdma_cm_status status, uint8_t mtu) {
    const auto open = questions_.find(question.asker);
    if (--open->second == 0) {
        questions_.erase(open);
    }
    vrdma_cm_message message{};
    message.type = VRDMA_CM_RESOLVE | VRDMA_CM_ANSWER;
    message.tag = question.message.tag;
    message.status = static_cast<uint8_t>(status);
    message.mtu = mtu;
    send_({ConnectionTable::Outgoing{question.asker, message}});
}

}  // namespace vrdma::app
