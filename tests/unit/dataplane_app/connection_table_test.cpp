#include "dataplane/app/connection_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace vrdma::app {
namespace {

using Address = ConnectionTable::Address;
using Out = ConnectionTable::Out;

constexpr uint16_t kTcp = 0x0106;
constexpr uint16_t kPort = 7174;
constexpr uint32_t kBlue = 10;
constexpr uint32_t kGreen = 11;

Address address(uint8_t last) {
    return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last};
}

// Two vNICs of one network with a driver each (1 and 2), and a third in another network (3) that
// has the second's address.
class Table : public testing::Test {
  protected:
    Table() {
        table_.add_vnic(0, kBlue, address(1), 5);
        table_.add_vnic(1, kBlue, address(2), 3);
        table_.add_vnic(2, kGreen, address(2), 5);
        for (uint32_t client = 1; client <= 3; ++client) {
            table_.add_client(client, client - 1);
            say(client, hello());
        }
    }

    static vrdma_cm_message message(vrdma_cm_type type) {
        vrdma_cm_message made{};
        made.type = static_cast<uint8_t>(type);
        return made;
    }
    static vrdma_cm_message hello() {
        vrdma_cm_message made = message(VRDMA_CM_HELLO);
        made.version = VRDMA_CM_VERSION;
        return made;
    }
    static vrdma_cm_message request_to(const Address& to) {
        vrdma_cm_message made = message(VRDMA_CM_REQUEST);
        std::copy(to.begin(), to.end(), made.address);
        made.port_space = kTcp;
        made.port = kPort;
        made.handle = 77;
        made.qpn = 0x1234;
        return made;
    }

    Out say(uint32_t client, const vrdma_cm_message& said) {
        Out out;
        EXPECT_TRUE(table_.receive(client, said, out));
        return out;
    }
    bool accepts(uint32_t client, const vrdma_cm_message& said) {
        Out out;
        return table_.receive(client, said, out);
    }
    vrdma_cm_message reserve(uint32_t client, uint32_t handle, uint16_t port) {
        vrdma_cm_message made = message(VRDMA_CM_RESERVE);
        made.handle = handle;
        made.port_space = kTcp;
        made.port = port;
        return say(client, made).at(0).message;
    }
    void listen(uint32_t client, uint16_t backlog = 10) {
        ASSERT_EQ(reserve(client, 5, kPort).status, VRDMA_CM_OK);
        vrdma_cm_message made = message(VRDMA_CM_LISTEN);
        made.handle = 5;
        made.backlog = backlog;
        ASSERT_EQ(say(client, made).at(0).message.status, VRDMA_CM_OK);
    }
    // The number of a connection from 1 to the listener of 2.
    uint64_t request() {
        const Out out = say(1, request_to(address(2)));
        EXPECT_EQ(out.at(0).message.status, VRDMA_CM_OK);
        return out.at(0).message.connection;
    }
    vrdma_cm_message about(uint64_t connection, vrdma_cm_type type, bool listener_side) {
        vrdma_cm_message made = message(type);
        made.connection = connection;
        made.listener_side = listener_side ? 1 : 0;
        return made;
    }

    uint64_t number_ = 1000;
    ConnectionTable table_{[this] { return ++number_; }, {.reservations = 3, .connections = 2}};
};

TEST_F(Table, hello_tells_the_vnics_address) {
    table_.add_client(9, 1);
    const vrdma_cm_message answer = say(9, hello()).at(0).message;
    EXPECT_EQ(answer.type, VRDMA_CM_HELLO | VRDMA_CM_ANSWER);
    EXPECT_EQ(0, std::memcmp(answer.address, address(2).data(), 16));
    EXPECT_EQ(answer.mtu, 3);
}

TEST_F(Table, message_before_hello_cuts_the_driver_off) {
    table_.add_client(9, 1);
    EXPECT_FALSE(accepts(9, message(VRDMA_CM_RESOLVE)));
}

TEST_F(Table, second_hello_cuts_the_driver_off) {
    EXPECT_FALSE(accepts(1, hello()));
}

TEST_F(Table, other_version_cuts_the_driver_off) {
    table_.add_client(9, 1);
    vrdma_cm_message other = hello();
    other.version = VRDMA_CM_VERSION + 1;
    EXPECT_FALSE(accepts(9, other));
}

