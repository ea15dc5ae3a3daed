// A check, not a benchmark: half of the time goes to WRITEs of 8 bytes one by one, half to WRITEs
// of 64 KiB with a window of them under way, from and to private memory. vrdma-perf measures with
// care. A completion that does not come at all is reported after a while; the device itself gives
// up on a silent peer long before that.
#include "tools/vrdma-doctor/transfer.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "tools/verbs_util/registration.h"

namespace vrdma::doctor {
namespace {

using Clock = std::chrono::steady_clock;
using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr std::uint32_t kWindow = 16;
constexpr std::uint32_t kShort = 8;
constexpr std::chrono::seconds kPatience{10};

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Result<Endpoint> Endpoint::create(const std::string& name) {
    auto device = verbs_util::Device::open({.name = name, .port = 1, .gid_index = -1});
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    return create_on(*device);
}

Result<Endpoint> Endpoint::beside() const {
    return create_on(device_);
}

Result<Endpoint> Endpoint::create_on(std::shared_ptr<verbs_util::Device> device) {
    Endpoint endpoint;
    endpoint.device_ = std::move(device);
    auto pd = verbs_util::allocate_pd(*endpoint.device_);
    auto buffer = verbs_util::Buffer::allocate(verbs_util::MemoryKind::kMmap, kTransferBytes);
    auto cq = verbs_util::CompletionQueue::create(*endpoint.device_, kWindow, false);
    if (!pd || !buffer || !cq) {
        return tl::make_unexpected(!pd ? pd.error() : !buffer ? buffer.error() : cq.error());
    }
    endpoint.pd_ = std::move(*pd);
    endpoint.buffer_ = std::move(*buffer);
    endpoint.cq_ = std::move(*cq);
    auto mr = verbs_util::register_memory(*endpoint.device_, endpoint.pd_.get(),
                                          endpoint.buffer_.data(), endpoint.buffer_.size());
    verbs_util::QueuePairOptions options;
    options.send_cq = options.recv_cq = endpoint.cq_.get();
    options.max_send_wr = kWindow;
    options.signal_all = true;
    auto qp = verbs_util::QueuePair::create(*endpoint.device_, endpoint.pd_.get(), options);
    if (!mr || !qp) {
        return tl::make_unexpected(!mr ? mr.error() : qp.error());
    }
    endpoint.mr_ = std::move(*mr);
    endpoint.qp_ = std::move(*qp);
    return endpoint;
}

Target Endpoint::target() const {
    return {.address = reinterpret_cast<std::uintptr_t>(buffer_.data()), .rkey = mr_->rkey};
}

Result<void> Endpoint::post(const Target& target, std::uint32_t bytes) {
    ibv_sge piece{.addr = reinterpret_cast<std::uintptr_t>(buffer_.data()),
                  .length = bytes,
                  .lkey = mr_->lkey};
    ibv_send_wr request{};
    request.sg_list = &piece;
    request.num_sge = bytes == 0 ? 0 : 1;
    request.opcode = IBV_WR_RDMA_WRITE;
    request.wr.rdma.remote_addr = target.address;
    request.wr.rdma.rkey = target.rkey;
    ibv_send_wr* refused = nullptr;
    if (const int rc = ibv_post_send(qp_.get(), &request, &refused); rc != 0) {
        return verbs_util::fail_errno(ErrorKind::kTransfer, "ibv_post_send of a WRITE", rc);
    }
    return {};
}

Result<ibv_wc> Endpoint::wait() {
    ibv_wc completion{};
    const auto start = Clock::now();
    for (;;) {
        const int got = ibv_poll_cq(cq_.get(), 1, &completion);
        if (got == 1) {
            return completion;
        }
        if (got < 0) {
            return fail(ErrorKind::kTransfer, "ibv_poll_cq failed", "the device is gone");
        }
        if (Clock::now() - start > kPatience) {
            return fail(ErrorKind::kTransfer, "a WRITE did not complete");
        }
    }
}

Result<void> Endpoint::take() {
    const auto completion = wait();
    if (!completion) {
        return tl::make_unexpected(completion.error());
    }
    if (completion->status != IBV_WC_SUCCESS) {
        return fail(ErrorKind::kTransfer, verbs_util::describe_completion(*completion),
                    verbs_util::remedy_for_status(completion->status));
    }
    return {};
}

Result<double> Endpoint::latency(const Target& target, double seconds) {
    std::vector<double> taken;
    const auto start = Clock::now();
    while (seconds_since(start) < seconds || taken.empty()) {
        const auto posted = Clock::now();
        auto done = post(target, kShort).and_then([this] { return take(); });
        if (!done) {
            return tl::make_unexpected(done.error());
        }
        taken.push_back(seconds_since(posted));
    }
    const auto middle = taken.begin() + static_cast<std::ptrdiff_t>(taken.size() / 2);
    std::nth_element(taken.begin(), middle, taken.end());
    return *middle;
}

Result<double> Endpoint::bandwidth(const Target& target, double seconds) {
    std::uint64_t done = 0;
    std::uint32_t under_way = 0;
    const auto start = Clock::now();
    double lasted = 0;
    for (bool more = true; more || under_way > 0;) {
        while (more && under_way < kWindow) {
            if (auto posted = post(target, kTransferBytes); !posted) {
                return tl::make_unexpected(posted.error());
            }
            ++under_way;
        }
        if (auto taken = take(); !taken) {
            return tl::make_unexpected(taken.error());
        }
        --under_way;
        ++done;
        lasted = seconds_since(start);
        more = lasted < seconds;
    }
    return static_cast<double>(done) * kTransferBytes / lasted;
}

Result<Speed> Endpoint::measure(const Target& target, double seconds) {
    const auto short_ones = latency(target, seconds / 2);
    if (!short_ones) {
        return tl::make_unexpected(short_ones.error());
    }
    const auto bytes = bandwidth(target, seconds / 2);
    if (!bytes) {
        return tl::make_unexpected(bytes.error());
    }
    return Speed{.gigabytes_per_second = *bytes / 1e9, .microseconds = *short_ones * 1e6};
}

Result<std::uint32_t> Endpoint::probe() {
    if (auto posted = post({}, 0); !posted) {
        return tl::make_unexpected(posted.error());
    }
    const auto completion = wait();
    if (!completion) {
        return tl::make_unexpected(completion.error());
    }
    return completion->status == IBV_WC_SUCCESS ? 0 : completion->vendor_err;
}

Transfer transfer_on_own_device(const std::string& device, double seconds) {
    Transfer transfer;
    transfer.tried = true;
    auto here = Endpoint::create(device);
    auto there = here ? here->beside() : Endpoint::create(device);
    if (!here || !there) {
        transfer.problem = (!here ? here : there).error().message();
        return transfer;
    }
    auto connected =
        here->connect(there->address()).and_then([&] { return there->connect(here->address()); });
    if (!connected) {
        transfer.problem = connected.error().message();
        return transfer;
    }
    const auto speed = here->measure(there->target(), seconds);
    if (speed) {
        transfer.speed = *speed;
    } else {
        transfer.problem = speed.error().message();
    }
    return transfer;
}

}  // namespace vrdma::doctor
