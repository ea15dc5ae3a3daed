// Two services in virtual time: on each a table with one vNIC and one driver, and connection
// management that talks to the other's over a wire which a test may spoil.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/app/connection_table.h"
#include "dataplane/app/remote_connections.h"

namespace vrdma::app::test {

constexpr uint16_t kTcp = 0x0106;
constexpr uint16_t kUdp = 0x0111;
constexpr uint16_t kPort = 7174;
constexpr uint16_t kSourcePort = 40000;
constexpr uint32_t kNetwork = 10;
constexpr uint32_t kVnic = 7;
constexpr uint32_t kDriver = 1;
constexpr uint32_t kListener = 5;  // handle
constexpr uint8_t kMtu = 5;

inline const wire::Address kNear = wire::Address::v4(10, 0, 0, 1);
inline const wire::Address kFar = wire::Address::v4(10, 0, 0, 2);
inline const wire::Address kStranger = wire::Address::v4(10, 0, 0, 3);

inline vrdma_cm_message message(vrdma_cm_type type) {
    vrdma_cm_message made{};
    made.type = static_cast<uint8_t>(type);
    return made;
}

inline void set_private(vrdma_cm_message& to, std::string_view text) {
    to.private_bytes = static_cast<uint8_t>(text.size());
    std::copy(text.begin(), text.end(), to.private_data);
}

inline std::string text_of(const vrdma_cm_message& from, size_t length) {
    return {from.private_data, from.private_data + length};
}

struct Service {
    Service(const wire::Address& address, uint64_t seed, uint32_t most_connections)
        : own(address),
          random(seed),
          table([this] { return ++random * 0x9e3779b97f4a7c15U; },
                {.reservations = 64, .connections = most_connections}),
          wire([this] { return ++random * 0x9e3779b97f4a7c15U; }) {
        table.add_vnic(kVnic, kNetwork, address.bytes, kMtu);
        table.set_wire(kNetwork);
        table.add_client(kDriver, kVnic);
        wire.add_vnic(kVnic, {address, 0x0200000000000000U | seed});
        vrdma_cm_message hello = message(VRDMA_CM_HELLO);
        hello.version = VRDMA_CM_VERSION;
        say(hello, Instant{});
        heard.clear();
    }

    // The driver's; what comes back at once is heard.
    void say(const vrdma_cm_message& said, Instant now) {
        ConnectionTable::Out out;
        EXPECT_TRUE(table.receive(kDriver, said, out));
        route(out, now);
    }
    void leave(Instant now) {
        ConnectionTable::Out out;
        table.remove_client(kDriver, out);
        route(out, now);
    }
    void listen(uint16_t port_space = kTcp, uint16_t backlog = 8) {
        vrdma_cm_message reserve = message(VRDMA_CM_RESERVE);
        reserve.handle = kListener + port_space;
        reserve.port_space = port_space;
        reserve.port = kPort;
        say(reserve, Instant{});
        vrdma_cm_message listen = message(VRDMA_CM_LISTEN);
        listen.handle = reserve.handle;
        listen.backlog = backlog;
        say(listen, Instant{});
        heard.clear();
    }
    void route(const ConnectionTable::Out& out, Instant now) {
        for (const ConnectionTable::Outgoing& outgoing : out) {
            if (outgoing.client == ConnectionTable::kWire) {
                EXPECT_EQ(outgoing.vnic, kVnic);
                wire.post(outgoing.vnic, outgoing.message, now);
            } else {
                heard.push_back(outgoing.message);
            }
        }
    }
    // What the wire has for the driver.
    void deliver(Instant now) {
        while (const auto event = wire.poll_event()) {
            ConnectionTable::Out out;
            if (event->message.type != VRDMA_CM_REQUEST) {
                table.receive_from_wire(event->message, out);
            } else {
                uint64_t number = 0;
                const auto status =
                    table.request_from_wire(event->vnic, event->message, number, out);
                if (status == VRDMA_CM_OK) {
                    wire.taken(event->exchange, number);
                } else {
                    wire.refused(event->exchange, status);
                }
            }
            route(out, now);
        }
    }
    [[nodiscard]] uint64_t count(CmCounter counter) const { return wire.counters()[counter]; }
    [[nodiscard]] std::vector<int> types() const {
        std::vector<int> types;
        for (const vrdma_cm_message& one : heard) {
            types.push_back(one.type);
        }
        return types;
    }
    // The last message of this type that the driver got.
    [[nodiscard]] vrdma_cm_message last(vrdma_cm_type type) const {
        const auto found = std::find_if(heard.rbegin(), heard.rend(),
                                        [type](const auto& one) { return one.type == type; });
        EXPECT_NE(found, heard.rend()) << "no message of type " << type;
        return found == heard.rend() ? vrdma_cm_message{} : *found;
    }

