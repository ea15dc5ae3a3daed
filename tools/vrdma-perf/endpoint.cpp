#include "tools/vrdma-perf/endpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/verbs_util/registration.h"

// Builds one end. All QPs share one send CQ and one receive CQ, so that polling costs the same
// however many QPs there are and the measurement shows the device. QPs beyond the active ones are
// created and connected like the others but with short queues: they exist to be idle.

namespace vrdma::perf {

namespace {
constexpr std::uint32_t kIdleDepth = 4;
}

using verbs_util::CompletionQueue;
using verbs_util::ErrorKind;
using verbs_util::QueuePair;
using verbs_util::Result;

Result<std::unique_ptr<Endpoint>> Endpoint::create(std::shared_ptr<verbs_util::Device> device,
                                                   const EndpointOptions& options) {
    std::unique_ptr<Endpoint> endpoint(new Endpoint);
    endpoint->options_ = options;
    endpoint->device_ = std::move(device);
    auto buffer = verbs_util::Buffer::allocate(options.memory, options.buffer_bytes);
    if (!buffer) {
        return tl::make_unexpected(buffer.error());
    }
    endpoint->buffer_ = std::move(*buffer);
    auto pd = verbs_util::allocate_pd(*endpoint->device_);
    if (!pd) {
        return tl::make_unexpected(pd.error());
    }
    endpoint->pd_ = std::move(*pd);
    auto mr = verbs_util::register_memory(*endpoint->device_, endpoint->pd_.get(),
                                          endpoint->buffer_.data(), options.buffer_bytes);
    if (!mr) {
        return tl::make_unexpected(mr.error());
    }
    endpoint->mr_ = std::move(*mr);
    if (auto made = endpoint->create_queues(); !made) {
        return tl::make_unexpected(made.error());
    }
    return endpoint;
}

Result<void> Endpoint::create_queues() {
    const std::uint32_t active = std::min(options_.active, options_.qps);
    auto send_cq =
        CompletionQueue::create(*device_, active * options_.send_depth + 1, options_.events);
    if (!send_cq) {
        return tl::make_unexpected(send_cq.error());
    }
    send_cq_ = std::move(*send_cq);
    auto recv_cq =
        CompletionQueue::create(*device_, active * options_.recv_depth + 1, options_.events);
    if (!recv_cq) {
        return tl::make_unexpected(recv_cq.error());
    }
    recv_cq_ = std::move(*recv_cq);
    qps_.reserve(options_.qps);
    for (std::uint32_t i = 0; i < options_.qps; ++i) {
        verbs_util::QueuePairOptions qp;
        qp.type = options_.transport;
        qp.send_cq = send_cq_.get();
        qp.recv_cq = recv_cq_.get();
        qp.max_send_wr = i < active ? options_.send_depth : kIdleDepth;
        qp.max_recv_wr = i < active ? options_.recv_depth : kIdleDepth;
        qp.max_inline = options_.max_inline;
        auto made = QueuePair::create(*device_, pd_.get(), qp);
        if (!made) {
            auto error = made.error();
            error.what += fmt::format(" (queue pair {} of {})", i + 1, options_.qps);
            return tl::make_unexpected(std::move(error));
        }
        qps_.push_back(std::move(*made));
    }
    return {};
}

Result<void> Endpoint::connect(const EndpointDescription& remote) {
    if (remote.addresses.size() != qps_.size()) {
        return verbs_util::fail(ErrorKind::kPartner,
                                fmt::format("the other side has {} queue pairs, expected {}",
                                            remote.addresses.size(), qps_.size()),
                                "run the same version on both sides");
    }
    for (std::size_t i = 0; i < qps_.size(); ++i) {
        if (auto done = qps_[i].connect(remote.addresses[i]); !done) {
            return done;
        }
    }
    return {};
}

EndpointDescription Endpoint::describe() const {
    EndpointDescription description;
    description.addresses.reserve(qps_.size());
    for (const QueuePair& qp : qps_) {
        description.addresses.push_back(qp.address());
    }
    description.buffer = reinterpret_cast<std::uintptr_t>(buffer_.data());
    description.buffer_bytes = options_.buffer_bytes;
    description.rkey = mr_->rkey;
    description.mtu_bytes = device_->mtu_bytes();
    return description;
}

}  // namespace vrdma::perf
