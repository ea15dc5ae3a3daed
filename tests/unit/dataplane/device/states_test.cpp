// The state machine of queue pairs (IBA 10.3.1) and what each state does with posted work.
#include "pair.h"

namespace vrdma::test {
namespace {

constexpr vrdma_qp_state kStates[] = {VRDMA_QPS_RESET, VRDMA_QPS_INIT, VRDMA_QPS_RTR, VRDMA_QPS_RTS,
                                      VRDMA_QPS_SQD,   VRDMA_QPS_SQE,  VRDMA_QPS_ERR};

// The transitions of IBA figure 124 that a program may ask for.
bool legal(uint8_t type, vrdma_qp_state from, vrdma_qp_state to) {
    if (to == VRDMA_QPS_RESET || to == VRDMA_QPS_ERR) {
        return true;
    }
    switch (from) {
        case VRDMA_QPS_RESET:
            return to == VRDMA_QPS_INIT;
        case VRDMA_QPS_INIT:
            return to == VRDMA_QPS_INIT || to == VRDMA_QPS_RTR;
        case VRDMA_QPS_RTR:
            return to == VRDMA_QPS_RTS;
        case VRDMA_QPS_RTS:
            return to == VRDMA_QPS_RTS || to == VRDMA_QPS_SQD;
        case VRDMA_QPS_SQD:
            return to == VRDMA_QPS_RTS || to == VRDMA_QPS_SQD;
        case VRDMA_QPS_SQE:
            return to == VRDMA_QPS_RTS && type != VRDMA_QPT_RC;
        case VRDMA_QPS_ERR:
            return false;
    }
    return false;
}

class States : public Pair {
  protected:
    // A fresh queue pair in a state; nullopt when the type does not have it.
    std::optional<QueuePair> make(uint8_t type, vrdma_qp_state state) {
        QueuePair qp = a.create_qp({.type = type, .sq_entries = 4, .rq_entries = 4});
        if (state == VRDMA_QPS_RESET) {
            return qp;
        }
        to_init(a, qp);
        if (state == VRDMA_QPS_INIT) {
            return qp;
        }
        if (state == VRDMA_QPS_ERR) {
            Tenant::EXPECT_DONE(a.to_state(qp, VRDMA_QPS_ERR));
            return qp;
        }
        to_rtr(a, qp, gid_of(b), 5);
        if (state == VRDMA_QPS_RTR) {
            return qp;
        }
        to_rts(a, qp);
        if (state == VRDMA_QPS_SQD) {
            Tenant::EXPECT_DONE(a.to_state(qp, VRDMA_QPS_SQD));
        }
        if (state == VRDMA_QPS_SQE) {
            if (type == VRDMA_QPT_RC) {
                return std::nullopt;
            }
            a.post(qp, {.opcode = 200});
            world.settle();
            a.cq.poll_all();
        }
        return qp;
    }
};

TEST_P(States, exactly_the_transitions_of_the_specification_exist) {
    for (const uint8_t type : {VRDMA_QPT_RC, VRDMA_QPT_UC, VRDMA_QPT_UD}) {
        for (const vrdma_qp_state from : kStates) {
            for (const vrdma_qp_state to : kStates) {
                const std::optional<QueuePair> qp = make(type, from);
                if (!qp) {
                    continue;
                }
                ASSERT_EQ(a.state_of(*qp), from) << int{type};
                const CommandOutcome outcome = a.to_state(*qp, to);
                const bool done = outcome.kind == CommandOutcome::Kind::Done;
                EXPECT_EQ(done, legal(type, from, to)) << int{type} << ": " << from << "->" << to;
                if (!done) {
                    EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_STATE);
                }
                EXPECT_EQ(a.state_of(*qp), done ? to : from);
                Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, qp->handle));
            }
        }
    }
}

TEST_P(States, unknown_state_is_refused) {
    const QueuePair qp = a.create_qp();
    EXPECT_EQ(a.to_state(qp, static_cast<vrdma_qp_state>(7)).refusal.status, VRDMA_STATUS_STATE);
}

TEST_P(States, current_state_that_is_not_current_is_refused) {
    const QueuePair qp = a.create_qp();
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_INIT;
    attributes.current_state = VRDMA_QPS_RTS;
    EXPECT_EQ(a.modify(qp, VRDMA_QP_STATE | VRDMA_QP_CUR_STATE, attributes).refusal.status,
              VRDMA_STATUS_STATE);
}

// IBA 10.3.1.2: sends posted before RTS wait.
TEST_P(States, sends_wait_until_rts) {
    left = a.create_qp();
    right = b.create_qp();
    to_init(a, left);
    to_rtr(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    b.post_receive(right, 1, {});
    a.post(left, {.wr_id = 2});
    world.settle();
    EXPECT_NO_COMPLETION(a.cq);
    to_rts(a, left);
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
}

// IBA 10.3.1.5: SQD finishes what it began and starts nothing.
TEST_P(States, sqd_finishes_the_current_message_then_reports_drained) {
    connect_pair({}, {.rnr_retry = 7});
    a.post_quietly(left, {.wr_id = 1});
    a.post(left, {.wr_id = 2});
    world.settle();  // the first one waits for a receive
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_SQD;
    attributes.sq_drained_notify = 1;
    Tenant::EXPECT_DONE(a.modify(left, VRDMA_QP_STATE | VRDMA_QP_EN_SQD_ASYNC_NOTIFY, attributes));
    EXPECT_EQ(a.query(left).sq_draining, 1);
    world.settle();
    EXPECT_TRUE(a.take_events().empty());
    b.post_receive(right, 9, {});
    b.post_receive(right, 10, {});
    world.advance(Duration::milliseconds(1));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_EQ(a.take_events(), std::vector<uint32_t>{VRDMA_EVENT_SQ_DRAINED});
    EXPECT_EQ(a.query(left).sq_draining, 0);
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RTS));
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
}

