// XRC between hosts: the same rules as on one host, and what only a packet can do.
#include <gtest/gtest.h>

#include <map>

#include "dataplane/wire/build.h"
#include "dataplane/wire/parse.h"
#include "wire_hosts.h"
#include "xrc_tenant.h"

namespace vrdma::test {
namespace {

constexpr uint64_t kInode = 5;

class WireXrc : public Wire {
  protected:
    WireXrc() {
        Tenant& b = *far.tenant;
        const uint32_t xrcd = open_xrcd(b, kInode);
        other_pd = b.create_pd();
        other_cq = b.create_cq();
        first = create_xrc_srq(b, xrcd);
        second = create_xrc_srq(b, xrcd, {.pd = other_pd, .cq = other_cq.handle});
        left = near.tenant->create_qp({.type = VRDMA_QPT_XRC_SEND});
        right = create_target(b, xrcd);
        connect(*near.tenant, left, gid_of(b), right.qpn);
        connect(b, right, gid_of(*near.tenant), left.qpn);
        settle();
        advance(Duration::milliseconds(60));  // they have asked each other what they speak
        here.fill(5);
    }
    // What a stranger could send who saw the packet: under its addresses, or those of the way back.
    static MemoryPort::Frame forge(const wire::Packet& packet, const wire::HeaderFields& fields,
                                   std::span<const std::byte> payload, bool back = false) {
        wire::Flow flow{.source_mac = packet.network.source_mac,
                        .destination_mac = packet.network.destination_mac,
                        .source = packet.network.source,
                        .destination = packet.network.destination};
        if (back) {
            std::swap(flow.source_mac, flow.destination_mac);
            std::swap(flow.source, flow.destination);
        }
        MemoryPort::Frame frame(MemoryPort::kRoom);
        frame.resize(wire::build_frame(frame, wire::FlowTemplate(flow), fields, payload));
        return frame;
    }
    // Lets the next packet of this opcode go with another SRQ number.
    void change_srqn(wire::Opcode opcode, uint32_t srqn) {
        filter = [this, opcode, srqn](const MemoryPort::Frame& frame) {
            const auto packet = wire::parse(frame);
            if (changed || !packet || packet->bth.opcode != opcode) {
                return true;
            }
            changed = true;
            wire::HeaderFields fields;
            fields.opcode = opcode;
            fields.ack_request = packet->bth.ack_request;
            fields.dqpn = packet->bth.dqpn;
            fields.psn = packet->bth.psn;
            fields.srqn = srqn;
            far.port.arrive(forge(*packet, fields, packet->payload));
            return false;
        };
    }
    void expect_srq_refused() {
        settle();
        const vrdma_cqe failed = next(near.tenant->cq);
        EXPECT_EQ(failed.status, VRDMA_WC_REM_INV_REQ_ERR);
        EXPECT_EQ(near.tenant->state_of(left), VRDMA_QPS_ERR);
        EXPECT_EQ(far.tenant->state_of(right), VRDMA_QPS_ERR);
        EXPECT_EQ(far.tenant->take_events().back(), uint32_t{VRDMA_EVENT_QP_REQ_ERR});
        EXPECT_EQ(far.count(Counter::XrcSrqRefused), 1U);
    }

