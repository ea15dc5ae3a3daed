#include "verbs/xrc.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/qp.h"
#include "verbs/srq.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t kXrcdMask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS;

class XrcTest : public ProviderTest {
  protected:
    XrcTest() { device_.features |= VRDMA_FEATURE_XRC; }
    void TearDown() override {
        if (context_ != nullptr && !Context::of(context_).dead()) {
            const auto live = device_.live();
            for (const std::uint64_t cookie : live.qps) {
                EXPECT_EQ(ibv_destroy_qp(reinterpret_cast<ibv_qp*>(cookie)), 0);
            }
            for (const std::uint64_t cookie : live.srqs) {
                EXPECT_EQ(ibv_destroy_srq(reinterpret_cast<ibv_srq*>(cookie)), 0);
            }
            if (xrcd_ != nullptr) {
                EXPECT_EQ(ibv_close_xrcd(xrcd_), 0);
            }
        }
        ProviderTest::TearDown();
    }
    ibv_xrcd* open_domain(int fd = -1, int oflags = O_CREAT, std::uint32_t mask = kXrcdMask) {
        ibv_xrcd_init_attr attr{};
        attr.comp_mask = mask;
        attr.fd = fd;
        attr.oflags = oflags;
        errno = 0;
        return ibv_open_xrcd(context_, &attr);
    }
    void need_domain() {
        xrcd_ = open_domain();
        ASSERT_NE(xrcd_, nullptr);
    }
    [[nodiscard]] ibv_srq_init_attr_ex srq_attr() {
        ibv_srq_init_attr_ex attr{};
        attr.attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0};
        attr.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD | IBV_SRQ_INIT_ATTR_XRCD |
                         IBV_SRQ_INIT_ATTR_CQ;
        attr.srq_type = IBV_SRQT_XRC;
        attr.pd = pd_;
        attr.xrcd = xrcd_;
        attr.cq = cq_;
        attr.srq_context = this;
        return attr;
    }
    [[nodiscard]] int srq_refused(const std::function<void(ibv_srq_init_attr_ex&)>& change) {
        ibv_srq_init_attr_ex attr = srq_attr();
        change(attr);
        errno = 0;
        EXPECT_EQ(ibv_create_srq_ex(context_, &attr), nullptr);
        return errno;
    }
    [[nodiscard]] ibv_qp* make_target() {
        ibv_qp_init_attr_ex attr{};
        attr.qp_type = IBV_QPT_XRC_RECV;
        attr.comp_mask = IBV_QP_INIT_ATTR_XRCD;
        attr.xrcd = xrcd_;
        attr.qp_context = this;
        errno = 0;
        return ibv_create_qp_ex(context_, &attr);
    }
    [[nodiscard]] ibv_qp* open_target(ibv_qp_open_attr attr) {
        errno = 0;
        return ibv_open_qp(context_, &attr);
    }
    [[nodiscard]] ibv_qp_open_attr open_attr(std::uint32_t number) {
        ibv_qp_open_attr attr{};
        attr.comp_mask = IBV_QP_OPEN_ATTR_NUM | IBV_QP_OPEN_ATTR_XRCD | IBV_QP_OPEN_ATTR_TYPE |
                         IBV_QP_OPEN_ATTR_CONTEXT;
        attr.qp_num = number;
        attr.xrcd = xrcd_;
        attr.qp_context = this;
        attr.qp_type = IBV_QPT_XRC_RECV;
        return attr;
    }
    [[nodiscard]] ibv_qp* make_initiator() {
        return make_qp(IBV_QPS_RTS, {.type = IBV_QPT_XRC_SEND, .sge = 2, .inline_bytes = 32});
    }

    ibv_xrcd* xrcd_ = nullptr;
};

class OldServiceTest : public ProviderTest {};