    wire::Address own;
    uint64_t random;
    ConnectionTable table;
    RemoteConnections wire;
    std::vector<vrdma_cm_message> heard;
    uint8_t port_mtu = kMtu;
};

class TwoServices : public testing::Test {
  protected:
    explicit TwoServices(uint32_t most_connections = 64)
        : near(kNear, 1, most_connections), far(kFar, 2, most_connections) {}

    // Sees every message on the way; says how often it arrives.
    std::function<int(const Mad&, const wire::CmMessage&)> filter;

    void settle() {
        for (bool moved = true; moved;) {
            moved = carry(near, far);
            moved |= carry(far, near);
        }
    }
    bool carry(Service& from, Service& to) {
        bool moved = false;
        from.deliver(now);
        while (const auto mad = from.wire.poll_transmit()) {
            moved = true;
            EXPECT_EQ(mad->own, from.own);
            const auto parsed = wire::parse_cm(mad->bytes);
            EXPECT_TRUE(parsed);
            sent.push_back(*parsed);
            const int times = filter && parsed ? filter(*mad, *parsed) : 1;
            for (int i = 0; i < times && mad->peer == to.own; ++i) {
                arrive(to, *mad);
            }
        }
        to.deliver(now);
        return moved;
    }
    void arrive(Service& at, const Mad& sent_mad) {
        const Mad received{
            .vnic = kVnic, .own = sent_mad.peer, .peer = sent_mad.own, .bytes = sent_mad.bytes};
        at.wire.receive(received, at.port_mtu, now);
    }
    // As if it came from there.
    void forge(Service& at, const wire::Address& source, const wire::CmMessage& forged) {
        Mad mad{.vnic = kVnic, .own = source, .peer = at.own, .bytes = {}};
        wire::build_cm(forged, mad.bytes);
        arrive(at, mad);
    }
    void advance(Duration duration) {
        const Instant until = now + duration;
        settle();
        for (;;) {
            const Instant next = std::min(near.wire.next_deadline(), far.wire.next_deadline());
            if (next > until) {
                break;
            }
            now = std::max(now, next);
            near.wire.on_deadline(now);
            far.wire.on_deadline(now);
            settle();
        }
        now = until;
    }

    vrdma_cm_message request(uint16_t port_space = kTcp, uint16_t port = kPort) const {
        vrdma_cm_message made = message(VRDMA_CM_REQUEST);
        std::copy(kFar.bytes.begin(), kFar.bytes.end(), made.address);
        made.handle = 77;
        made.port_space = port_space;
        made.port = port;
        made.source_port = kSourcePort;
        made.datagram = port_space == kUdp ? 1 : 0;
        made.qpn = 0x1234;
        made.psn = 0x777777;
        made.mtu = 4;
        made.responder_resources = 3;
        made.initiator_depth = 2;
        made.retry_count = 7;
        made.rnr_retry_count = 6;
        set_private(made, "question");
        return made;
    }
    uint64_t ask(uint16_t port_space = kTcp, uint16_t port = kPort) {
        near.say(request(port_space, port), now);
        return near.last(static_cast<vrdma_cm_type>(VRDMA_CM_REQUEST | VRDMA_CM_ANSWER)).connection;
    }
    void answer(vrdma_cm_type type, std::string_view text = "answer", uint16_t reason = 0) {
        vrdma_cm_message made = message(type);
        made.connection = far.last(VRDMA_CM_REQUEST).connection;
        made.listener_side = 1;
        made.qpn = 0x5678;
        made.psn = 0x888888;
        made.qkey = 0x99999999;
        made.reason = reason;
        set_private(made, text);
        far.say(made, now);
    }
    void say_near(uint64_t connection, vrdma_cm_type type, uint16_t reason = 0) {
        vrdma_cm_message made = message(type);
        made.connection = connection;
        made.reason = reason;
        near.say(made, now);
    }
    // From the request to the established connection; what was heard on the way is forgotten.
    uint64_t connect() {
        const uint64_t connection = ask();
        settle();
        answer(VRDMA_CM_REPLY);
        settle();
        say_near(connection, VRDMA_CM_READY);
        settle();
        EXPECT_EQ(far.types().back(), VRDMA_CM_READY);
        return connection;
    }
    size_t said(wire::CmAttribute attribute) const {
        return static_cast<size_t>(
            std::count_if(sent.begin(), sent.end(),
                          [attribute](const auto& one) { return one.attribute == attribute; }));
    }
    wire::CmMessage last_said(wire::CmAttribute attribute) const {
        const auto found = std::find_if(sent.rbegin(), sent.rend(), [attribute](const auto& one) {
            return one.attribute == attribute;
        });
        EXPECT_NE(found, sent.rend());
        return found == sent.rend() ? wire::CmMessage{} : *found;
    }

    Instant now{1'000'000'000};
    Service near;
    Service far;
    std::vector<wire::CmMessage> sent;  // by either
};

}  // namespace vrdma::app::test