TEST_P(States, idle_send_queue_is_drained_at_once) {
    connect_pair();
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_SQD;
    attributes.sq_drained_notify = 1;
    Tenant::EXPECT_DONE(a.modify(left, VRDMA_QP_STATE | VRDMA_QP_EN_SQD_ASYNC_NOTIFY, attributes));
    world.settle();
    ASSERT_EQ(a.events().size(), 1U);
    EXPECT_EQ(a.events()[0].cookie, left.cookie);
    EXPECT_EQ(a.take_events(), std::vector<uint32_t>{VRDMA_EVENT_SQ_DRAINED});
}

TEST_P(States, drained_event_is_sent_only_when_this_sqd_asked_for_it) {
    connect_pair();
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_SQD;
    attributes.sq_drained_notify = 1;
    Tenant::EXPECT_DONE(a.modify(left, VRDMA_QP_STATE | VRDMA_QP_EN_SQD_ASYNC_NOTIFY, attributes));
    world.settle();
    a.take_events();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RTS));
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_SQD));
    world.settle();
    EXPECT_TRUE(a.take_events().empty());
}

// A queue pair in SQD still receives.
TEST_P(States, sqd_still_receives) {
    connect_pair();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_SQD));
    a.post_receive(left, 1, {});
    b.post(right, {.wr_id = 2});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RECV);
    expect_success(next(b.cq), 2, VRDMA_WC_SEND);
}

// IBA 10.3.1.6: everything posted is flushed, in order.
TEST_P(States, err_flushes_both_queues_in_order) {
    connect_pair({}, {.rnr_retry = 7});
    for (uint64_t i = 0; i < 5; ++i) {
        a.post_quietly(left, {.wr_id = i, .flags = 0});
        a.post_receive(left, 100 + i, {});
    }
    a.ring(left);
    world.settle();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_ERR));
    EXPECT_EQ(left.header->in_error, 1U);
    const std::vector<vrdma_cqe> all = a.cq.poll_all();
    ASSERT_EQ(all.size(), 10U);
    for (uint64_t i = 0; i < 5; ++i) {
        expect_flushed(all[i], i);
        expect_flushed(all[5 + i], 100 + i);
        EXPECT_EQ(all[5 + i].opcode, VRDMA_WC_RECV);
    }
}

TEST_P(States, work_posted_in_err_is_flushed_when_the_doorbell_rings) {
    connect_pair();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_ERR));
    a.post(left, {.wr_id = 1});
    a.post_receive(left, 2, {});  // rings because of in_error
    world.settle();
    expect_flushed(next(a.cq), 1);
    expect_flushed(next(a.cq), 2);
}

TEST_P(States, message_of_several_slices_ends_when_its_queue_pair_goes_to_err) {
    connect_pair();
    const Buffer from = a.buffer(16U << 20);
    const Buffer to = b.buffer(16U << 20);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .wr_id = 1,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.turn();
    world.turn();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_ERR));
    world.settle();
    expect_flushed(next(a.cq), 1);
    EXPECT_NO_COMPLETION(a.cq);
}

TEST_P(States, reset_forgets_all_work_and_the_queue_pair_can_be_used_again) {
    connect_pair({}, {.rnr_retry = 7});
    a.post(left, {.wr_id = 1});
    a.post_receive(left, 2, {});
    world.settle();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RESET));
    EXPECT_EQ(a.query(left).dest_qpn, 0U);
    EXPECT_EQ(left.header->sq_consumer, 0U);
    left.sq_producer = left.rq_producer = 0;
    left.header->sq_producer = left.header->rq_producer = 0;
    world.advance(Duration::milliseconds(100));
    EXPECT_NO_COMPLETION(a.cq);
    connect(a, left, gid_of(b), right.qpn);
    b.post_receive(right, 4, {});
    a.post(left, {.wr_id = 3});
    world.settle();
    expect_success(next(a.cq), 3, VRDMA_WC_SEND);
    expect_success(next(b.cq), 4, VRDMA_WC_RECV);
}

TEST_P(States, err_queue_pair_comes_back_through_reset) {
    connect_pair();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_ERR));
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RESET));
    EXPECT_EQ(left.header->in_error, 0U);
    connect(a, left, gid_of(b), right.qpn);
    b.post_receive(right, 4, {});
    a.post(left, {.wr_id = 3});
    world.settle();
    expect_success(next(a.cq), 3, VRDMA_WC_SEND);
}

// The message that a reset requester left half done must not be glued to the next one.
TEST_P(States, reset_in_the_middle_of_a_message_leaves_nothing_behind_at_the_responder) {
    connect_pair();
    const Buffer from = a.buffer(8U << 20);
    const Buffer to = b.buffer(8U << 20);
    from.fill(1);
    b.post_receive(right, 1, {to.sge()});
    a.post(left, {.wr_id = 1, .sges = {from.sge()}});
    world.turn();
    world.turn();
    Tenant::EXPECT_DONE([&] {
        vrdma_cmd_modify_qp reset{left.handle, VRDMA_QP_STATE, {}};
        return a.command_until_done(VRDMA_CMD_MODIFY_QP, reset);
    }());
    left.sq_producer = 0;
    left.header->sq_producer = 0;
    connect(a, left, gid_of(b), right.qpn);
    a.post(left, {.wr_id = 2, .sges = {from.sge(100, 10)}});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    const vrdma_cqe received = next(b.cq);
    EXPECT_EQ(received.byte_len, 10U);
    EXPECT_EQ(to.text(0, 10), from.text(100, 10));
}

ON_ONE_AND_TWO_SHARDS(States);

}  // namespace
}  // namespace vrdma::test
