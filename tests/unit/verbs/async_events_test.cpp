#include "verbs/async_events.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <thread>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class AsyncEventsTest : public ProviderTest {
  protected:
    bool readable() {
        pollfd polled{.fd = context_->async_fd, .events = POLLIN, .revents = 0};
        return ::poll(&polled, 1, 0) == 1;
    }
    ibv_async_event next() {
        ibv_async_event event{};
        EXPECT_EQ(ibv_get_async_event(context_, &event), 0);
        return event;
    }
    static std::uint64_t cookie_of(const void* object) {
        return reinterpret_cast<std::uintptr_t>(object);
    }
};

TEST_F(AsyncEventsTest, event_of_a_queue_pair_names_it) {
    ibv_qp* qp = make_qp(IBV_QPS_RTR);
    device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(qp));
    ibv_async_event event = next();
    EXPECT_EQ(event.event_type, IBV_EVENT_COMM_EST);
    EXPECT_EQ(event.element.qp, qp);
    ibv_ack_async_event(&event);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

TEST_F(AsyncEventsTest, event_of_a_cq_names_it) {
    device_.send_event(VRDMA_EVENT_CQ_ERR, cookie_of(cq_));
    ibv_async_event event = next();
    EXPECT_EQ(event.event_type, IBV_EVENT_CQ_ERR);
    EXPECT_EQ(event.element.cq, cq_);
    ibv_ack_async_event(&event);
}

TEST_F(AsyncEventsTest, event_of_the_port_carries_its_number) {
    device_.send_event(VRDMA_EVENT_PORT_ERR, 1);
    ibv_async_event event = next();
    EXPECT_EQ(event.event_type, IBV_EVENT_PORT_ERR);
    EXPECT_EQ(event.element.port_num, 1);
    ibv_ack_async_event(&event);
}

TEST_F(AsyncEventsTest, events_that_name_nothing_or_another_kind_are_dropped) {
    ibv_qp* qp = make_qp(IBV_QPS_RTR);
    device_.send_event(VRDMA_EVENT_QP_FATAL, 0xdead0000);
    device_.send_event(VRDMA_EVENT_QP_FATAL, cookie_of(cq_));
    device_.send_event(VRDMA_EVENT_CQ_ERR, cookie_of(qp));
    device_.send_event(VRDMA_EVENT_SRQ_ERR, cookie_of(qp));
    device_.send_event(200, cookie_of(qp));
    device_.send_event(VRDMA_EVENT_PORT_ACTIVE, 1);
    ibv_async_event event = next();
    EXPECT_EQ(event.event_type, IBV_EVENT_PORT_ACTIVE);
    ibv_ack_async_event(&event);
    EXPECT_FALSE(readable());
}

TEST_F(AsyncEventsTest, destroyed_object_takes_its_unread_events_along) {
    ibv_qp* doomed = make_qp(IBV_QPS_RTR);
    ibv_qp* other = make_qp(IBV_QPS_RTR);
    device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(doomed));
    device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(other));
    device_.send_event(VRDMA_EVENT_QP_FATAL, cookie_of(doomed));
    ASSERT_EQ(ibv_destroy_qp(doomed), 0);
    ibv_async_event event = next();
    EXPECT_EQ(event.element.qp, other);
    ibv_ack_async_event(&event);
    EXPECT_FALSE(readable());
}

TEST_F(AsyncEventsTest, destroy_waits_until_events_are_acknowledged) {
    ibv_qp* qp = make_qp(IBV_QPS_RTR);
    device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(qp));
    ibv_async_event event = next();
    std::atomic<bool> acknowledged = false;
    std::thread acknowledger([&] {
        while (device_.commands(VRDMA_CMD_DESTROY_QP).empty()) {
            std::this_thread::yield();
        }
        acknowledged = true;
        ibv_ack_async_event(&event);
    });
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    EXPECT_TRUE(acknowledged);
    acknowledger.join();
}

TEST_F(AsyncEventsTest, async_fd_may_be_non_blocking) {
    ::fcntl(context_->async_fd, F_SETFL, O_NONBLOCK);
    ibv_async_event event{};
    errno = 0;
    EXPECT_EQ(ibv_get_async_event(context_, &event), -1);
    EXPECT_EQ(errno, EAGAIN);
}

TEST_F(AsyncEventsTest, events_nobody_reads_are_kept) {
    constexpr int kEvents = 3000;
    for (int i = 0; i < kEvents; ++i) {
        device_.send_event(VRDMA_EVENT_PORT_ACTIVE, 1);
    }
    int read = 0;
    device_.send_event(VRDMA_EVENT_PORT_ERR, 1);
    for (;;) {
        ibv_async_event event = next();
        if (event.event_type == IBV_EVENT_PORT_ERR) {
            break;
        }
        ++read;
    }
    EXPECT_EQ(read, kEvents);
}

}  // namespace
}  // namespace vrdma::verbs
