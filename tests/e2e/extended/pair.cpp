// Both ends are of one process and one vNIC: the service treats them as it treats any two queue
// pairs of one host. A pair is used up by a failure; the next scenario makes a new one.
#include "pair.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "tools/verbs_util/tsc.h"

namespace vrdma::extended {
namespace {

constexpr std::uint64_t kPatienceNs = 20'000'000'000;

}  // namespace

Host::Host(const Options& options) {
    auto device = verbs_util::Device::open(options.device);
    require(device.has_value(), device ? "" : device.error().message());
    device_ = std::move(*device);
    pd = made(ibv_alloc_pd(context()), "ibv_alloc_pd");
    constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                            IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND;
    mr = made(ibv_reg_mr(pd, memory(), kBytes, kAccess), "ibv_reg_mr");
}

Host::~Host() {
    done(ibv_dereg_mr(mr), "ibv_dereg_mr");
    done(ibv_dealloc_pd(pd), "ibv_dealloc_pd");
}

void Host::fill(std::size_t offset, std::size_t length, unsigned seed) {
    for (std::size_t i = 0; i < length; ++i) {
        memory_[offset + i] = static_cast<char>(seed + i * 7 + (i >> 8) * 13);
    }
}

bool Host::same(std::size_t one, std::size_t other, std::size_t length) const {
    return std::memcmp(&memory_[one], &memory_[other], length) == 0;
}

Pair::Pair(Host& host, const PairOptions& options) : host_(host), own_cqs_(options.cq == nullptr) {
    left = create(options);
    right = create(options);
    left_ex = ibv_qp_to_qp_ex(left);
    right_ex = ibv_qp_to_qp_ex(right);
    if (options.connected) {
        connect(left, right);
        connect(right, left);
    }
}

Pair::~Pair() {
    for (ibv_qp* qp : {left, right}) {
        ibv_cq* cq = qp->send_cq;
        done(ibv_destroy_qp(qp), "ibv_destroy_qp");
        if (own_cqs_) {
            done(ibv_destroy_cq(cq), "ibv_destroy_cq");
        }
    }
}

ibv_qp* Pair::create(const PairOptions& options) {
    ibv_cq* cq = options.cq;
    if (cq == nullptr) {
        cq = made(ibv_create_cq(host_.context(), 64, nullptr, nullptr, 0), "ibv_create_cq");
    }
    ibv_qp_init_attr_ex attr{};
    attr.send_cq = cq;
    attr.recv_cq = cq;
    attr.qp_type = options.type;
    attr.cap = {.max_send_wr = 16,
                .max_recv_wr = 16,
                .max_send_sge = 2,
                .max_recv_sge = 2,
                .max_inline_data = 64};
    attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    attr.pd = options.pd != nullptr ? options.pd : host_.pd;
    attr.send_ops_flags = options.operations;
    return made(ibv_create_qp_ex(host_.context(), &attr), "ibv_create_qp_ex");
}

void Pair::connect(ibv_qp* qp, ibv_qp* peer) const {
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_INIT;
    attr.port_num = host_.device().port_number();
    attr.qp_access_flags =
        IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
    done(ibv_modify_qp(qp, &attr,
                       IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
         "modify to INIT");
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_1024;
    attr.dest_qp_num = peer->qp_num;
    attr.max_dest_rd_atomic = 4;
    attr.min_rnr_timer = 1;
    attr.ah_attr.is_global = 1;
    attr.ah_attr.port_num = host_.device().port_number();
    attr.ah_attr.grh.dgid = host_.device().gid();
    attr.ah_attr.grh.sgid_index = host_.device().gid_index();
    attr.ah_attr.grh.hop_limit = 64;
    done(ibv_modify_qp(qp, &attr,
                       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                           IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
         "modify to RTR");
    attr.qp_state = IBV_QPS_RTS;
    attr.timeout = 14;
    attr.retry_cnt = 7;
    attr.rnr_retry = 7;
    attr.max_rd_atomic = 4;
    done(ibv_modify_qp(qp, &attr,
                       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                           IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC),
         "modify to RTS");
}

ibv_wc Pair::next(ibv_qp* of) {
    const std::uint64_t deadline = verbs_util::monotonic_ns() + kPatienceNs;
    ibv_wc found{};
    while (ibv_poll_cq(of->send_cq, 1, &found) == 0) {
        require(verbs_util::monotonic_ns() < deadline, "no completion came");
    }
    return found;
}

void Pair::expect(ibv_qp* of, std::uint64_t wr_id, ibv_wc_status status,
                  const std::source_location& where) {
    const ibv_wc found = next(of);
    require(found.status == status, verbs_util::describe_completion(found), where);
    require_equal(found.wr_id, wr_id, "wr_id", where);
}

int Pair::post(ibv_send_wr wr) {
    wr.send_flags |= IBV_SEND_SIGNALED;
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(left, &wr, &bad);
    require(error == 0 || bad == &wr, "bad_wr does not name the request");
    return error;
}

void Pair::receive(ibv_qp* of, std::uint64_t wr_id, std::size_t offset, std::uint32_t length) {
    ibv_sge part = host_.sge(offset, length);
    ibv_recv_wr wr{};
    wr.wr_id = wr_id;
    wr.sg_list = &part;
    wr.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    done(ibv_post_recv(of, &wr, &bad), "ibv_post_recv");
}

ibv_send_wr request(std::uint64_t wr_id, ibv_wr_opcode opcode, ibv_sge* sge) {
    ibv_send_wr wr{};
    wr.wr_id = wr_id;
    wr.opcode = opcode;
    wr.sg_list = sge;
    wr.num_sge = sge != nullptr ? 1 : 0;
    return wr;
}

}  // namespace vrdma::extended
