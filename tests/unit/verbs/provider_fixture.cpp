#include "tests/unit/verbs/provider_fixture.h"

#include <fcntl.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "verbs/cq.h"
#include "verbs/device.h"
#include "verbs/libibverbs_abi/registration.h"

namespace vrdma::verbs {
namespace {

// More than any test holds, so that libibverbs never frees the device of the fixture.
constexpr int kManyReferences = 1000;

void register_once() {
    static const bool registered = verbs_abi::register_provider({.alloc_device = alloc_device,
                                                                 .uninit_device = uninit_device,
                                                                 .alloc_context = alloc_context,
                                                                 .create_channel = create_channel})
                                       .has_value();
    ASSERT_TRUE(registered);
}

}  // namespace

ProviderTest::ProviderTest() {
    tree_ = device_.directory() + "/vrdma0";
    std::filesystem::create_directory(tree_);
    std::ofstream(tree_ + "/vrdma_socket") << device_.socket_path() << "\n";
    ibdevice_.core_support = verbs_abi::kCoreSupportOptionalMrAccess;
    ibdevice_.refcount = kManyReferences;
    std::strcpy(ibdevice_.device.name, "vrdma0");
    std::strncpy(ibdevice_.device.ibdev_path, tree_.c_str(),
                 sizeof ibdevice_.device.ibdev_path - 1);
}

ProviderTest::~ProviderTest() = default;

void ProviderTest::SetUp() {
    register_once();
    context_ = open();
    ASSERT_NE(context_, nullptr);
    pd_ = ibv_alloc_pd(context_);
    ASSERT_NE(pd_, nullptr);
    cq_ = make_cq();
}

void ProviderTest::TearDown() {
    EXPECT_EQ(device_.complaint(), expected_complaint_);
    close();
}

ibv_context* ProviderTest::open() {
    const int command_fd = ::open("/dev/full", O_RDWR | O_CLOEXEC);
    verbs_abi::VerbsContext* made = alloc_context(&ibdevice_.device, command_fd, nullptr);
    return made == nullptr ? nullptr : verbs_abi::context_of(made);
}

void ProviderTest::close() {
    if (context_ == nullptr) {
        return;
    }
    if (!Context::of(context_).dead()) {
        const auto live = device_.live();
        for (const std::uint64_t cookie : live.qps) {
            EXPECT_EQ(ibv_destroy_qp(reinterpret_cast<ibv_qp*>(cookie)), 0);
        }
        for (const std::uint64_t cookie : live.srqs) {
            EXPECT_EQ(ibv_destroy_srq(reinterpret_cast<ibv_srq*>(cookie)), 0);
        }
        for (const std::uint64_t cookie : live.cqs) {
            EXPECT_EQ(ibv_destroy_cq(reinterpret_cast<ibv_cq*>(cookie)), 0);
        }
        if (pd_ != nullptr) {
            EXPECT_EQ(ibv_dealloc_pd(pd_), 0);
            pd_ = nullptr;
        }
    }
    if (channel_ != nullptr) {
        EXPECT_EQ(ibv_destroy_comp_channel(channel_), 0);
        channel_ = nullptr;
    }
    ibv_close_device(context_);
    context_ = nullptr;
}

ibv_cq* ProviderTest::make_cq(int cqe, ibv_comp_channel* channel) {
    ibv_cq* cq = ibv_create_cq(context_, cqe, nullptr, channel, 0);
    EXPECT_NE(cq, nullptr);
    return cq;
}

ibv_cq_ex* ProviderTest::make_cq_ex(ibv_cq_init_attr_ex attr) {
    if (attr.cqe == 0) {
        attr.cqe = 16;
    }
    ibv_cq_ex* cq = create_cq_ex(context_, &attr);
    if (cq != nullptr) {
        cq->context = context_;
        pthread_mutex_init(&cq->mutex, nullptr);
        pthread_cond_init(&cq->cond, nullptr);
    }
    return cq;
}

ibv_qp* ProviderTest::make_qp(ibv_qp_state state, const QpOptions& options) {
    ibv_qp_init_attr attr{};
    attr.send_cq = cq_;
    attr.recv_cq = cq_;
    attr.srq = options.srq;
    attr.qp_type = options.type;
    attr.sq_sig_all = options.signal_all;
    attr.cap = {.max_send_wr = options.send_wr,
                .max_recv_wr = options.recv_wr,
                .max_send_sge = options.sge,
                .max_recv_sge = options.sge,
                .max_inline_data = options.inline_bytes};
    ibv_qp* qp = ibv_create_qp(pd_, &attr);
    EXPECT_NE(qp, nullptr);
    for (int next = IBV_QPS_INIT; qp != nullptr && next <= state; ++next) {
        EXPECT_EQ(move_to(qp, static_cast<ibv_qp_state>(next)), 0);
    }
    return qp;
}

int ProviderTest::move_to(ibv_qp* qp, ibv_qp_state state) {
    const bool ud = qp->qp_type == IBV_QPT_UD;
    const bool sends = qp->qp_type == IBV_QPT_RC || qp->qp_type == IBV_QPT_XRC_SEND;
    const bool receives = qp->qp_type == IBV_QPT_RC || qp->qp_type == IBV_QPT_XRC_RECV;
    ibv_qp_attr attr{};
    attr.qp_state = state;
    attr.port_num = 1;
    attr.ah_attr.is_global = 1;
    attr.ah_attr.port_num = 1;
    attr.ah_attr.grh.sgid_index = 3;
    attr.path_mtu = IBV_MTU_1024;
    int mask = IBV_QP_STATE;
    if (state == IBV_QPS_INIT) {
        mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT | (ud ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS);
    } else if (state == IBV_QPS_RTR && !ud) {
        mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                (receives ? IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER : 0);
    } else if (state == IBV_QPS_RTS) {
        mask |= IBV_QP_SQ_PSN | (sends || receives ? IBV_QP_TIMEOUT : 0) |
                (sends ? IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC : 0);
    }
    return ibv_modify_qp(qp, &attr, mask);
}

void ProviderTest::complete_send(const ibv_qp* qp, std::uint32_t index, std::uint64_t wr_id) {
    vrdma_cqe cqe{};
    cqe.wr_id = wr_id;
    cqe.qpn = qp->qp_num;
    cqe.opcode = VRDMA_WC_RDMA_WRITE;
    cqe.src_qpn_or_index = index;
    device_.complete(qp->send_cq->handle, cqe);
}

void ProviderTest::complete_receive(const ibv_qp* qp, std::uint64_t wr_id, std::uint8_t flags) {
    vrdma_cqe cqe{};
    cqe.wr_id = wr_id;
    cqe.qpn = qp->qp_num;
    cqe.opcode = VRDMA_WC_RECV;
    cqe.flags = flags;
    device_.complete(qp->recv_cq->handle, cqe);
}

std::vector<ibv_wc> ProviderTest::poll(ibv_cq* cq, int count) {
    std::vector<ibv_wc> completions(static_cast<std::size_t>(count));
    const int found = ibv_poll_cq(cq, count, completions.data());
    EXPECT_GE(found, 0);
    completions.resize(static_cast<std::size_t>(std::max(found, 0)));
    return completions;
}

ibv_send_wr send_request(std::uint64_t wr_id, ibv_wr_opcode opcode, ibv_sge* sge_list, int sges,
                         unsigned flags) {
    ibv_send_wr wr{};
    wr.wr_id = wr_id;
    wr.opcode = opcode;
    wr.sg_list = sge_list;
    wr.num_sge = sges;
    wr.send_flags = flags;
    return wr;
}

}  // namespace vrdma::verbs
