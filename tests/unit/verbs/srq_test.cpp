#include "verbs/srq.h"

#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class SrqTest : public ProviderTest {
  protected:
    ibv_srq* create(std::uint32_t max_wr, std::uint32_t max_sge) {
        attr_.attr = {.max_wr = max_wr, .max_sge = max_sge, .srq_limit = 2};
        errno = 0;
        return ibv_create_srq(pd_, &attr_);
    }
    ibv_srq_init_attr attr_{};
};

TEST_F(SrqTest, create_tells_what_the_ring_holds) {
    ibv_srq* srq = create(5, 2);
    ASSERT_NE(srq, nullptr);
    EXPECT_EQ(attr_.attr.max_wr, 8U);
    EXPECT_EQ(attr_.attr.max_sge, 3U);
    const auto request = device_.last(VRDMA_CMD_CREATE_SRQ).as<vrdma_cmd_create_srq>();
    EXPECT_EQ(request.entries, 8U);
    EXPECT_EQ(request.max_sge, 3U);
    EXPECT_EQ(request.limit, 2U);
    EXPECT_EQ(request.cookie, reinterpret_cast<std::uintptr_t>(srq));
    EXPECT_EQ(ibv_destroy_srq(srq), 0);
}

TEST_F(SrqTest, create_of_an_impossible_size_is_einval) {
    EXPECT_EQ(create(0, 1), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(create(4097, 1), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(SrqTest, create_with_too_many_sges_is_einval) {
    EXPECT_EQ(create(4, 17), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(SrqTest, create_that_the_device_refuses_fails_with_its_errno) {
    device_.refuse_next(VRDMA_CMD_CREATE_SRQ, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_EQ(create(4, 1), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

TEST_F(SrqTest, slots_are_free_when_the_device_took_them) {
    ibv_srq* srq = create(4, 1);
    ibv_recv_wr wr{};
    ibv_recv_wr* bad = nullptr;
    for (std::uint64_t i = 0; i < 4; ++i) {
        wr.wr_id = i;
        ASSERT_EQ(ibv_post_srq_recv(srq, &wr, &bad), 0);
    }
    EXPECT_EQ(device_.srq_header(srq->handle).producer, 4U);
    EXPECT_EQ(device_.srq_wqe(srq->handle, 3).wr_id, 3U);
    EXPECT_EQ(ibv_post_srq_recv(srq, &wr, &bad), ENOMEM);
    EXPECT_EQ(bad, &wr);
    device_.srq_header(srq->handle).consumer = 1;
    EXPECT_EQ(ibv_post_srq_recv(srq, &wr, &bad), 0);
    EXPECT_EQ(ibv_post_srq_recv(srq, &wr, &bad), ENOMEM);
}

TEST_F(SrqTest, post_with_too_many_sges_is_einval) {
    ibv_srq* srq = create(4, 1);
    ibv_sge sges[2] = {};
    ibv_recv_wr wr{.wr_id = 0, .next = nullptr, .sg_list = sges, .num_sge = 2};
    ibv_recv_wr* bad = nullptr;
    EXPECT_EQ(ibv_post_srq_recv(srq, &wr, &bad), EINVAL);
    EXPECT_EQ(bad, &wr);
}

TEST_F(SrqTest, limit_is_the_devices) {
    ibv_srq* srq = create(4, 1);
    ibv_srq_attr attr{};
    attr.srq_limit = 3;
    ASSERT_EQ(ibv_modify_srq(srq, &attr, IBV_SRQ_LIMIT), 0);
    ibv_srq_attr queried{};
    ASSERT_EQ(ibv_query_srq(srq, &queried), 0);
    EXPECT_EQ(queried.srq_limit, 3U);
    EXPECT_EQ(queried.max_wr, 4U);
    EXPECT_EQ(queried.max_sge, 1U);
}

TEST_F(SrqTest, limit_above_the_size_is_einval) {
    ibv_srq* srq = create(4, 1);
    ibv_srq_attr attr{};
    attr.srq_limit = 5;
    EXPECT_EQ(ibv_modify_srq(srq, &attr, IBV_SRQ_LIMIT), EINVAL);
}

TEST_F(SrqTest, resizing_is_eopnotsupp) {
    ibv_srq* srq = create(4, 1);
    ibv_srq_attr attr{};
    attr.max_wr = 8;
    EXPECT_EQ(ibv_modify_srq(srq, &attr, IBV_SRQ_MAX_WR), EOPNOTSUPP);
}

TEST_F(SrqTest, limit_event_names_the_srq) {
    ibv_srq* srq = create(4, 1);
    device_.send_event(VRDMA_EVENT_SRQ_LIMIT_REACHED, reinterpret_cast<std::uintptr_t>(srq));
    ibv_async_event event{};
    ASSERT_EQ(ibv_get_async_event(context_, &event), 0);
    EXPECT_EQ(event.event_type, IBV_EVENT_SRQ_LIMIT_REACHED);
    EXPECT_EQ(event.element.srq, srq);
    ibv_ack_async_event(&event);
    EXPECT_EQ(ibv_destroy_srq(srq), 0);
}

}  // namespace
}  // namespace vrdma::verbs