TEST_F(Table, malformed_message_cuts_the_driver_off) {
    vrdma_cm_message unknown{};
    unknown.type = VRDMA_CM_LAST + 1;
    EXPECT_FALSE(accepts(1, unknown));
    unknown.type = 0;
    EXPECT_FALSE(accepts(1, unknown));
    vrdma_cm_message reserved = message(VRDMA_CM_RESOLVE);
    reserved.reserved[1] = 1;
    EXPECT_FALSE(accepts(1, reserved));
    vrdma_cm_message long_data = message(VRDMA_CM_RESOLVE);
    long_data.private_bytes = VRDMA_CM_PRIVATE_BYTES + 1;
    EXPECT_FALSE(accepts(1, long_data));
    vrdma_cm_message datagram = message(VRDMA_CM_RESOLVE);
    datagram.datagram = 2;
    EXPECT_FALSE(accepts(1, datagram));
    vrdma_cm_message side = message(VRDMA_CM_RESOLVE);
    side.listener_side = 2;
    EXPECT_FALSE(accepts(1, side));
}

TEST_F(Table, address_of_the_network_is_resolved_with_the_smaller_mtu) {
    vrdma_cm_message question = message(VRDMA_CM_RESOLVE);
    std::ranges::copy(address(2), question.address);
    question.tag = 42;
    const vrdma_cm_message answer = say(1, question).at(0).message;
    EXPECT_EQ(answer.status, VRDMA_CM_OK);
    EXPECT_EQ(answer.tag, 42U);
    EXPECT_EQ(answer.mtu, 3);
}

TEST_F(Table, mtu_of_a_network_that_changed_is_that_of_its_vnics) {
    vrdma_cm_message question = message(VRDMA_CM_RESOLVE);
    std::ranges::copy(address(2), question.address);
    table_.set_mtu(kGreen, 1);
    EXPECT_EQ(say(1, question).at(0).message.mtu, 3) << "another network's";
    table_.set_mtu(kBlue, 2);
    EXPECT_EQ(say(1, question).at(0).message.mtu, 2);
    table_.add_client(9, 1);
    EXPECT_EQ(say(9, hello()).at(0).message.mtu, 2);
}

TEST_F(Table, address_of_another_network_is_unreachable) {
    vrdma_cm_message question = message(VRDMA_CM_RESOLVE);
    std::ranges::copy(address(1), question.address);
    EXPECT_EQ(say(3, question).at(0).message.status, VRDMA_CM_UNREACHABLE);
    EXPECT_EQ(say(3, request_to(address(1))).at(0).message.status, VRDMA_CM_UNREACHABLE);
}

TEST_F(Table, listener_of_another_network_is_not_reached) {
    listen(2);
    const Out out = say(3, request_to(address(2)));
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].message.status, VRDMA_CM_REFUSED);
}

TEST_F(Table, port_in_use_is_refused_to_everybody_else) {
    table_.add_client(9, 1);
    say(9, hello());
    listen(2);
    EXPECT_EQ(reserve(9, 1, kPort).status, VRDMA_CM_IN_USE);
    EXPECT_EQ(reserve(1, 1, kPort).status, VRDMA_CM_OK) << "another vNIC has its own ports";
}

TEST_F(Table, port_zero_gets_a_free_port) {
    const uint16_t first = reserve(1, 1, 0).port;
    number_ -= 1;  // the same random number again
    const uint16_t second = reserve(1, 2, 0).port;
    EXPECT_GE(first, 32768);
    EXPECT_GE(second, 32768);
    EXPECT_NE(first, second);
}

TEST_F(Table, handle_in_use_is_refused) {
    EXPECT_EQ(reserve(1, 1, 100).status, VRDMA_CM_OK);
    EXPECT_EQ(reserve(1, 1, 101).status, VRDMA_CM_INVALID);
}

TEST_F(Table, reservations_beyond_the_quota_are_refused) {
    for (uint16_t i = 1; i <= 3; ++i) {
        EXPECT_EQ(reserve(1, i, i).status, VRDMA_CM_OK);
    }
    EXPECT_EQ(reserve(1, 4, 4).status, VRDMA_CM_FULL);
    EXPECT_EQ(reserve(2, 4, 4).status, VRDMA_CM_OK) << "the quota is the vNIC's own";
}

TEST_F(Table, unknown_handle_is_refused) {
    vrdma_cm_message made = message(VRDMA_CM_LISTEN);
    made.handle = 9;
    EXPECT_EQ(say(1, made).at(0).message.status, VRDMA_CM_INVALID);
    made.type = VRDMA_CM_RELEASE;
    EXPECT_EQ(say(1, made).at(0).message.status, VRDMA_CM_INVALID);
}

