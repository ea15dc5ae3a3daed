// Kept to what a small program of a user would do; everything a fault touches goes through here.
#include "tests/faults/loop.h"

#include <cstdio>
#include <cstring>

namespace vrdma::faults {

using verbs_util::Device;
using verbs_util::QueuePair;

bool failed(const char* name, int error) {
    std::fprintf(stderr, "%s: %s\n", name, std::strerror(error));
    return false;
}

bool Loop::open(bool events) {
    auto device = Device::open({});
    if (!device) {
        std::fprintf(stderr, "no device\n");
        return false;
    }
    device_ = *device;
    pd_ = ibv_alloc_pd(context());
    channel_ = events ? ibv_create_comp_channel(context()) : nullptr;
    cq_ = ibv_create_cq(context(), static_cast<int>(4 * kEntries), nullptr, channel_, 0);
    memory_.resize(kBytes);
    mr_ = pd_ == nullptr ? nullptr
                         : ibv_reg_mr(pd_, memory_.data(), kBytes,
                                      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (cq_ == nullptr || mr_ == nullptr || (events && channel_ == nullptr)) {
        return failed("creating objects", errno);
    }
    verbs_util::QueuePairOptions options;
    options.send_cq = options.recv_cq = cq_;
    options.max_send_wr = options.max_recv_wr = kEntries;
    options.signal_all = true;
    for (int i = 0; i < 2; ++i) {
        auto qp = QueuePair::create(*device_, pd_, options);
        if (!qp) {
            return failed("ibv_create_qp", errno);
        }
        qps_.push_back(std::move(*qp));
    }
    if (!qps_[0].connect(qps_[1].address()) || !qps_[1].connect(qps_[0].address())) {
        return failed("ibv_modify_qp", errno);
    }
    return true;
}

bool Loop::post_write(std::uint64_t wr_id, std::uint32_t bytes) {
    ibv_sge sge{reinterpret_cast<std::uint64_t>(memory_.data()), bytes, mr_->lkey};
    ibv_send_wr wr{};
    wr.wr_id = wr_id;
    wr.sg_list = &sge;
    wr.num_sge = 1;
    wr.opcode = IBV_WR_RDMA_WRITE;
    wr.wr.rdma.remote_addr = sge.addr + kBytes / 2;
    wr.wr.rdma.rkey = mr_->rkey;
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(qps_[0].get(), &wr, &bad);
    return error == 0 || failed("ibv_post_send", error);
}

bool Loop::post_receive(std::uint64_t wr_id) {
    ibv_recv_wr wr{};
    wr.wr_id = wr_id;
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_recv(qps_[1].get(), &wr, &bad);
    return error == 0 || failed("ibv_post_recv", error);
}

bool Loop::verified_write(std::uint32_t round) {
    const std::uint32_t bytes = 1 + round * 7919 % (kBytes / 2);
    std::memset(memory_.data(), static_cast<int>(round % 251 + 1), bytes);
    if (!post_write(round, bytes)) {
        return false;
    }
    ibv_wc completion{};
    int found = 0;
    while ((found = ibv_poll_cq(cq_, 1, &completion)) == 0) {
    }
    if (found < 0 || completion.status != IBV_WC_SUCCESS || completion.wr_id != round) {
        std::fprintf(stderr, "round %u: %s\n", round, ibv_wc_status_str(completion.status));
        return false;
    }
    if (std::memcmp(memory_.data(), memory_.data() + kBytes / 2, bytes) != 0) {
        std::fprintf(stderr, "round %u: wrong bytes\n", round);
        return false;
    }
    return true;
}

bool Loop::close() {
    qps_.clear();
    const int cq = ibv_destroy_cq(cq_);
    const int mr = ibv_dereg_mr(mr_);
    const int pd = ibv_dealloc_pd(pd_);
    const int channel = channel_ == nullptr ? 0 : ibv_destroy_comp_channel(channel_);
    device_.reset();
    if (cq != 0 || mr != 0 || pd != 0 || channel != 0) {
        std::fprintf(stderr, "destroying: cq %d, mr %d, pd %d, channel %d\n", cq, mr, pd, channel);
        return false;
    }
    return true;
}

}  // namespace vrdma::faults