TEST_F(OldServiceTest, xrc_is_eopnotsupp) {
    ibv_xrcd_init_attr domain{.comp_mask = kXrcdMask, .fd = -1, .oflags = O_CREAT};
    EXPECT_EQ(ibv_open_xrcd(context_, &domain), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_qp_init_attr_ex target{};
    target.qp_type = IBV_QPT_XRC_RECV;
    EXPECT_EQ(ibv_create_qp_ex(context_, &target), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_qp_open_attr opened{};
    EXPECT_EQ(ibv_open_qp(context_, &opened), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_device_attr attr{};
    ASSERT_EQ(ibv_query_device(context_, &attr), 0);
    EXPECT_EQ(attr.device_cap_flags & IBV_DEVICE_XRC, 0U);
}

TEST_F(XrcTest, device_says_that_it_can) {
    ibv_device_attr attr{};
    ASSERT_EQ(ibv_query_device(context_, &attr), 0);
    EXPECT_NE(attr.device_cap_flags & IBV_DEVICE_XRC, 0U);
}

TEST_F(XrcTest, domain_without_a_file_is_made) {
    need_domain();
    const auto command = device_.last(VRDMA_CMD_OPEN_XRCD);
    EXPECT_EQ(command.fds, 0U);
    EXPECT_EQ(command.as<vrdma_cmd_open_xrcd>().flags, unsigned{VRDMA_XRCD_CREATE});
    EXPECT_EQ(xrcd_->context, context_);
}

TEST_F(XrcTest, file_goes_to_the_device_with_what_its_flags_say) {
    const int file = ::memfd_create("xrc", MFD_CLOEXEC);
    const struct {
        int oflags;
        std::uint32_t flags;
    } cases[] = {{0, 0},
                 {O_CREAT, VRDMA_XRCD_CREATE},
                 {O_CREAT | O_EXCL, VRDMA_XRCD_CREATE | VRDMA_XRCD_EXCLUSIVE}};
    for (const auto& c : cases) {
        ibv_xrcd* xrcd = open_domain(file, c.oflags);
        ASSERT_NE(xrcd, nullptr);
        const auto command = device_.last(VRDMA_CMD_OPEN_XRCD);
        EXPECT_EQ(command.fds, 1U);
        EXPECT_EQ(command.as<vrdma_cmd_open_xrcd>().flags, c.flags);
        EXPECT_EQ(ibv_close_xrcd(xrcd), 0);
    }
    ::close(file);
}

TEST_F(XrcTest, domain_with_what_cannot_be_is_refused) {
    EXPECT_EQ(open_domain(-1, O_CREAT, IBV_XRCD_INIT_ATTR_FD), nullptr);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(open_domain(-1, O_CREAT, kXrcdMask | 1U << 2U), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(open_domain(1000, O_CREAT), nullptr);
    EXPECT_EQ(errno, EBADF);
}

TEST_F(XrcTest, domain_that_the_device_refuses_fails_with_its_errno) {
    device_.refuse_next(VRDMA_CMD_OPEN_XRCD, VRDMA_STATUS_TRY_AGAIN, "not there yet");
    EXPECT_EQ(open_domain(), nullptr);
    EXPECT_EQ(errno, EAGAIN);
    need_domain();
    device_.refuse_next(VRDMA_CMD_CLOSE_XRCD, VRDMA_STATUS_BUSY, "in use");
    EXPECT_EQ(ibv_close_xrcd(xrcd_), EBUSY);
}

TEST_F(XrcTest, srq_has_a_number_and_what_libibverbs_needs) {
    need_domain();
    ibv_srq_init_attr_ex attr = srq_attr();
    ibv_srq* srq = ibv_create_srq_ex(context_, &attr);
    ASSERT_NE(srq, nullptr);
    const auto request = device_.last(VRDMA_CMD_CREATE_XRC_SRQ).as<vrdma_cmd_create_xrc_srq>();
    EXPECT_EQ(request.cq, cq_->handle);
    EXPECT_EQ(request.srq.pd, pd_->handle);
    EXPECT_EQ(request.srq.cookie, reinterpret_cast<std::uintptr_t>(srq));
    std::uint32_t number = 0;
    EXPECT_EQ(ibv_get_srq_num(srq, &number), 0);
    EXPECT_NE(number, 0U);
    EXPECT_EQ(srq->context, context_);
    EXPECT_EQ(srq->pd, pd_);
    EXPECT_EQ(srq->srq_context, this);
    EXPECT_EQ(attr.attr.max_wr, 4U);
    EXPECT_EQ(ibv_destroy_cq(cq_), EBUSY);
    ibv_recv_wr wr{};
    ibv_recv_wr* bad = nullptr;
    wr.wr_id = 5;
    EXPECT_EQ(ibv_post_srq_recv(srq, &wr, &bad), 0);
    EXPECT_EQ(device_.srq_wqe(srq->handle, 0).wr_id, 5U);
}

TEST_F(XrcTest, ordinary_srq_has_no_number) {
    ibv_srq_init_attr attr{};
    attr.attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0};
    ibv_srq* srq = ibv_create_srq(pd_, &attr);
    ASSERT_NE(srq, nullptr);
    std::uint32_t number = 0;
    EXPECT_EQ(get_srq_num(srq, &number), EOPNOTSUPP);
}

TEST_F(XrcTest, ordinary_srq_can_be_made_the_extended_way) {
    ibv_srq_init_attr_ex attr = srq_attr();
    attr.srq_type = IBV_SRQT_BASIC;
    ibv_srq* srq = create_srq_ex(context_, &attr);
    ASSERT_NE(srq, nullptr);
    EXPECT_EQ(device_.commands(VRDMA_CMD_CREATE_XRC_SRQ).size(), 0U);
    EXPECT_EQ(srq->pd, pd_);
}

TEST_F(XrcTest, srq_without_what_it_needs_is_einval) {
    need_domain();
    EXPECT_EQ(srq_refused([](auto& attr) { attr.xrcd = nullptr; }), EINVAL);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.cq = nullptr; }), EINVAL);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.pd = nullptr; }), EINVAL);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.comp_mask &= ~unsigned{IBV_SRQ_INIT_ATTR_CQ}; }),
              EINVAL);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.comp_mask &= ~unsigned{IBV_SRQ_INIT_ATTR_XRCD}; }),
              EINVAL);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.attr.max_wr = 0; }), EINVAL);
}