TEST_F(Table, released_port_is_free_again) {
    EXPECT_EQ(reserve(1, 1, kPort).status, VRDMA_CM_OK);
    vrdma_cm_message made = message(VRDMA_CM_RELEASE);
    made.handle = 1;
    EXPECT_EQ(say(1, made).at(0).message.status, VRDMA_CM_OK);
    EXPECT_EQ(reserve(1, 2, kPort).status, VRDMA_CM_OK);
}

TEST_F(Table, bound_port_that_does_not_listen_refuses) {
    EXPECT_EQ(reserve(2, 1, kPort).status, VRDMA_CM_OK);
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_REFUSED);
}

TEST_F(Table, request_reaches_the_listener_with_the_senders_own_address) {
    listen(2);
    vrdma_cm_message made = request_to(address(2));
    made.private_bytes = 3;
    std::memcpy(made.private_data, "abc", 3);
    const Out out = say(1, made);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].client, 1U);
    EXPECT_EQ(out[1].client, 2U);
    const vrdma_cm_message& notice = out[1].message;
    EXPECT_EQ(notice.type, VRDMA_CM_REQUEST);
    EXPECT_EQ(notice.handle, 5U);
    EXPECT_EQ(notice.listener_side, 1);
    EXPECT_EQ(notice.connection, out[0].message.connection);
    EXPECT_EQ(0, std::memcmp(notice.address, address(1).data(), 16));
    EXPECT_EQ(notice.qpn, 0x1234U);
    EXPECT_EQ(notice.mtu, 3);
    EXPECT_EQ(0, std::memcmp(notice.private_data, "abc", 4));
}

TEST_F(Table, too_much_private_data_is_refused) {
    listen(2);
    vrdma_cm_message made = request_to(address(2));
    made.private_bytes = VRDMA_CM_REQUEST_BYTES + 1;
    EXPECT_EQ(say(1, made).at(0).message.status, VRDMA_CM_INVALID);
    made.datagram = 1;
    EXPECT_EQ(say(1, made).at(0).message.status, VRDMA_CM_OK);
}

TEST_F(Table, reply_with_too_much_private_data_is_dropped) {
    listen(2);
    vrdma_cm_message reply = about(request(), VRDMA_CM_REPLY, true);
    reply.private_bytes = VRDMA_CM_REPLY_BYTES + 1;
    EXPECT_TRUE(say(2, reply).empty());
    reply.private_bytes = VRDMA_CM_REPLY_BYTES;
    EXPECT_EQ(say(2, reply).size(), 1U);
}

TEST_F(Table, backlog_is_full_until_the_program_answers) {
    listen(2, 1);
    const uint64_t first = request();
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_FULL);
    say(2, about(first, VRDMA_CM_REPLY, true));
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_OK);
}

TEST_F(Table, connections_beyond_the_quota_are_refused) {
    listen(2);
    request();
    const uint64_t second = request();
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_FULL);
    say(2, about(second, VRDMA_CM_REJECT, true));
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_OK);
}

TEST_F(Table, connection_goes_through_its_steps) {
    listen(2);
    const uint64_t connection = request();
    const Out replied = say(2, about(connection, VRDMA_CM_REPLY, true));
    ASSERT_EQ(replied.size(), 1U);
    EXPECT_EQ(replied[0].client, 1U);
    EXPECT_EQ(replied[0].message.handle, 77U);
    EXPECT_EQ(replied[0].message.listener_side, 0);
    const Out ready = say(1, about(connection, VRDMA_CM_READY, false));
    ASSERT_EQ(ready.size(), 1U);
    EXPECT_EQ(ready[0].client, 2U);
    const Out ended = say(1, about(connection, VRDMA_CM_DISCONNECT, false));
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended[0].message.type, VRDMA_CM_DISCONNECT);
    EXPECT_EQ(table_.connections(), 0U);
}

TEST_F(Table, message_out_of_step_is_dropped) {
    listen(2);
    const uint64_t connection = request();
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_READY, false)).empty());
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_DISCONNECT, false)).empty());
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_REPLY, false)).empty());
    say(2, about(connection, VRDMA_CM_REPLY, true));
    EXPECT_TRUE(say(2, about(connection, VRDMA_CM_REPLY, true)).empty());
    EXPECT_TRUE(say(2, about(connection, VRDMA_CM_READY, true)).empty());
    say(1, about(connection, VRDMA_CM_READY, false));
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_REJECT, false)).empty());
    EXPECT_EQ(table_.connections(), 1U);
}

TEST_F(Table, message_of_a_stranger_is_dropped) {
    listen(2);
    const uint64_t connection = request();
    EXPECT_TRUE(say(3, about(connection, VRDMA_CM_REPLY, true)).empty());
    EXPECT_TRUE(say(3, about(connection, VRDMA_CM_REJECT, false)).empty());
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_REPLY, true)).empty())
        << "the requester is not the listener";
    EXPECT_EQ(table_.connections(), 1U);
}

