// The life of the ports. Their memory is taken before the workers start, because that can fail;
// their devices come and go afterwards, looked after by a timer on the control thread.
//
// Workers and control thread share nothing but what EthdevPort says they share: addresses go to the
// links as a job on each worker, and what tools want to see is copied by one. A job puts layers
// into the path, too, between two turns.
#include "dataplane/app/ports.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <spdlog/spdlog.h>

#include "dataplane/app/inspection.h"
#include "dataplane/base/check.h"
#include "dataplane/control/fault_reader.h"
#include "dataplane/platform/clock.h"

namespace vrdma::app {
namespace {

using control::Counter;
using control::CounterKind;

wire::Address to_wire(const control::Ipv4Address& address) {
    const auto& o = address.octets;
    return wire::Address::v4(o[0], o[1], o[2], o[3]);
}

// What one worker's end of a port has counted.
struct LinkPart {
    PortStatistics port;
    net::LinkCounters link;
    net::NeighbourCounters neighbours;
    net::FaultCounters faults;
    std::vector<net::NeighbourInfo> known;
};

control::NeighbourState to_control(net::NeighbourState state) {
    switch (state) {
        case net::NeighbourState::Unknown:
            return control::NeighbourState::kUnknown;
        case net::NeighbourState::Resolving:
            return control::NeighbourState::kResolving;
        case net::NeighbourState::Reachable:
            return control::NeighbourState::kReachable;
        case net::NeighbourState::Stale:
        case net::NeighbourState::Checking:
            return control::NeighbourState::kStale;
        case net::NeighbourState::Unreachable:
            return control::NeighbourState::kUnreachable;
    }
    return control::NeighbourState::kUnknown;
}

control::PortState to_control(platform::AttachState state) {
    switch (state) {
        case platform::AttachState::Absent:
            return control::PortState::kAbsent;
        case platform::AttachState::Waiting:
        case platform::AttachState::Leaving:
            return control::PortState::kWaiting;
        case platform::AttachState::Attached:
            return control::PortState::kDown;
    }
    return control::PortState::kAbsent;
}

net::FaultSettings to_net(const control::PortFaults& faults) {
    return {.drop = {faults.drop},
            .duplicate = {faults.duplicate},
            .corrupt = {faults.corrupt},
            .mark = {faults.mark},
            .held_back = {faults.reorder_share},
            .behind = faults.reorder,
            .delay = Duration::nanoseconds(faults.delay.count()),
            .jitter = Duration::nanoseconds(faults.jitter.count())};
}
static_assert(control::kMostReorder <= net::kMostBehind);

void add_neighbour(const net::NeighbourInfo& from, std::vector<control::NeighbourInfo>& to) {
    control::Gid address;
    address.octets = from.address.bytes;
    const auto same =
        std::find_if(to.begin(), to.end(), [&](const auto& n) { return n.address == address; });
    control::NeighbourInfo& info = same == to.end() ? to.emplace_back() : *same;
    info.address = address;
    info.users += from.users;
    const control::NeighbourState state = to_control(from.state);
    if (same == to.end() || state == control::NeighbourState::kReachable) {
        info.state = state;
        info.mac.octets = from.mac.bytes;
    }
}

void sum(std::vector<Counter>& counters, std::string name, uint64_t value, std::string help) {
    const auto same = std::find_if(counters.begin(), counters.end(),
                                   [&](const Counter& c) { return c.name == name; });
    if (same != counters.end()) {
        same->value += value;
        return;
    }
    counters.push_back({std::move(name), value, std::move(help), CounterKind::kCounter});
}

void add_counters(const LinkPart& part, std::vector<Counter>& to) {
    const PortStatistics& p = part.port;
    sum(to, "received_packets", p.received_packets, "frames the device received");
    sum(to, "received_bytes", p.received_bytes, "their bytes");
    sum(to, "sent_packets", p.sent_packets, "frames the device took for sending");
    sum(to, "sent_bytes", p.sent_bytes, "their bytes");
    sum(to, "send_dropped_down", p.send_dropped_down,
        "frames that were to be sent while the link was down or the device gone");
    sum(to, "send_dropped_full", p.send_dropped_full,
        "frames of other workers for which the device had no room");
    sum(to, "receive_dropped_handoff", p.receive_dropped_handoff,
        "frames for another worker that was too slow to take them");
    sum(to, "receive_dropped_segments", p.receive_dropped_segments,
        "frames longer than any of RoCE");
    sum(to, "no_buffer", p.no_buffer, "times the port's buffers were all in use");
    for (size_t i = 0; i < net::kLinkCounterCount; ++i) {
        const net::LinkCounterText text = net::link_counter_text(static_cast<net::LinkCounter>(i));
        sum(to, std::string(text.name), part.link.value[i], std::string(text.help));
    }
    const net::NeighbourCounters& n = part.neighbours;
    sum(to, "neighbours_learned", n.learned, "times a neighbour told its address");
    sum(to, "neighbours_moved", n.moved, "times a neighbour came back with another MAC address");
    sum(to, "neighbours_unanswered", n.unanswered,
        "times a neighbour did not answer and was given up");
    sum(to, "dropped_unreachable", n.dropped_unreachable,
        "packets to neighbours that do not answer");
    sum(to, "dropped_waiting", n.dropped_waiting,
        "packets that found no room to wait for a neighbour's answer");
    sum(to, "neighbour_table_full", n.table_full, "neighbours that found no place in the table");
    for (size_t i = 0; i < net::kFaultCounterCount; ++i) {
        const net::FaultCounterText text =
            net::fault_counter_text(static_cast<net::FaultCounter>(i));
        sum(to, std::string(text.name), part.faults.value[i], std::string(text.help));
    }
    for (size_t i = 0; i < wire::kDropReasonCount; ++i) {
        const auto reason = static_cast<wire::DropReason>(i);
        sum(to, "dropped_" + std::string(wire::drop_reason_name(reason)), part.link.dropped[i],
            "malformed: " + std::string(wire::drop_reason_text(reason)));
    }
}

void add_counters(const CmCounters& counters, std::vector<Counter>& to) {
    for (size_t i = 0; i < kCmCounterCount; ++i) {
        const CmCounterText text = cm_counter_text(static_cast<CmCounter>(i));
        sum(to, std::string(text.name), counters.value[i], std::string(text.help));
    }
    for (size_t i = 0; i < wire::kDropReasonCount; ++i) {
        const auto reason = static_cast<wire::DropReason>(i);
        sum(to, "dropped_" + std::string(wire::drop_reason_name(reason)), counters.dropped[i], "");
    }
}

}  // namespace

tl::expected<std::unique_ptr<Ports>, std::string> Ports::make(
    const control::Configuration& configuration, const PacketSteering& steering, Waker& waker) {
    std::unique_ptr<Ports> ports(new Ports());
    const uint32_t workers = configuration.service.workers;
    // A memif whose both ends are here gets its socket from the end that is made first, and only a
    // server listens on it.
    std::vector<control::PortConfig> configs = configuration.ports;
    std::stable_partition(configs.begin(), configs.end(), [](const control::PortConfig& config) {
        return platform::device_argument(config.devargs, "role") == "server";
    });
    for (const control::PortConfig& config : configs) {
        auto port = std::make_unique<Port>(config, steering);
        port->network_id = configuration.find_network(config.network)->id;
        platform::EthdevSettings settings;
        settings.name = config.name;
        settings.devargs = config.devargs;
        settings.mtu = config.mtu;
        settings.queues = config.queues;
        settings.workers = workers;
        auto device = platform::EthdevPort::make(std::move(settings), steering, waker);
        if (!device) {
            return tl::unexpected(device.error());
        }
        port->device = std::move(*device);
        for (uint32_t worker = 0; worker < workers; ++worker) {
            net::LinkOptions options;
            options.network = port->network_id;
            options.prefix_length = config.prefix_length;
            if (config.gateway) {
                options.gateway = to_wire(*config.gateway);
            }
            options.answers = worker == 0;
            port->paths.push_back(std::make_unique<PortPath>(port->device->queue(worker), options));
        }
        ports->ports_.push_back(std::move(port));
    }
    return ports;
}

Ports::~Ports() {
    stop();
}

Ports::Port& Ports::find(std::string_view name) {
    const auto same = std::find_if(ports_.begin(), ports_.end(),
                                   [&](const auto& p) { return p->config.name == name; });
    VR_CHECK(same != ports_.end() && workers_ != nullptr);
    return **same;
}

std::vector<Ports::Served> Ports::links_of(uint32_t worker) const {
    std::vector<Served> links;
    for (const auto& port : ports_) {
        links.push_back({&port->paths[worker]->link(), port->config.peer,
                         port->config.spray == control::Spray::kFlowlet});
    }
    return links;
}

void Ports::run(boost::asio::io_context& io, const Workers& workers) {
    if (ports_.empty()) {
        return;
    }
    workers_ = &workers;
    timer_ = std::make_unique<boost::asio::steady_timer>(io);
    step();
    wait();
}

void Ports::stop() {
    timer_.reset();
}

void Ports::wait() {
    timer_->expires_after(std::chrono::nanoseconds(platform::EthdevPort::kStep.ns));
    timer_->async_wait([this](const boost::system::error_code& error) {
        if (!error) {
            step();
            wait();
        }
    });
}

void Ports::step() {
    struct Nothing {};
    for (const auto& owner : ports_) {
        Port* port = owner.get();
        port->capture.expire(platform::now());
        const bool was_wanted = port->device->wants_quiet();
        const std::string line = port->device->step(platform::now());
        if (!line.empty()) {
            spdlog::info("{}", line);
        }
        if (port->device->wants_quiet() && !was_wanted) {
            gather<Nothing>(
                *workers_, [](Shard&, Nothing&) { return true; },
                [port](std::vector<Nothing>&) { port->device->quiet(platform::now()); });
        }
        tell_mtu(*port);
    }
}

void Ports::tell_mtu(Port& port) {
    struct Nothing {};
    const uint32_t mtu = port.device->mtu();
    if (std::exchange(port.mtu, mtu) == mtu) {
        return;
    }
    gather<Nothing>(
        *workers_,
        [network = port.network_id](Shard& shard, Nothing&) {
            shard.port_changed(network);
            return true;
        },
        [](std::vector<Nothing>&) {});
    if (mtu_changed_) {
        mtu_changed_(port.network_id);
    }
}

void Ports::set_addresses(uint32_t network, std::vector<net::LocalAddress> addresses) {
    struct Nothing {};
    const auto shared =
        std::make_shared<const std::vector<net::LocalAddress>>(std::move(addresses));
    for (const auto& owner : ports_) {
        Port* port = owner.get();
        if (port->network_id != network || workers_ == nullptr) {
            continue;
        }
        gather<Nothing>(
            *workers_,
            [port, shared](Shard& shard, Nothing&) {
                port->paths[shard.state().config.shard]->link().set_local_addresses(*shared);
                return true;
            },
            [](std::vector<Nothing>&) {});
    }
}

std::vector<uint32_t> Ports::networks() const {
    std::vector<uint32_t> found;
    for (const auto& port : ports_) {
        found.push_back(port->network_id);
    }
    return found;
}

uint32_t Ports::mtu(uint32_t network) const {
    const auto same = std::find_if(ports_.begin(), ports_.end(),
                                   [&](const auto& p) { return p->network_id == network; });
    return same == ports_.end() ? 0 : (*same)->device->mtu();
}

void Ports::set_faults(std::string_view name, const std::optional<control::PortFaults>& faults,
                       std::function<void()> done) {
    struct Nothing {};
    Port* const port = &find(name);
    port->faults = faults;
    spdlog::info("port {}: faults are {}", port->config.name, faults ? "injected" : "off");
    gather<Nothing>(
        *workers_,
        [port, faults](Shard& shard, Nothing&) {
            const uint32_t worker = shard.state().config.shard;
            PortPath& path = *port->paths[worker];
            if (!faults) {
                path.set_faults(std::nullopt);
                return true;
            }
            const net::FaultSettings settings = to_net(*faults);
            using Direction = control::FaultDirection;
            path.set_faults(PortPath::Faults{
                .sending =
                    faults->direction == Direction::kReceive ? net::FaultSettings{} : settings,
                .receiving =
                    faults->direction == Direction::kSend ? net::FaultSettings{} : settings,
                .seed = faults->seed + worker});
            return true;
        },
        [done = std::move(done)](std::vector<Nothing>&) { done(); });
}

void Ports::start_capture(std::string_view name, const CaptureOrder& order,
                          control::Done<control::CaptureInfo> done) {
    find(name).capture.start(*workers_, order, std::move(done));
}

void Ports::describe(std::function<void(std::vector<control::PortInfo>)> done) const {
    using Parts = std::vector<LinkPart>;  // by port
    if (ports_.empty() || workers_ == nullptr) {
        done({});
        return;
    }
    gather<Parts>(
        *workers_,
        [this](Shard& shard, Parts& parts) {
            for (const auto& port : ports_) {
                const uint32_t worker = shard.state().config.shard;
                const PortPath& path = *port->paths[worker];
                const net::Link& link = path.link();
                parts.push_back({link.port().statistics(), link.counters(),
                                 link.neighbours().counters(), path.faults().counters(),
                                 link.neighbours().list()});
            }
            return true;
        },
        [this, done = std::move(done)](std::vector<Parts>& by_worker) {
            std::vector<control::PortInfo> result;
            for (size_t i = 0; i < ports_.size(); ++i) {
                const platform::EthdevStatus status = ports_[i]->device->status();
                control::PortInfo& info = result.emplace_back();
                info.config = ports_[i]->config;
                info.network_id = ports_[i]->network_id;
                info.state = status.link_up ? control::PortState::kUp : to_control(status.state);
                info.reason = status.reason;
                info.driver = status.driver;
                info.mac.octets = status.mac.bytes;
                info.mtu = status.mtu;
                info.queues = status.queues;
                info.wakes = status.wakes;
                info.attachments = status.attachments;
                info.link_losses = status.link_losses;
                info.buffers = status.buffers;
                info.free_buffers = status.free_buffers;
                info.faults = ports_[i]->faults;
                info.capture = ports_[i]->capture.info();
                for (const Parts& parts : by_worker) {
                    add_counters(parts[i], info.counters);
                    for (const net::NeighbourInfo& neighbour : parts[i].known) {
                        add_neighbour(neighbour, info.neighbours);
                    }
                }
                if (connection_counters_) {
                    add_counters(connection_counters_(info.network_id), info.counters);
                }
            }
            std::sort(result.begin(), result.end(),
                      [](const auto& a, const auto& b) { return a.config.name < b.config.name; });
            done(std::move(result));
        });
}

}  // namespace vrdma::app
