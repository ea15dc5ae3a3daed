#include "tests/e2e/last_byte_poll/rig.h"

#include <fmt/format.h>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/registration.h"
#include "tools/verbs_util/tsc.h"

// The set-up of the test: one thread posts a transfer and at once polls the memory it goes to, so
// that it looks while the device copies. Both ends are in this process, with one device context or
// two; both memories are registered at both ends, since a READ takes its data from the other end.

namespace vrdma::last_byte {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::monotonic_ns;
using verbs_util::QueuePair;
using verbs_util::Result;

constexpr std::uint32_t kDepth = 16;
constexpr std::uint64_t kPatienceNs = 10'000'000'000;
constexpr std::uint32_t kWantedInline = 100;

ibv_wr_opcode opcode_of(Path path) {
    if (is_send(path)) {
        return IBV_WR_SEND;
    }
    return path == Path::kRead ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
}

}  // namespace

Result<void> Rig::set_up_end(End& end, std::uint32_t max_inline) {
    auto pd = verbs_util::allocate_pd(*end.device);
    if (!pd) {
        return tl::make_unexpected(pd.error());
    }
    end.pd = std::move(*pd);
    auto source =
        verbs_util::register_memory(*end.device, end.pd.get(), source_.data(), source_.size());
    auto target =
        verbs_util::register_memory(*end.device, end.pd.get(), target_.data(), target_.size());
    if (!source || !target) {
        return tl::make_unexpected(source ? target.error() : source.error());
    }
    end.source = std::move(*source);
    end.target = std::move(*target);
    auto cq = verbs_util::CompletionQueue::create(*end.device, 2 * kDepth, false);
    if (!cq) {
        return tl::make_unexpected(cq.error());
    }
    end.cq = std::move(*cq);
    verbs_util::QueuePairOptions options;
    options.send_cq = end.cq.get();
    options.recv_cq = end.cq.get();
    options.max_send_wr = kDepth;
    options.max_recv_wr = kDepth;
    options.max_inline = max_inline;
    auto qp = QueuePair::create(*end.device, end.pd.get(), options);
    if (!qp) {
        return tl::make_unexpected(qp.error());
    }
    end.qp = std::move(*qp);
    return {};
}

Result<std::unique_ptr<Rig>> Rig::create(const RigOptions& options) {
    std::unique_ptr<Rig> rig(new Rig);
    for (verbs_util::Buffer* buffer : {&rig->source_, &rig->target_}) {
        auto allocated = verbs_util::Buffer::allocate(options.memory, kSlots * kSlotBytes);
        if (!allocated) {
            return tl::make_unexpected(allocated.error());
        }
        *buffer = std::move(*allocated);
    }
    verbs_util::DeviceOptions wanted;
    wanted.name = options.device;
    wanted.gid_index = options.gid_index;
    auto device = verbs_util::Device::open(wanted);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    rig->poster_.device = *device;
    rig->other_.device = *device;
    if (options.separate_contexts || !options.peer_device.empty()) {
        wanted.name = options.peer_device.empty() ? (*device)->name() : options.peer_device;
        auto peer = verbs_util::Device::open(wanted);
        if (!peer) {
            return tl::make_unexpected(peer.error());
        }
        rig->other_.device = std::move(*peer);
    }
    auto done = rig->set_up_end(rig->poster_, kWantedInline);
    if (done) {
        done = rig->set_up_end(rig->other_, 0);
    }
    if (done) {
        done = rig->poster_.qp.connect(rig->other_.qp.address());
    }
    if (done) {
        done = rig->other_.qp.connect(rig->poster_.qp.address());
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return rig;
}

Result<void> Rig::start(Path path, std::byte* from, std::byte* to, std::uint32_t bytes) {
    const auto source = reinterpret_cast<std::uintptr_t>(from);
    const auto target = reinterpret_cast<std::uintptr_t>(to);
    if (is_send(path)) {
        ibv_sge segment{target, bytes, other_.target->lkey};
        ibv_recv_wr request{};
        request.sg_list = &segment;
        request.num_sge = 1;
        ibv_recv_wr* bad = nullptr;
        if (const int rc = ibv_post_recv(other_.qp.get(), &request, &bad); rc != 0) {
            return fail_errno(ErrorKind::kTransfer, "ibv_post_recv", rc);
        }
    }
    const bool read = path == Path::kRead;
    ibv_sge segment{read ? target : source, bytes,
                    read ? poster_.target->lkey : poster_.source->lkey};
    ibv_send_wr request{};
    request.sg_list = &segment;
    request.num_sge = 1;
    request.opcode = opcode_of(path);
    request.send_flags = static_cast<unsigned>(IBV_SEND_SIGNALED) |
                         (is_inline(path) ? static_cast<unsigned>(IBV_SEND_INLINE) : 0U);
    request.wr.rdma.remote_addr = read ? source : target;
    request.wr.rdma.rkey = read ? other_.source->rkey : other_.target->rkey;
    ibv_send_wr* bad = nullptr;
    if (const int rc = ibv_post_send(poster_.qp.get(), &request, &bad); rc != 0) {
        return fail_errno(ErrorKind::kTransfer,
                          fmt::format("ibv_post_send of {} bytes, {}", bytes, path_name(path)), rc);
    }
    return {};
}

Result<void> Rig::wait_one(End& end, const char* what) {
    ibv_wc completion{};
    verbs_util::Spinner spinner;
    const std::uint64_t give_up = monotonic_ns() + kPatienceNs;
    while (ibv_poll_cq(end.cq.get(), 1, &completion) == 0) {
        if (monotonic_ns() > give_up) {
            return fail(ErrorKind::kTransfer, fmt::format("no {} completion for 10 s", what));
        }
        spinner.idle();
    }
    if (completion.status != IBV_WC_SUCCESS) {
        return fail(
            ErrorKind::kTransfer,
            fmt::format("{} completion: {}", what, verbs_util::describe_completion(completion)),
            verbs_util::remedy_for_status(completion.status));
    }
    return {};
}

Result<void> Rig::finish(Path path) {
    auto done = wait_one(poster_, "send");
    return done && is_send(path) ? wait_one(other_, "receive") : done;
}

std::string Rig::device_names() const {
    return poster_.device->name() + " -> " + other_.device->name() +
           (poster_.device == other_.device ? ", one context" : ", two contexts");
}

std::string Rig::promised_order(Path path) const {
    const int answer = ibv_query_qp_data_in_order(poster_.qp.get(), opcode_of(path), 0);
    return answer > 0 ? "in order" : "no promise";
}

}  // namespace vrdma::last_byte
