#include "tests/e2e/fault_client/transfer_loop.h"

#include <fmt/format.h>

#include <array>

#include "tools/verbs_util/device.h"

// The traffic of a fault test. Every QP has `window` requests outstanding, so a fault always meets
// some; a completed request is replaced by the next one at once. A QP that fails is left alone: its
// other requests are flushed, and the first status is what the test wants to know. Posting on a QP
// that has failed without our knowledge may be refused; that is not an error of the test either,
// its completions tell.

namespace vrdma::fault {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr int kPollBatch = 64;
constexpr std::uint64_t kReceiveBit = std::uint64_t{1} << 63;

ibv_wr_opcode opcode_for(Transfer transfer, std::uint64_t number) {
    switch (transfer) {
        case Transfer::kWrite:
            return IBV_WR_RDMA_WRITE;
        case Transfer::kRead:
            return IBV_WR_RDMA_READ;
        case Transfer::kSend:
            return IBV_WR_SEND;
        case Transfer::kMixed:
            break;
    }
    constexpr std::array kMix = {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_SEND};
    return kMix[number % kMix.size()];
}

}  // namespace

TransferLoop::TransferLoop(Link& link, Transfer transfer, bool sending)
    : link_(link), transfer_(transfer), sending_(sending), states_(link.options().qps) {}

Result<void> TransferLoop::post_receive(std::uint32_t qp) {
    const ibv_mr& region = link_.region(qp % link_.options().mrs);
    ibv_sge segment{
        reinterpret_cast<std::uintptr_t>(region.addr) + link_.offset_of(Link::Part::kReceive),
        link_.options().size, region.lkey};
    ibv_recv_wr request{};
    request.wr_id = kReceiveBit | qp;
    request.sg_list = &segment;
    request.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    if (const int rc = ibv_post_recv(link_.qp(qp).get(), &request, &bad); rc != 0) {
        return verbs_util::fail_errno(ErrorKind::kTransfer,
                                      fmt::format("ibv_post_recv on QP {}", qp), rc);
    }
    return {};
}

Result<void> TransferLoop::start() {
    for (std::uint32_t qp = 0; qp < link_.options().qps; ++qp) {
        for (std::uint32_t i = 0; i < link_.options().window; ++i) {
            if (auto posted = post_receive(qp); !posted) {
                return posted;
            }
        }
    }
    return {};
}

Result<void> TransferLoop::post_request(std::uint32_t qp) {
    State& state = states_[qp];
    const ibv_mr& region = link_.region(qp % link_.options().mrs);
    const RemoteRegion& remote = link_.remote(qp % link_.options().mrs);
    ibv_sge segment{
        reinterpret_cast<std::uintptr_t>(region.addr) + link_.offset_of(Link::Part::kSource),
        link_.options().size, region.lkey};
    ibv_send_wr request{};
    request.wr_id = qp;
    request.sg_list = &segment;
    request.num_sge = 1;
    request.opcode = opcode_for(transfer_, state.posted);
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = remote.address + link_.offset_of(Link::Part::kShared);
    request.wr.rdma.rkey = remote.rkey;
    ibv_send_wr* bad = nullptr;
    if (const int rc = ibv_post_send(link_.qp(qp).get(), &request, &bad); rc != 0) {
        return verbs_util::fail_errno(ErrorKind::kTransfer,
                                      fmt::format("ibv_post_send on QP {}", qp), rc);
    }
    ++state.posted;
    ++state.outstanding;
    return {};
}

Result<void> TransferLoop::fill(std::uint32_t qp) {
    State& state = states_[qp];
    while (sending_ && !state.failed && state.outstanding < link_.options().window) {
        if (auto posted = post_request(qp); !posted) {
            // Refused on a broken QP or device: nothing was sent, completions or events will tell.
            return state.outstanding == 0 && state.posted == 0 ? posted : Result<void>{};
        }
    }
    return {};
}

Result<void> TransferLoop::take(const ibv_wc& completion,
                                const std::function<void(const QueueError&)>& on_error) {
    const bool receive = (completion.wr_id & kReceiveBit) != 0;
    const auto qp = static_cast<std::uint32_t>(completion.wr_id);
    if (qp >= states_.size() || link_.index_of(completion.qp_num) != qp) {
        return fail(ErrorKind::kVerification, "completion of an unknown request: " +
                                                  verbs_util::describe_completion(completion));
    }
    State& state = states_[qp];
    if (!receive) {
        --state.outstanding;
    }
    if (completion.status != IBV_WC_SUCCESS) {
        if (!state.failed) {
            state.failed = true;
            ++failed_;
            on_error({qp, completion.qp_num, completion.status, receive});
        }
        return {};
    }
    if (receive) {
        // Refused when the QP has failed meanwhile: its flushed receives will tell.
        (void)post_receive(qp);
        return {};
    }
    ++completed_;
    if (!state.proven) {
        state.proven = true;
        ++proven_;
    }
    return fill(qp);
}

Result<bool> TransferLoop::turn(const std::function<void(const QueueError&)>& on_error) {
    if (!filled_) {
        filled_ = true;
        for (std::uint32_t qp = 0; qp < link_.options().qps; ++qp) {
            if (auto done = fill(qp); !done) {
                return tl::make_unexpected(done.error());
            }
        }
    }
    bool moved = false;
    std::array<ibv_wc, kPollBatch> completions;
    for (auto& cq : link_.cqs()) {
        const int count = ibv_poll_cq(cq.get(), kPollBatch, completions.data());
        if (count < 0) {
            return fail(ErrorKind::kTransfer, "ibv_poll_cq failed");
        }
        for (int i = 0; i < count; ++i) {
            if (auto taken = take(completions[static_cast<std::size_t>(i)], on_error); !taken) {
                return tl::make_unexpected(taken.error());
            }
        }
        moved = moved || count > 0;
    }
    return moved;
}

}  // namespace vrdma::fault