TEST_F(XrcTest, srq_of_an_unknown_kind_is_eopnotsupp) {
    need_domain();
    EXPECT_EQ(srq_refused([](auto& attr) { attr.srq_type = IBV_SRQT_TM; }), EOPNOTSUPP);
    EXPECT_EQ(srq_refused([](auto& attr) { attr.comp_mask |= IBV_SRQ_INIT_ATTR_TM; }), EOPNOTSUPP);
}

TEST_F(XrcTest, srq_that_the_device_refuses_fails_with_its_errno) {
    need_domain();
    device_.refuse_next(VRDMA_CMD_CREATE_XRC_SRQ, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_EQ(srq_refused([](auto&) {}), ENOMEM);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    cq_ = nullptr;
}

TEST_F(XrcTest, target_has_no_queues) {
    need_domain();
    ibv_qp* target = make_target();
    ASSERT_NE(target, nullptr);
    EXPECT_EQ(target->qp_type, IBV_QPT_XRC_RECV);
    EXPECT_EQ(target->state, IBV_QPS_RESET);
    EXPECT_EQ(target->qp_context, this);
    EXPECT_NE(target->qp_num, 0U);
    const auto request = device_.last(VRDMA_CMD_CREATE_XRC_TARGET).as<vrdma_cmd_xrc_target>();
    EXPECT_EQ(request.cookie, reinterpret_cast<std::uintptr_t>(target));
    ibv_send_wr send = send_request(1, IBV_WR_SEND);
    ibv_send_wr* bad_send = nullptr;
    EXPECT_EQ(ibv_post_send(target, &send, &bad_send), EINVAL);
    ibv_recv_wr receive{};
    ibv_recv_wr* bad_receive = nullptr;
    EXPECT_NE(ibv_post_recv(target, &receive, &bad_receive), 0);
}

TEST_F(XrcTest, target_without_a_domain_or_with_operations_is_refused) {
    need_domain();
    ibv_qp_init_attr_ex attr{};
    attr.qp_type = IBV_QPT_XRC_RECV;
    EXPECT_EQ(create_qp_ex(context_, &attr), nullptr);
    EXPECT_EQ(errno, EINVAL);
    ibv_qp_init_attr plain{};
    plain.qp_type = IBV_QPT_XRC_RECV;
    EXPECT_EQ(ibv_create_qp(pd_, &plain), nullptr);
    EXPECT_EQ(errno, EINVAL);
    attr.comp_mask = IBV_QP_INIT_ATTR_XRCD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    attr.xrcd = xrcd_;
    EXPECT_EQ(create_qp_ex(context_, &attr), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(XrcTest, target_that_the_device_refuses_fails_with_its_errno) {
    need_domain();
    device_.refuse_next(VRDMA_CMD_CREATE_XRC_TARGET, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_EQ(make_target(), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    device_.refuse_next(VRDMA_CMD_OPEN_XRC_TARGET, VRDMA_STATUS_NOT_FOUND, "nothing");
    EXPECT_EQ(open_target(open_attr(7)), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(XrcTest, target_is_opened_by_its_number) {
    need_domain();
    ibv_qp* same = open_target(open_attr(4321));
    ASSERT_NE(same, nullptr);
    EXPECT_EQ(same->qp_num, 4321U);
    EXPECT_EQ(same->state, IBV_QPS_UNKNOWN);
    EXPECT_EQ(device_.last(VRDMA_CMD_OPEN_XRC_TARGET).as<vrdma_cmd_xrc_target>().qpn, 4321U);
}

TEST_F(XrcTest, open_without_what_it_needs_is_einval) {
    need_domain();
    for (const std::uint32_t missing :
         {IBV_QP_OPEN_ATTR_NUM, IBV_QP_OPEN_ATTR_XRCD, IBV_QP_OPEN_ATTR_TYPE}) {
        ibv_qp_open_attr attr = open_attr(5);
        attr.comp_mask &= ~missing;
        EXPECT_EQ(open_target(attr), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
    ibv_qp_open_attr attr = open_attr(5);
    attr.qp_type = IBV_QPT_RC;
    EXPECT_EQ(open_target(attr), nullptr);
    EXPECT_EQ(errno, EINVAL);
    attr = open_attr(5);
    attr.comp_mask |= 1U << 4U;
    EXPECT_EQ(open_target(attr), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(XrcTest, state_of_a_target_is_asked_for_because_others_change_it) {
    need_domain();
    ibv_qp* target = open_target(open_attr(4321));
    ASSERT_NE(target, nullptr);
    EXPECT_EQ(move_to(target, IBV_QPS_INIT), 0);
    target->state = IBV_QPS_RTS;  // what the library believes does not count
    EXPECT_EQ(move_to(target, IBV_QPS_RTR), 0);
    EXPECT_EQ(move_to(target, IBV_QPS_RTS), 0);
    EXPECT_EQ(move_to(target, IBV_QPS_INIT), EINVAL);
    ibv_qp_attr attr{};
    ibv_qp_init_attr init{};
    EXPECT_EQ(ibv_query_qp(target, &attr, IBV_QP_STATE, &init), 0);
    EXPECT_EQ(attr.qp_state, IBV_QPS_RTS);
    EXPECT_EQ(init.qp_type, IBV_QPT_XRC_RECV);
    EXPECT_EQ(init.send_cq, nullptr);
    device_.refuse_next(VRDMA_CMD_QUERY_QP, VRDMA_STATUS_FATAL, "gone");
    EXPECT_EQ(move_to(target, IBV_QPS_RTS), EIO);
}

TEST_F(XrcTest, attributes_of_the_other_half_are_dropped) {
    need_domain();
    constexpr int kInit = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    constexpr int kRtr = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                         IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
    constexpr int kRts = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                         IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
    ibv_qp_attr attr{};
    attr.port_num = 1;
    attr.path_mtu = IBV_MTU_1024;
    attr.ah_attr.is_global = 1;
    attr.ah_attr.port_num = 1;
    attr.ah_attr.grh.sgid_index = 3;
    ibv_qp* initiator = make_qp(IBV_QPS_RESET, {.type = IBV_QPT_XRC_SEND});
    ibv_qp* target = make_target();
    for (ibv_qp* qp : {initiator, target}) {
        ASSERT_NE(qp, nullptr);
        attr.qp_state = IBV_QPS_INIT;
        EXPECT_EQ(ibv_modify_qp(qp, &attr, kInit), 0);
        attr.qp_state = IBV_QPS_RTR;
        EXPECT_EQ(ibv_modify_qp(qp, &attr, kRtr), 0);
        attr.qp_state = IBV_QPS_RTS;
        EXPECT_EQ(ibv_modify_qp(qp, &attr, kRts), 0);
    }
    EXPECT_EQ(device_.last(VRDMA_CMD_MODIFY_QP).as<vrdma_cmd_modify_qp>().mask,
              std::uint32_t{IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_SQ_PSN});
}

TEST_F(XrcTest, events_of_a_target_arrive) {
    need_domain();
    ibv_qp* target = make_target();
    ASSERT_NE(target, nullptr);
    device_.send_event(VRDMA_EVENT_QP_REQ_ERR, reinterpret_cast<std::uintptr_t>(target));
    ibv_async_event event{};
    ASSERT_EQ(ibv_get_async_event(context_, &event), 0);
    EXPECT_EQ(event.event_type, IBV_EVENT_QP_REQ_ERR);
    EXPECT_EQ(event.element.qp, target);
    ibv_ack_async_event(&event);
}

TEST_F(XrcTest, initiator_has_only_a_send_side) {
    ibv_qp* qp = make_initiator();
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(qp->recv_cq, nullptr);
    const auto request = device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>();
    EXPECT_EQ(request.recv_cq, VRDMA_NO_HANDLE);
    EXPECT_EQ(request.rq_entries, 0U);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

TEST_F(XrcTest, what_an_initiator_does_not_need_stays_with_the_program) {
    ibv_qp_init_attr attr{};
    attr.send_cq = attr.recv_cq = cq_;
    attr.qp_type = IBV_QPT_XRC_SEND;
    attr.cap = {.max_send_wr = 4,
                .max_recv_wr = 4,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = 0};
    ibv_qp* qp = ibv_create_qp(pd_, &attr);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(attr.recv_cq, cq_);
    EXPECT_EQ(attr.cap.max_recv_wr, 0U);
    EXPECT_EQ(qp->recv_cq, nullptr);
}

TEST_F(XrcTest, requests_name_their_srq) {
    ibv_qp* qp = make_initiator();
    ASSERT_NE(qp, nullptr);
    ibv_sge sge{.addr = 1, .length = 8, .lkey = 2};
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE, &sge, 1);
    wr.wr.rdma.remote_addr = 0x99;
    wr.wr.rdma.rkey = 7;
    wr.qp_type.xrc.remote_srqn = 0x123456;
    ibv_send_wr* bad = nullptr;
    ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
    const vrdma_send_wqe& wqe = device_.send_wqe(qp->handle, 0);
    EXPECT_EQ(wqe.xrc.remote_srqn, 0x123456U);
    EXPECT_EQ(wqe.remote_address, 0x99U);
    EXPECT_EQ(reinterpret_cast<const vrdma_sge*>(&wqe + 1)->lkey, 2U);
    wr.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
    wr.wr.atomic = {.remote_addr = 8, .compare_add = 3, .swap = 4, .rkey = 5};
    ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
    const vrdma_send_wqe& atomic = device_.send_wqe(qp->handle, 1);
    EXPECT_EQ(atomic.xrc.remote_srqn, 0x123456U);
    EXPECT_EQ(atomic.atomic.compare_add, 3U);
    EXPECT_EQ(atomic.atomic.swap, 4U);
    EXPECT_EQ(reinterpret_cast<const vrdma_sge*>(&atomic + 1)->length, 8U);
    wr.qp_type.xrc.remote_srqn = 1U << 24U;
    EXPECT_EQ(ibv_post_send(qp, &wr, &bad), EINVAL);
}

TEST_F(XrcTest, windows_are_no_matter_of_an_initiator) {
    ibv_qp* qp = make_initiator();
    ASSERT_NE(qp, nullptr);
    for (const ibv_wr_opcode opcode : {IBV_WR_BIND_MW, IBV_WR_LOCAL_INV, IBV_WR_SEND_WITH_INV}) {
        ibv_send_wr wr = send_request(1, opcode);
        ibv_send_wr* bad = nullptr;
        EXPECT_EQ(ibv_post_send(qp, &wr, &bad), EINVAL);
    }
}

class XrcBuilderTest : public XrcTest {
  protected:
    void use(ibv_qp_type type) {
        ibv_qp_init_attr_ex attr{};
        attr.send_cq = cq_;
        attr.recv_cq = cq_;
        attr.qp_type = type;
        attr.pd = pd_;
        attr.cap = {.max_send_wr = 4,
                    .max_recv_wr = 1,
                    .max_send_sge = 2,
                    .max_recv_sge = 1,
                    .max_inline_data = 32};
        attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
        attr.send_ops_flags = IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD;
        qp_ = create_qp_ex(context_, &attr);
        ASSERT_NE(qp_, nullptr);
        ex_ = ibv_qp_to_qp_ex(qp_);
        for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
            ASSERT_EQ(move_to(qp_, state), 0);
        }
        ibv_wr_start(ex_);
        ex_->wr_flags = IBV_SEND_SIGNALED;
    }
    ibv_qp* qp_ = nullptr;
    ibv_qp_ex* ex_ = nullptr;
};

TEST_F(XrcBuilderTest, requests_name_their_srq) {
    use(IBV_QPT_XRC_SEND);
    ibv_wr_send(ex_);
    ibv_wr_set_xrc_srqn(ex_, 77);
    ibv_wr_set_sge(ex_, 5, 0x1000, 64);
    ibv_wr_atomic_fetch_add(ex_, 8, 0x88, 9);
    ibv_wr_set_xrc_srqn(ex_, 78);
    ibv_wr_set_sge(ex_, 6, 0x2000, 8);
    ASSERT_EQ(ibv_wr_complete(ex_), 0);
    const vrdma_send_wqe& send = device_.send_wqe(qp_->handle, 0);
    EXPECT_EQ(send.xrc.remote_srqn, 77U);
    EXPECT_EQ(reinterpret_cast<const vrdma_sge*>(&send + 1)->lkey, 5U);
    const vrdma_send_wqe& atomic = device_.send_wqe(qp_->handle, 1);
    EXPECT_EQ(atomic.xrc.remote_srqn, 78U);
    EXPECT_EQ(atomic.atomic.compare_add, 9U);
    EXPECT_EQ(reinterpret_cast<const vrdma_sge*>(&atomic + 1)->lkey, 6U);
}

TEST_F(XrcBuilderTest, request_without_an_srq_is_einval) {
    use(IBV_QPT_XRC_SEND);
    ibv_wr_send(ex_);
    ibv_wr_set_sge(ex_, 5, 0x1000, 64);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(XrcBuilderTest, number_beyond_24_bits_is_einval) {
    use(IBV_QPT_XRC_SEND);
    ibv_wr_send(ex_);
    ibv_wr_set_xrc_srqn(ex_, 1U << 24U);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(XrcBuilderTest, srq_of_another_type_of_queue_pair_is_einval) {
    use(IBV_QPT_RC);
    ibv_wr_send(ex_);
    ibv_wr_set_xrc_srqn(ex_, 77);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(XrcTest, completion_of_a_target_of_another_process_is_polled) {
    need_domain();
    vrdma_cqe cqe{};
    cqe.wr_id = 9;
    cqe.qpn = 0x777777;  // no queue pair of this process
    cqe.opcode = VRDMA_WC_RECV;
    cqe.flags = VRDMA_CQE_SRQ;
    device_.complete(cq_->handle, cqe);
    const std::vector<ibv_wc> completions = poll(cq_);
    ASSERT_EQ(completions.size(), 1U);
    EXPECT_EQ(completions[0].qp_num, 0x777777U);
    EXPECT_EQ(completions[0].wr_id, 9U);
}

TEST_F(XrcTest, queue_pair_with_the_number_of_a_former_target_completes_its_own) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    vrdma_cqe cqe{};
    cqe.qpn = qp->qp_num;  // as a target that is gone had it
    cqe.opcode = VRDMA_WC_RECV;
    cqe.flags = VRDMA_CQE_SRQ;
    device_.complete(cq_->handle, cqe);
    EXPECT_EQ(poll(cq_).size(), 1U);
    for (std::uint32_t i = 0; i < 8; ++i) {
        ibv_send_wr wr = send_request(i, IBV_WR_SEND);
        ibv_send_wr* bad = nullptr;
        ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
        complete_send(qp, i);
        EXPECT_EQ(poll(cq_).size(), 1U);
    }
}

}  // namespace
}  // namespace vrdma::verbs
