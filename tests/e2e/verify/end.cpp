#include "tests/e2e/verify/end.h"

#include <algorithm>
#include <array>

#include "tools/verbs_util/registration.h"

// Creates what an epoch plan asks for. The arena is registered several times over, because
// overlapping registrations of the same memory are legal and easy to get wrong. How much a device
// takes inline is not among its attributes; it is found by asking for less until a queue pair can
// be created.

namespace vrdma::verify {

namespace {

using verbs_util::CompletionQueue;
using verbs_util::Device;
using verbs_util::ErrorKind;
using verbs_util::QueuePair;
using verbs_util::QueuePairOptions;
using verbs_util::Result;

Result<std::uint32_t> find_max_inline(const Device& device) {
    auto pd = verbs_util::allocate_pd(device);
    if (!pd) {
        return tl::make_unexpected(pd.error());
    }
    auto cq = CompletionQueue::create(device, 1, false);
    if (!cq) {
        return tl::make_unexpected(cq.error());
    }
    for (const std::uint32_t bytes : {512U, 256U, 220U, 128U, 64U, 32U}) {
        QueuePairOptions options;
        options.send_cq = cq->get();
        options.recv_cq = cq->get();
        options.max_inline = bytes;
        if (QueuePair::create(device, pd->get(), options)) {
            return bytes;
        }
    }
    return 0U;
}

}  // namespace

Result<Limits> limits_of(const Device& device, const Limits& wanted) {
    Limits limits = wanted;
    const ibv_device_attr& attributes = device.attributes();
    limits.max_segments =
        std::min(limits.max_segments, static_cast<std::uint32_t>(std::max(attributes.max_sge, 1)));
    limits.max_queue_pairs = std::min(limits.max_queue_pairs,
                                      static_cast<std::uint32_t>(std::max(attributes.max_qp, 1)));
    limits.mtu_bytes = device.mtu_bytes();
    limits.atomics = limits.atomics && attributes.atomic_cap != IBV_ATOMIC_NONE;
    if (attributes.max_srq == 0) {
        limits.shared_receive = Wish::kNever;
    } else {
        limits.max_segments = std::min(
            limits.max_segments, static_cast<std::uint32_t>(std::max(attributes.max_srq_sge, 1)));
    }
    if (limits.max_inline != 0) {
        const auto found = find_max_inline(device);
        if (!found) {
            return tl::make_unexpected(found.error());
        }
        limits.max_inline = std::min(limits.max_inline, *found);
    }
    return limits;
}

Limits common_limits(const Limits& a, const Limits& b) {
    Limits limits = a;
    limits.max_segments = std::min(a.max_segments, b.max_segments);
    limits.max_queue_pairs = std::min(a.max_queue_pairs, b.max_queue_pairs);
    limits.mtu_bytes = std::min(a.mtu_bytes, b.mtu_bytes);
    limits.max_inline = std::min(a.max_inline, b.max_inline);
    limits.atomics = a.atomics && b.atomics;
    if (b.shared_receive == Wish::kNever) {
        limits.shared_receive = Wish::kNever;
    }
    return limits;
}

Result<std::unique_ptr<End>> End::create(std::shared_ptr<Device> device, const EpochPlan& epoch,
                                         unsigned side) {
    std::unique_ptr<End> end(new End);
    end->device_ = std::move(device);
    auto done = end->create_memory(epoch.sides[side]);
    if (done) {
        done = end->create_queues(epoch, side);
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return end;
}

Result<void> End::create_memory(const SidePlan& plan) {
    auto arena = verbs_util::Buffer::allocate(plan.memory, kArenaBytes);
    if (!arena) {
        return tl::make_unexpected(arena.error());
    }
    arena_ = std::move(*arena);
    auto pd = verbs_util::allocate_pd(*device_);
    if (!pd) {
        return tl::make_unexpected(pd.error());
    }
    pd_ = std::move(*pd);
    for (unsigned i = 0; i < plan.regions; ++i) {
        auto region = verbs_util::register_memory(*device_, pd_.get(), arena_.data(), kArenaBytes);
        if (!region) {
            return tl::make_unexpected(region.error());
        }
        regions_.push_back(std::move(*region));
    }
    return {};
}

Result<void> End::create_queues(const EpochPlan& epoch, unsigned side) {
    const SidePlan& plan = epoch.sides[side];
    const auto queue_count = static_cast<std::uint32_t>(epoch.queues.size());
    for (unsigned i = 0; i < plan.completion_queues; ++i) {
        auto cq = CompletionQueue::create(*device_, kCompletionDepth, plan.events);
        if (!cq) {
            return tl::make_unexpected(cq.error());
        }
        cqs_.push_back(std::move(*cq));
    }
    const bool shared =
        std::any_of(epoch.queues.begin(), epoch.queues.end(),
                    [side](const QueuePlan& queue) { return queue.sides[side].shared_receive; });
    if (shared) {
        ibv_srq_init_attr attributes{};
        attributes.attr.max_wr = kQueueDepth;
        attributes.attr.max_sge = plan.shared_segments;
        errno = 0;
        srq_.reset(ibv_create_srq(pd_.get(), &attributes));
        if (!srq_) {
            return verbs_util::fail_errno(ErrorKind::kSetup, "ibv_create_srq on " + device_->name(),
                                          errno);
        }
    }
    queues_.reserve(queue_count);
    for (const QueuePlan& queue : epoch.queues) {
        const QueueSide& mine = queue.sides[side];
        QueuePairOptions options;
        options.type = queue.type;
        options.send_cq = cqs_[mine.send_cq].get();
        options.recv_cq = cqs_[mine.recv_cq].get();
        options.srq = mine.shared_receive ? srq_.get() : nullptr;
        options.max_send_wr = kQueueDepth;
        options.max_recv_wr = kQueueDepth;
        options.max_send_sge = mine.send_segments;
        options.max_recv_sge = mine.recv_segments;
        options.max_inline = mine.max_inline;
        options.signal_all = mine.signal_all;
        auto made = QueuePair::create(*device_, pd_.get(), options);
        if (!made) {
            return tl::make_unexpected(made.error());
        }
        queues_.push_back(std::move(*made));
    }
    return {};
}

void End::publish(SideBlock& block) const {
    block.arena = reinterpret_cast<std::uintptr_t>(arena_.data());
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        block.rkeys[i] = regions_[i]->rkey;
    }
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        block.addresses[i] = queues_[i].address();
    }
}

Result<void> End::connect(const SideBlock& other) {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        if (auto done = queues_[i].connect(other.addresses[i]); !done) {
            return done;
        }
    }
    return {};
}

}  // namespace vrdma::verify
