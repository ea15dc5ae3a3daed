// Parent domains and thread domains.
#include "verbs/pd.h"

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/cq.h"
#include "verbs/qp.h"
#include "verbs/srq.h"

namespace vrdma::verbs {
namespace {

class ParentDomainTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        ibv_td_init_attr attr{};
        td_ = alloc_td(context_, &attr);
        ASSERT_NE(td_, nullptr);
        parent_ = make(pd_, td_);
        ASSERT_NE(parent_, nullptr);
    }
    void TearDown() override {
        EXPECT_EQ(ibv_dealloc_pd(parent_), 0);
        EXPECT_EQ(dealloc_td(td_), 0);
        ProviderTest::TearDown();
    }
    ibv_pd* make(ibv_pd* pd, ibv_td* td, std::uint32_t comp_mask = 0) {
        ibv_parent_domain_init_attr attr{};
        attr.pd = pd;
        attr.td = td;
        attr.comp_mask = comp_mask;
        errno = 0;
        return alloc_parent_domain(context_, &attr);
    }
    ibv_qp* qp_in(ibv_pd* pd, ibv_cq* cq, ibv_srq* srq = nullptr) {
        ibv_qp_init_attr attr{};
        attr.send_cq = cq;
        attr.recv_cq = cq;
        attr.srq = srq;
        attr.qp_type = IBV_QPT_RC;
        attr.cap = {.max_send_wr = 4,
                    .max_recv_wr = 4,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
        return create_qp(pd, &attr);
    }
    ibv_td* td_ = nullptr;
    ibv_pd* parent_ = nullptr;
};

TEST_F(ParentDomainTest, objects_belong_to_the_protection_domain_at_the_device) {
    ibv_qp* qp = qp_in(parent_, cq_);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(qp->pd, parent_);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>().pd, pd_->handle);
    EXPECT_EQ(device_.commands(VRDMA_CMD_ALLOC_PD).size(), 1U);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

// The fast path: nobody ever holds the lock.
TEST_F(ParentDomainTest, queues_of_a_thread_domain_take_no_lock) {
    ibv_qp* qp = qp_in(parent_, cq_);
    ibv_qp* shared = qp_in(pd_, cq_);
    Qp::of(qp)->sq.lock.lock();
    Qp::of(qp)->sq.lock.lock();  // would wait for ever
    Qp::of(qp)->rq.lock.lock();
    Qp::of(qp)->rq.lock.lock();
    EXPECT_FALSE(Qp::of(shared)->sq.lock.single_threaded());
    EXPECT_FALSE(Qp::of(shared)->rq.lock.single_threaded());
    ibv_srq_init_attr attr{.srq_context = nullptr,
                           .attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0}};
    ibv_srq* srq = ibv_create_srq(parent_, &attr);
    ASSERT_NE(srq, nullptr);
    EXPECT_TRUE(Srq::of(srq)->lock.single_threaded());
    ibv_cq_init_attr_ex cq_attr{};
    cq_attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_PD;
    cq_attr.parent_domain = parent_;
    ibv_cq_ex* cq = make_cq_ex(cq_attr);
    ASSERT_NE(cq, nullptr);
    EXPECT_TRUE(Cq::of(cq)->single_threaded);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    EXPECT_EQ(ibv_destroy_qp(shared), 0);
    EXPECT_EQ(ibv_destroy_srq(srq), 0);
    EXPECT_EQ(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
}

TEST_F(ParentDomainTest, queues_without_a_thread_domain_keep_their_lock) {
    ibv_pd* plain = make(pd_, nullptr);
    ASSERT_NE(plain, nullptr);
    ibv_cq_init_attr_ex attr{};
    attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_PD;
    attr.parent_domain = plain;
    ibv_cq_ex* cq = make_cq_ex(attr);
    ASSERT_NE(cq, nullptr);
    EXPECT_FALSE(Cq::of(cq)->single_threaded);
    EXPECT_EQ(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
    EXPECT_EQ(ibv_dealloc_pd(plain), 0);
}

TEST_F(ParentDomainTest, domains_in_use_are_ebusy) {
    EXPECT_EQ(ibv_dealloc_pd(pd_), EBUSY);
    EXPECT_EQ(dealloc_td(td_), EBUSY);
    ibv_qp* qp = qp_in(parent_, cq_);
    EXPECT_EQ(ibv_dealloc_pd(parent_), EBUSY);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    ibv_srq_init_attr srq_attr{.srq_context = nullptr,
                               .attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0}};
    ibv_srq* srq = ibv_create_srq(parent_, &srq_attr);
    EXPECT_EQ(ibv_dealloc_pd(parent_), EBUSY);
    EXPECT_EQ(ibv_destroy_srq(srq), 0);
    ibv_cq_init_attr_ex cq_attr{};
    cq_attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_PD;
    cq_attr.parent_domain = parent_;
    ibv_cq_ex* cq = make_cq_ex(cq_attr);
    EXPECT_EQ(ibv_dealloc_pd(parent_), EBUSY);
    EXPECT_EQ(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), 0);
}

TEST_F(ParentDomainTest, parent_domain_without_a_protection_domain_is_einval) {
    EXPECT_EQ(make(nullptr, td_), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(make(parent_, td_), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(ParentDomainTest, thread_domain_of_another_context_is_einval) {
    Td foreign;
    EXPECT_EQ(make(pd_, &foreign.base), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(ParentDomainTest, unknown_comp_mask_is_einval) {
    EXPECT_EQ(make(pd_, td_, 4), nullptr);
    EXPECT_EQ(errno, EINVAL);
    ibv_td_init_attr attr{.comp_mask = 1};
    errno = 0;
    EXPECT_EQ(alloc_td(context_, &attr), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(ParentDomainTest, allocators_of_the_program_are_eopnotsupp) {
    EXPECT_EQ(make(pd_, td_, IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_pd* with_context = make(pd_, td_, IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT);
    ASSERT_NE(with_context, nullptr);
    EXPECT_EQ(ibv_dealloc_pd(with_context), 0);
}

TEST_F(ParentDomainTest, completion_queue_in_no_parent_domain_is_einval) {
    ibv_cq_init_attr_ex attr{};
    attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_PD;
    for (ibv_pd* pd : {static_cast<ibv_pd*>(nullptr), pd_}) {
        attr.parent_domain = pd;
        errno = 0;
        EXPECT_EQ(make_cq_ex(attr), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
}

}  // namespace
}  // namespace vrdma::verbs