TEST_F(Table, message_about_no_connection_is_dropped) {
    EXPECT_TRUE(say(1, about(5, VRDMA_CM_DISCONNECT, false)).empty());
}

TEST_F(Table, datagram_resolution_ends_with_the_reply) {
    listen(2);
    vrdma_cm_message made = request_to(address(2));
    made.datagram = 1;
    const uint64_t connection = say(1, made).at(0).message.connection;
    EXPECT_EQ(say(2, about(connection, VRDMA_CM_REPLY, true)).size(), 1U);
    EXPECT_EQ(table_.connections(), 0U);
}

TEST_F(Table, requester_that_dies_is_rejected_to_the_listener) {
    listen(2);
    request();
    Out out;
    table_.remove_client(1, out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].client, 2U);
    EXPECT_EQ(out[0].message.type, VRDMA_CM_REJECT);
    EXPECT_EQ(out[0].message.listener_side, 1);
    EXPECT_EQ(table_.connections(), 0U);
}

TEST_F(Table, listener_that_dies_disconnects_and_frees_its_port) {
    listen(2);
    say(2, about(request(), VRDMA_CM_REPLY, true));
    Out out;
    table_.remove_client(2, out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].client, 1U);
    EXPECT_EQ(out[0].message.type, VRDMA_CM_DISCONNECT);
    EXPECT_EQ(table_.reservations(), 0U);
    EXPECT_EQ(say(1, request_to(address(2))).at(0).message.status, VRDMA_CM_REFUSED);
}

TEST_F(Table, driver_connects_to_itself) {
    listen(2);
    const uint64_t connection = say(2, request_to(address(2))).at(0).message.connection;
    const Out replied = say(2, about(connection, VRDMA_CM_REPLY, true));
    ASSERT_EQ(replied.size(), 1U);
    EXPECT_EQ(replied[0].message.listener_side, 0);
    const Out ready = say(2, about(connection, VRDMA_CM_READY, false));
    ASSERT_EQ(ready.size(), 1U);
    EXPECT_EQ(ready[0].message.listener_side, 1);
}

// -- other hosts ----------------------------------------------------------------------------------

class WiredTable : public Table {
  protected:
    static constexpr uint32_t kWire = ConnectionTable::kWire;
    WiredTable() { table_.set_wire(kBlue); }
    vrdma_cm_message resolve(uint8_t last) const {
        vrdma_cm_message question = message(VRDMA_CM_RESOLVE);
        std::ranges::copy(address(last), question.address);
        question.tag = 42;
        return question;
    }
    // Another host asks for the listener of 2.
    Out request_from_wire(uint16_t port = kPort) {
        vrdma_cm_message made = request_to(address(99));
        made.port = port;
        made.source_port = 555;
        Out out;
        status_ = table_.request_from_wire(1, made, number_of_connection_, out);
        return out;
    }
    vrdma_cm_status status_ = VRDMA_CM_OK;
    uint64_t number_of_connection_ = 0;
};

TEST_F(WiredTable, address_of_nobody_here_is_asked_for_on_the_wire) {
    const Out out = say(1, resolve(99));
    ASSERT_EQ(out.size(), 1U) << "it was answered already";
    EXPECT_EQ(out[0].client, kWire);
    EXPECT_EQ(out[0].vnic, 0U);
    EXPECT_EQ(out[0].asker, 1U);
    EXPECT_EQ(out[0].message.tag, 42U);
}

TEST_F(WiredTable, address_of_a_vnic_is_answered_at_once) {
    EXPECT_EQ(say(1, resolve(2)).at(0).client, 1U);
}

TEST_F(WiredTable, network_without_a_port_reaches_no_other_host) {
    EXPECT_EQ(say(3, resolve(99)).at(0).message.status, VRDMA_CM_UNREACHABLE);
    EXPECT_EQ(say(3, request_to(address(99))).at(0).message.status, VRDMA_CM_UNREACHABLE);
}

TEST_F(WiredTable, request_goes_to_the_wire_in_the_vnics_name) {
    vrdma_cm_message made = request_to(address(99));
    made.source_port = 555;
    const Out out = say(1, made);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].message.status, VRDMA_CM_OK);
    EXPECT_EQ(out[1].client, kWire);
    EXPECT_EQ(out[1].vnic, 0U);
    EXPECT_EQ(out[1].message.connection, out[0].message.connection);
    EXPECT_EQ(out[1].message.port, kPort);
    EXPECT_EQ(out[1].message.source_port, 555);
    EXPECT_EQ(out[1].message.port_space, kTcp);
    EXPECT_EQ(0, std::memcmp(out[1].message.address, address(99).data(), 16));
}