    uint32_t other_pd = 0;
    CompletionRing other_cq;
    XrcRing first;
    XrcRing second;  // in another protection domain
    Buffer here = near.tenant->buffer(20000);
    bool changed = false;
};

TEST_P(WireXrc, sends_are_received_in_the_srqs_that_they_name) {
    const Buffer to = far.tenant->buffer(20000);
    const Buffer other = far.tenant->buffer(20000, {.pd = other_pd});
    far.tenant->post_receive(first.ring, 1, {to.sge()});
    far.tenant->post_receive(second.ring, 2, {other.sge()});
    near.tenant->post_quietly(left, {.wr_id = 3, .sges = {here.sge()}, .srqn = second.srqn});
    near.tenant->post(left, {.opcode = VRDMA_WQE_SEND_WITH_IMM,
                             .wr_id = 4,
                             .sges = {here.sge(0, 100)},
                             .imm = 77,
                             .srqn = first.srqn});
    settle();
    expect_success(next(near.tenant->cq), 3, VRDMA_WC_SEND);
    expect_success(next(near.tenant->cq), 4, VRDMA_WC_SEND);
    const vrdma_cqe long_one = next(other_cq);
    expect_success(long_one, 2, VRDMA_WC_RECV);
    EXPECT_EQ(long_one.qpn, right.qpn);
    EXPECT_EQ(long_one.src_qpn_or_index, left.qpn);
    EXPECT_EQ(long_one.byte_len, 20000U);
    EXPECT_EQ(other.text(), here.text());
    const vrdma_cqe short_one = next(far.tenant->cq);
    expect_success(short_one, 1, VRDMA_WC_RECV);
    EXPECT_EQ(short_one.imm_data, 77U);
    EXPECT_EQ(to.text(0, 100), here.text(0, 100));
}

TEST_P(WireXrc, every_request_has_an_xrceth_and_no_answer_has) {
    const Buffer to = far.tenant->buffer(20000);
    std::map<wire::Opcode, uint32_t> seen;
    filter = [&](const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        if (packet && packet->info().service != wire::Service::Other) {
            EXPECT_EQ(packet->info().service, wire::Service::Xrc);
            EXPECT_EQ(packet->srqn, packet->info().request() ? first.srqn : 0U);
            ++seen[packet->bth.opcode];
        }
        return true;
    };
    far.tenant->post_receive(first.ring, 1, {to.sge()});
    for (const uint8_t opcode : {VRDMA_WQE_SEND, VRDMA_WQE_RDMA_WRITE, VRDMA_WQE_RDMA_READ}) {
        near.tenant->post_quietly(left, {.opcode = opcode,
                                         .sges = {here.sge()},
                                         .remote_address = to.address(),
                                         .rkey = to.key,
                                         .srqn = first.srqn});
    }
    near.tenant->post(left, {.opcode = VRDMA_WQE_ATOMIC_FETCH_AND_ADD,
                             .sges = {here.sge(0, 8)},
                             .remote_address = to.address(),
                             .rkey = to.key,
                             .compare_add = 1,
                             .srqn = first.srqn});
    settle();
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 4U);
    for (const wire::Opcode opcode :
         {wire::Opcode::XrcSendFirst, wire::Opcode::XrcSendMiddle, wire::Opcode::XrcSendLast,
          wire::Opcode::XrcWriteFirst, wire::Opcode::XrcWriteMiddle, wire::Opcode::XrcWriteLast,
          wire::Opcode::XrcReadRequest, wire::Opcode::XrcReadResponseFirst,
          wire::Opcode::XrcReadResponseMiddle, wire::Opcode::XrcReadResponseLast,
          wire::Opcode::XrcFetchAdd, wire::Opcode::XrcAtomicAcknowledge}) {
        EXPECT_NE(seen[opcode], 0U) << static_cast<unsigned>(opcode);
    }
}

// The answer to the READ leaves after the target was bound to the other SRQ.
TEST_P(WireXrc, reads_use_the_domain_of_their_own_srq) {
    const Buffer of_first = far.tenant->buffer(16000);
    const Buffer of_second = far.tenant->buffer(16000, {.pd = other_pd});
    of_first.fill(1);
    of_second.fill(2);
    const Buffer back = near.tenant->buffer(32000);
    near.tenant->post_quietly(left, {.opcode = VRDMA_WQE_RDMA_READ,
                                     .wr_id = 1,
                                     .sges = {back.sge(0, 16000)},
                                     .remote_address = of_first.address(),
                                     .rkey = of_first.key,
                                     .srqn = first.srqn});
    near.tenant->post_quietly(left, {.opcode = VRDMA_WQE_RDMA_READ,
                                     .wr_id = 2,
                                     .sges = {back.sge(16000, 16000)},
                                     .remote_address = of_second.address(),
                                     .rkey = of_second.key,
                                     .srqn = second.srqn});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 3,
                             .sges = {here.sge(0, 8)},
                             .remote_address = of_second.address(),
                             .rkey = of_second.key,
                             .srqn = second.srqn});
    settle();
    for (uint64_t i = 1; i <= 3; ++i) {
        const vrdma_cqe done = next(near.tenant->cq);
        EXPECT_EQ(done.wr_id, i);
        EXPECT_EQ(done.status, VRDMA_WC_SUCCESS);
    }
    EXPECT_EQ(back.text(0, 16000), of_first.text());
    EXPECT_EQ(back.text(16008, 15992), of_second.text(8, 15992));
}

TEST_P(WireXrc, read_with_the_key_of_another_srqs_domain_is_refused) {
    const Buffer of_second = far.tenant->buffer(64, {.pd = other_pd});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                             .wr_id = 1,
                             .sges = {here.sge(0, 8)},
                             .remote_address = of_second.address(),
                             .rkey = of_second.key,
                             .srqn = first.srqn});
    settle();
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_REM_ACCESS_ERR);
    EXPECT_EQ(far.tenant->state_of(right), VRDMA_QPS_ERR);
}

TEST_P(WireXrc, number_of_an_srq_of_another_domain_is_refused) {
    const XrcRing elsewhere = create_xrc_srq(*far.tenant, open_xrcd(*far.tenant));
    near.tenant->post(left, {.wr_id = 1, .sges = {here.sge(0, 8)}, .srqn = elsewhere.srqn});
    expect_srq_refused();
}

TEST_P(WireXrc, read_that_names_no_srq_is_refused) {
    const Buffer of_first = far.tenant->buffer(64);
    Tenant::EXPECT_DONE(far.tenant->destroy(VRDMA_CMD_DESTROY_SRQ, first.ring.handle));
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                             .wr_id = 1,
                             .sges = {here.sge(0, 8)},
                             .remote_address = of_first.address(),
                             .rkey = of_first.key,
                             .srqn = first.srqn});
    expect_srq_refused();
}

