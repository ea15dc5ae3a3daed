#include "verbs/completion_channel.h"

#include <poll.h>

#include <cerrno>
#include <thread>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/cq.h"

namespace vrdma::verbs {
namespace {

class CompletionChannelTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        channel_ = ibv_create_comp_channel(context_);
        ASSERT_NE(channel_, nullptr);
        cq_ = make_cq(16, channel_);
        qp_ = make_qp(IBV_QPS_RTS);
    }
    bool readable() {
        pollfd polled{.fd = channel_->fd, .events = POLLIN, .revents = 0};
        return ::poll(&polled, 1, 0) == 1;
    }
    void one_event_for(ibv_cq* expected) {
        ibv_cq* cq = nullptr;
        void* cq_context = nullptr;
        ASSERT_TRUE(readable());
        ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &cq_context), 0);
        EXPECT_EQ(cq, expected);
    }
    // Channels are destroyed by the watcher when the program closed them.
    void wait_for_destroyed_channels(std::size_t count) {
        while (device_.commands(VRDMA_CMD_DESTROY_CHANNEL).size() < count) {
            std::this_thread::yield();
        }
    }

    ibv_qp* qp_ = nullptr;
};

TEST_F(CompletionChannelTest, armed_cq_sends_one_event) {
    ibv_req_notify_cq(cq_, 0);
    complete_send(qp_, 0);
    complete_send(qp_, 1);
    one_event_for(cq_);
    EXPECT_FALSE(readable());
    ibv_ack_cq_events(cq_, 1);
}

TEST_F(CompletionChannelTest, cq_that_is_not_armed_sends_none) {
    complete_send(qp_, 0);
    EXPECT_FALSE(readable());
}

// UCX arms after its last poll and sleeps without another.
TEST_F(CompletionChannelTest, arming_with_an_unread_completion_sends_one_event) {
    complete_send(qp_, 0);
    ibv_req_notify_cq(cq_, 0);
    one_event_for(cq_);
    EXPECT_FALSE(readable());
    EXPECT_EQ(poll(cq_).size(), 1U);
    ibv_req_notify_cq(cq_, 0);
    EXPECT_FALSE(readable());
    complete_send(qp_, 1);
    one_event_for(cq_);
    ibv_ack_cq_events(cq_, 2);
}

// perftest arms first and polls then, once for each event.
TEST_F(CompletionChannelTest, arming_between_the_event_and_the_poll_sends_no_second_one) {
    ibv_req_notify_cq(cq_, 0);
    complete_send(qp_, 0);
    one_event_for(cq_);
    ibv_req_notify_cq(cq_, 0);
    EXPECT_FALSE(readable());
    EXPECT_EQ(poll(cq_).size(), 1U);
    complete_send(qp_, 1);
    one_event_for(cq_);
    ibv_ack_cq_events(cq_, 2);
}

TEST_F(CompletionChannelTest, arming_for_solicited_looks_only_for_solicited_and_failed_ones) {
    vrdma_cqe cqe{};
    cqe.qpn = qp_->qp_num;
    cqe.opcode = VRDMA_WC_RECV;
    device_.complete(cq_->handle, cqe);
    ibv_req_notify_cq(cq_, 1);
    EXPECT_FALSE(readable());
    cqe.flags = VRDMA_CQE_SOLICITED;
    device_.complete(cq_->handle, cqe);
    ibv_req_notify_cq(cq_, 1);
    one_event_for(cq_);
    EXPECT_EQ(poll(cq_).size(), 2U);
    cqe.flags = 0;
    cqe.status = VRDMA_WC_LOC_PROT_ERR;
    device_.complete(cq_->handle, cqe);
    ibv_req_notify_cq(cq_, 1);
    one_event_for(cq_);
    ibv_ack_cq_events(cq_, 2);
}