TEST_F(WiredTable, answer_from_the_wire_reaches_the_requester) {
    const uint64_t connection = say(1, request_to(address(99))).at(0).message.connection;
    Out out;
    vrdma_cm_message reject = about(connection, VRDMA_CM_REJECT, true);
    reject.status = VRDMA_CM_UNREACHABLE;
    table_.receive_from_wire(reject, out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].client, 1U);
    EXPECT_EQ(out[0].message.handle, 77U);
    EXPECT_EQ(out[0].message.status, VRDMA_CM_UNREACHABLE);
    EXPECT_EQ(table_.connections(), 0U);
}

TEST_F(WiredTable, driver_does_not_speak_for_the_wire) {
    const uint64_t connection = say(1, request_to(address(99))).at(0).message.connection;
    EXPECT_TRUE(say(1, about(connection, VRDMA_CM_REPLY, true)).empty());
    EXPECT_TRUE(say(2, about(connection, VRDMA_CM_REPLY, true)).empty());
    listen(2);
    const uint64_t here = say(1, request_to(address(2))).at(0).message.connection;
    vrdma_cm_message reject = about(here, VRDMA_CM_REJECT, true);
    reject.status = VRDMA_CM_UNREACHABLE;
    EXPECT_EQ(say(2, reject).at(0).message.status, 0) << "only the wire times out";
}

TEST_F(WiredTable, wire_does_not_speak_about_connections_of_this_host) {
    listen(2);
    const uint64_t connection = request();
    Out out;
    table_.receive_from_wire(about(connection, VRDMA_CM_REPLY, true), out);
    table_.receive_from_wire(about(connection, VRDMA_CM_REJECT, false), out);
    EXPECT_TRUE(out.empty());
}

TEST_F(WiredTable, request_from_the_wire_reaches_the_listener) {
    listen(2);
    const Out out = request_from_wire();
    ASSERT_EQ(status_, VRDMA_CM_OK);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].client, 2U);
    EXPECT_EQ(out[0].message.connection, number_of_connection_);
    EXPECT_EQ(out[0].message.handle, 5U);
    EXPECT_EQ(out[0].message.port, 555);
    const Out replied = say(2, about(number_of_connection_, VRDMA_CM_REPLY, true));
    ASSERT_EQ(replied.size(), 1U);
    EXPECT_EQ(replied[0].client, kWire);
    EXPECT_EQ(replied[0].vnic, 1U);
}

TEST_F(WiredTable, request_from_the_wire_to_nobody_is_refused) {
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_REFUSED);
    listen(2);
    request_from_wire(kPort + 1);
    EXPECT_EQ(status_, VRDMA_CM_REFUSED);
    EXPECT_EQ(table_.connections(), 0U);
}

TEST_F(WiredTable, connections_with_other_hosts_count_once) {
    listen(2);
    request_from_wire();
    const uint64_t first = number_of_connection_;
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_OK);
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_FULL) << "the vNIC may have two";
    Out out;
    table_.receive_from_wire(about(first, VRDMA_CM_REJECT, false), out);
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_OK);
}

TEST_F(WiredTable, requests_to_other_hosts_have_the_vnics_quota) {
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(say(1, request_to(address(99))).at(0).message.status, VRDMA_CM_OK);
    }
    EXPECT_EQ(say(1, request_to(address(99))).at(0).message.status, VRDMA_CM_FULL);
}

TEST_F(WiredTable, backlog_holds_for_requests_from_the_wire) {
    listen(2, 1);
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_OK);
    request_from_wire();
    EXPECT_EQ(status_, VRDMA_CM_FULL);
}

TEST_F(WiredTable, driver_that_dies_ends_its_connections_with_other_hosts) {
    say(1, request_to(address(99)));
    listen(2);
    request_from_wire();
    say(2, about(number_of_connection_, VRDMA_CM_REPLY, true));
    Out out;
    table_.remove_client(1, out);
    table_.remove_client(2, out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].client, kWire);
    EXPECT_EQ(out[0].vnic, 0U);
    EXPECT_EQ(out[0].message.type, VRDMA_CM_REJECT);
    EXPECT_EQ(out[1].client, kWire);
    EXPECT_EQ(out[1].vnic, 1U);
    EXPECT_EQ(out[1].message.type, VRDMA_CM_DISCONNECT);
    EXPECT_EQ(table_.connections(), 0U);
}

}  // namespace
}  // namespace vrdma::app
