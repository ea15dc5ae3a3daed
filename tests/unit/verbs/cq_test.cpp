#include "verbs/cq.h"

#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class CqTest : public ProviderTest {};

TEST_F(CqTest, create_rounds_up_to_a_power_of_two) {
    ibv_cq* cq = make_cq(100);
    EXPECT_EQ(cq->cqe, 128);
    const auto request = device_.last(VRDMA_CMD_CREATE_CQ).as<vrdma_cmd_create_cq>();
    EXPECT_EQ(request.entries, 128U);
    EXPECT_EQ(request.channel, VRDMA_NO_HANDLE);
    EXPECT_EQ(request.cookie, reinterpret_cast<std::uintptr_t>(cq));
    EXPECT_EQ(ibv_destroy_cq(cq), 0);
}

TEST_F(CqTest, create_of_one_entry_and_of_the_maximum_work) {
    EXPECT_EQ(make_cq(1)->cqe, 1);
    EXPECT_EQ(make_cq(65536)->cqe, 65536);
}

TEST_F(CqTest, create_of_an_impossible_size_is_einval) {
    for (const int cqe : {0, -1, 65537}) {
        errno = 0;
        EXPECT_EQ(ibv_create_cq(context_, cqe, nullptr, nullptr, 0), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
}

TEST_F(CqTest, create_on_a_vector_that_does_not_exist_is_einval) {
    for (const int vector : {-1, 2}) {
        errno = 0;
        EXPECT_EQ(ibv_create_cq(context_, 4, nullptr, nullptr, vector), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
    EXPECT_NE(ibv_create_cq(context_, 4, nullptr, nullptr, 1), nullptr);
}

TEST_F(CqTest, create_that_the_device_refuses_gives_the_memory_back) {
    device_.refuse_next(VRDMA_CMD_CREATE_CQ, VRDMA_STATUS_NO_RESOURCE, "quota max_cqs is used up");
    errno = 0;
    EXPECT_EQ(ibv_create_cq(context_, 4, nullptr, nullptr, 0), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    const auto refused = device_.last(VRDMA_CMD_CREATE_CQ).as<vrdma_cmd_create_cq>();
    [[maybe_unused]] ibv_cq* next = make_cq(4);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_CQ).as<vrdma_cmd_create_cq>().memory.offset,
              refused.memory.offset);
}

TEST_F(CqTest, destroy_with_queue_pairs_is_ebusy) {
    ibv_qp* qp = make_qp(IBV_QPS_RESET);
    EXPECT_EQ(ibv_destroy_cq(cq_), EBUSY);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
}

TEST_F(CqTest, arm_stores_a_new_value_each_time) {
    auto& header = device_.cq_header(cq_->handle);
    EXPECT_EQ(ibv_req_notify_cq(cq_, 1), 0);
    EXPECT_EQ(header.arm, 1U << VRDMA_ARM_COUNT_SHIFT | VRDMA_ARM_SOLICITED);
    EXPECT_EQ(ibv_req_notify_cq(cq_, 0), 0);
    EXPECT_EQ(header.arm, 2U << VRDMA_ARM_COUNT_SHIFT | VRDMA_ARM_NEXT);
}

TEST_F(CqTest, arm_for_solicited_does_not_weaken_a_pending_next) {
    auto& header = device_.cq_header(cq_->handle);
    ibv_req_notify_cq(cq_, 0);
    ibv_req_notify_cq(cq_, 1);
    EXPECT_EQ(header.arm & VRDMA_ARM_TYPE_MASK, unsigned{VRDMA_ARM_NEXT});
    cq_event(cq_);  // the program got its event
    ibv_ack_cq_events(cq_, 1);
    ibv_req_notify_cq(cq_, 1);
    EXPECT_EQ(header.arm & VRDMA_ARM_TYPE_MASK, unsigned{VRDMA_ARM_SOLICITED});
}

TEST_F(CqTest, resize_keeps_unread_completions) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    for (std::uint64_t id = 1; id <= 3; ++id) {
        complete_send(qp, static_cast<std::uint32_t>(id - 1), id);
    }
    EXPECT_EQ(poll(cq_, 1)[0].wr_id, 1U);
    ASSERT_EQ(ibv_resize_cq(cq_, 200), 0);
    EXPECT_EQ(cq_->cqe, 256);
    complete_send(qp, 3, 4);
    const auto rest = poll(cq_);
    ASSERT_EQ(rest.size(), 3U);
    EXPECT_EQ(rest[0].wr_id, 2U);
    EXPECT_EQ(rest[2].wr_id, 4U);
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 4U);
}

TEST_F(CqTest, resize_keeps_the_arming) {
    ibv_req_notify_cq(cq_, 0);
    const std::uint32_t arm = device_.cq_header(cq_->handle).arm;
    ASSERT_EQ(ibv_resize_cq(cq_, 64), 0);
    EXPECT_EQ(device_.cq_header(cq_->handle).arm, arm);
}

TEST_F(CqTest, resize_below_the_unread_completions_changes_nothing) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    complete_send(qp, 0, 1);
    complete_send(qp, 1, 2);
    EXPECT_EQ(ibv_resize_cq(cq_, 1), EINVAL);
    EXPECT_EQ(cq_->cqe, 16);
    EXPECT_EQ(poll(cq_).size(), 2U);
}

TEST_F(CqTest, resize_to_an_impossible_size_is_einval) {
    EXPECT_EQ(ibv_resize_cq(cq_, 0), EINVAL);
    EXPECT_EQ(ibv_resize_cq(cq_, 65537), EINVAL);
}

class CreateCqExTest : public ProviderTest {
  protected:
    ibv_cq_ex* create(const ibv_cq_init_attr_ex& attr) {
        ibv_cq_ex* cq = make_cq_ex(attr);
        error_ = errno;
        return cq;
    }
    int error_ = 0;
};

TEST_F(CreateCqExTest, create_with_the_standard_flags_works) {
    ibv_cq_init_attr_ex attr{};
    attr.wc_flags = IBV_WC_STANDARD_FLAGS;
    EXPECT_NE(create(attr), nullptr);
}

TEST_F(CreateCqExTest, create_with_a_wc_flag_of_other_hardware_is_eopnotsupp) {
    ibv_cq_init_attr_ex attr{};
    attr.wc_flags = IBV_WC_EX_WITH_CVLAN;
    EXPECT_EQ(create(attr), nullptr);
    EXPECT_EQ(error_, EOPNOTSUPP);
}

TEST_F(CreateCqExTest, create_with_an_unknown_comp_mask_is_eopnotsupp) {
    ibv_cq_init_attr_ex attr{};
    attr.comp_mask = 4;
    EXPECT_EQ(create(attr), nullptr);
    EXPECT_EQ(error_, EOPNOTSUPP);
}

TEST_F(CreateCqExTest, create_with_overrun_ignored_is_eopnotsupp) {
    ibv_cq_init_attr_ex attr{};
    attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS;
    attr.flags = IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
    EXPECT_EQ(create(attr), nullptr);
    EXPECT_EQ(error_, EOPNOTSUPP);
}

TEST_F(CreateCqExTest, flags_without_their_mask_bit_do_not_count) {
    ibv_cq_init_attr_ex attr{};
    attr.flags = IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
    EXPECT_NE(create(attr), nullptr);
}

}  // namespace
}  // namespace vrdma::verbs