TEST_F(CompletionChannelTest, cq_on_a_foreign_channel_is_einval) {
    ibv_comp_channel foreign{.context = context_, .fd = 0, .refcnt = 0};
    errno = 0;
    EXPECT_EQ(ibv_create_cq(context_, 4, nullptr, &foreign, 0), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(CompletionChannelTest, create_that_the_device_refuses_fails) {
    device_.refuse_next(VRDMA_CMD_CREATE_CHANNEL, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_EQ(ibv_create_comp_channel(context_), nullptr);
}

TEST_F(CompletionChannelTest, destroyed_cq_takes_its_unread_events_along) {
    ibv_cq* first = cq_;
    cq_ = make_cq(16, channel_);
    ibv_qp* other = make_qp(IBV_QPS_RTS);
    ibv_req_notify_cq(first, 0);
    ibv_req_notify_cq(cq_, 0);
    complete_send(qp_, 0);
    complete_send(other, 0);
    ASSERT_EQ(ibv_destroy_qp(qp_), 0);
    ASSERT_EQ(ibv_destroy_cq(first), 0);
    one_event_for(cq_);
    EXPECT_FALSE(readable());
    ibv_ack_cq_events(cq_, 1);
}

TEST_F(CompletionChannelTest, destroy_waits_until_events_are_acknowledged) {
    ibv_req_notify_cq(cq_, 0);
    complete_send(qp_, 0);
    one_event_for(cq_);
    ASSERT_EQ(ibv_destroy_qp(qp_), 0);
    std::atomic<bool> acknowledged = false;
    std::thread acknowledger([&] {
        while (device_.commands(VRDMA_CMD_DESTROY_CQ).empty()) {
            std::this_thread::yield();
        }
        acknowledged = true;
        ibv_ack_cq_events(cq_, 1);
    });
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    EXPECT_TRUE(acknowledged);
    acknowledger.join();
}

TEST_F(CompletionChannelTest, destroy_waits_for_an_event_that_was_read_and_not_reported) {
    // Another thread has taken the event out of the socket and is about to use the CQ: only the
    // device's count knows of it.
    ibv_req_notify_cq(cq_, 0);
    complete_send(qp_, 0);
    std::uint64_t cookie = 0;
    ASSERT_EQ(::read(channel_->fd, &cookie, sizeof cookie), static_cast<ssize_t>(sizeof cookie));
    ASSERT_EQ(ibv_destroy_qp(qp_), 0);
    std::thread late([&] {
        while (device_.commands(VRDMA_CMD_DESTROY_CQ).empty()) {
            std::this_thread::yield();
        }
        auto* cq = reinterpret_cast<ibv_cq*>(cookie);
        cq_event(cq);
        ibv_ack_cq_events(cq, 1);
    });
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    late.join();
}

TEST_F(CompletionChannelTest, closed_channel_is_destroyed_at_the_device) {
    ASSERT_EQ(ibv_destroy_qp(qp_), 0);
    ASSERT_EQ(ibv_destroy_cq(cq_), 0);
    ASSERT_EQ(ibv_destroy_comp_channel(std::exchange(channel_, nullptr)), 0);
    wait_for_destroyed_channels(1);
}

TEST_F(CompletionChannelTest, many_channels_come_and_go) {
    for (int i = 0; i < 50; ++i) {
        ibv_comp_channel* channel = ibv_create_comp_channel(context_);
        ASSERT_NE(channel, nullptr);
        ASSERT_EQ(ibv_destroy_comp_channel(channel), 0);
    }
    wait_for_destroyed_channels(50);
}

TEST_F(CompletionChannelTest, events_that_do_not_fit_come_when_there_is_room) {
    constexpr int kEvents = 2000;
    Context& context = Context::of(context_);
    for (int i = 0; i < kEvents; ++i) {
        const std::lock_guard lock(context.event_mutex);
        context.channels.wake(*Cq::of(cq_));
    }
    for (int i = 0; i < kEvents; ++i) {
        ibv_cq* cq = nullptr;
        void* cq_context = nullptr;
        ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &cq_context), 0);
    }
    EXPECT_FALSE(readable());
    ibv_ack_cq_events(cq_, kEvents);
    ASSERT_EQ(ibv_destroy_qp(qp_), 0);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
}

}  // namespace
}  // namespace vrdma::verbs