TEST_P(WireXrc, message_that_changes_its_srq_on_the_way_is_refused) {
    const Buffer to = far.tenant->buffer(20000);
    far.tenant->post_receive(first.ring, 1, {to.sge()});
    far.tenant->post_receive(second.ring, 2, {});
    change_srqn(wire::Opcode::XrcSendMiddle, second.srqn);
    near.tenant->post(left, {.wr_id = 1, .sges = {here.sge()}, .srqn = first.srqn});
    expect_srq_refused();
    EXPECT_TRUE(changed);
    expect_flushed(next(far.tenant->cq), 1);
    EXPECT_NO_COMPLETION(other_cq);
}

TEST_P(WireXrc, lost_packets_change_nothing) {
    const Buffer to = far.tenant->buffer(20000);
    int count = 0;
    filter = [&](const MemoryPort::Frame&) { return ++count % 17 != 0; };
    for (uint64_t i = 0; i < 8; ++i) {
        far.tenant->post_receive(i % 2 == 0 ? first.ring : second.ring, i,
                                 i % 2 == 0 ? std::vector{to.sge()} : std::vector<vrdma_sge>{});
        near.tenant->post(left,
                          {.wr_id = i,
                           .sges = i % 2 == 0 ? std::vector{here.sge()} : std::vector<vrdma_sge>{},
                           .srqn = i % 2 == 0 ? first.srqn : second.srqn});
    }
    advance(Duration::milliseconds(1000));
    EXPECT_GT(count, 17);
    const std::vector<vrdma_cqe> sent = near.tenant->cq.poll_all();
    ASSERT_EQ(sent.size(), 8U);
    for (const vrdma_cqe& entry : sent) {
        EXPECT_EQ(entry.status, VRDMA_WC_SUCCESS);
    }
    EXPECT_EQ(far.tenant->cq.poll_all().size(), 4U);
    EXPECT_EQ(other_cq.poll_all().size(), 4U);
    EXPECT_TRUE(to.text() == here.text());
}

TEST_P(WireXrc, packet_of_rc_for_a_target_changes_only_a_counter) {
    filter = [this](const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        if (packet && packet->info().service == wire::Service::Xrc && !changed) {
            changed = true;
            wire::HeaderFields fields;
            fields.opcode = wire::rc_of(packet->bth.opcode);
            fields.dqpn = packet->bth.dqpn;
            fields.psn = packet->bth.psn;
            far.port.arrive(forge(*packet, fields, packet->payload));
        }
        return true;
    };
    far.tenant->post_receive(first.ring, 1, {});
    near.tenant->post(left, {.wr_id = 1, .srqn = first.srqn});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(far.count(Counter::WireDroppedService), 1U);
}

TEST_P(WireXrc, request_for_an_initiator_changes_only_a_counter) {
    const Buffer of_near = near.tenant->buffer(64);
    wire::HeaderFields fields;
    fields.opcode = wire::Opcode::XrcWriteOnly;
    fields.dqpn = left.qpn;
    fields.reth = {of_near.address(), of_near.key, 8};
    filter = [&](const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        if (packet && !changed && packet->info().service == wire::Service::Xrc) {
            changed = true;  // the way back of what near sends
            const std::array<std::byte, 8> payload{std::byte{1}};
            near.port.arrive(forge(*packet, fields, payload, true));
        }
        return true;
    };
    far.tenant->post_receive(first.ring, 1, {});
    near.tenant->post(left, {.wr_id = 1, .srqn = first.srqn});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(near.dropped(transport::DropReason::NotForResponder), 1U);
    EXPECT_EQ(of_near.text(0, 1), std::string(1, '\0'));
}

TEST_P(WireXrc, path_mtu_has_to_leave_room_for_the_xrceth) {
    near.port.longest = 14 + 4096 + wire::kMaxOverheadV4;
    QueuePair qp = near.tenant->create_qp({.type = VRDMA_QPT_XRC_SEND});
    to_init(*near.tenant, qp);
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_RTR;
    attributes.path_mtu = 5;
    attributes.dest_qpn = right.qpn;
    const vrdma_gid_entry gid = gid_of(*far.tenant);
    std::memcpy(attributes.address.gid, gid.gid, sizeof gid.gid);
    attributes.address.sgid_index = 3;
    const CommandOutcome refused = near.tenant->modify(
        qp, VRDMA_QP_STATE | VRDMA_QP_AV | VRDMA_QP_PATH_MTU | VRDMA_QP_DEST_QPN | VRDMA_QP_RQ_PSN,
        attributes);
    EXPECT_EQ(refused.kind, CommandOutcome::Kind::Refused);
    EXPECT_NE(std::string_view(refused.refusal.text).find("path MTU"), std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Peers, WireXrc,
                         testing::Values(transport::PeerPolicy::Standard,
                                         transport::PeerPolicy::Vrdma, transport::PeerPolicy::Auto),
                         policy_name);

}  // namespace
}  // namespace vrdma::test
