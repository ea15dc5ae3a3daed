#include "tools/vrdma-perf/send_requests.h"

#include <fmt/format.h>

// Builds the work requests of a workload. Only two addresses, wr_id and flags change from post to
// post, so the loops that are measured write little more than what the device reads. The address
// handle of a UD post depends on the QP and is set when posting.

namespace vrdma::perf {

SendRequests::SendRequests(Endpoint& endpoint, const EndpointDescription& remote,
                           const Workload& workload, std::uint32_t list)
    : endpoint_(endpoint),
      operation_(workload.operation),
      requests_(list),
      segments_(list),
      slots_(workload.layout.slots),
      stride_(workload.layout.stride),
      local_base_(reinterpret_cast<std::uintptr_t>(endpoint.buffer())),
      remote_base_(remote.buffer) {
    const std::uint32_t max_inline = endpoint.options().max_inline;
    const bool send_inline =
        !returns_data(operation_) && max_inline != 0 && workload.size <= max_inline;
    for (std::uint32_t i = 0; i < list; ++i) {
        segments_[i].length = static_cast<std::uint32_t>(workload.size);
        segments_[i].lkey = endpoint.lkey();
        ibv_send_wr& request = requests_[i];
        request.opcode = work_request_opcode(operation_);
        request.sg_list = &segments_[i];
        request.num_sge = workload.size == 0 ? 0 : 1;
        request.send_flags = send_inline ? static_cast<unsigned>(IBV_SEND_INLINE) : 0U;
        if (is_atomic(operation_)) {
            request.wr.atomic.rkey = remote.rkey;
        } else if (operation_ != Operation::kSend) {
            request.wr.rdma.rkey = remote.rkey;
        }
    }
}

void SendRequests::aim(std::uint32_t index, std::uint64_t slot) {
    segments_[index].addr = local_base_ + slot * stride_;
    const std::uint64_t remote = remote_base_ + slot * stride_;
    if (is_atomic(operation_)) {
        requests_[index].wr.atomic.remote_addr = remote;
    } else if (operation_ != Operation::kSend) {
        requests_[index].wr.rdma.remote_addr = remote;
    }
}

verbs_util::Result<void> SendRequests::post(std::uint32_t qp_index, std::uint32_t count) {
    const verbs_util::QueuePair& qp = endpoint_.qp(qp_index);
    for (std::uint32_t i = 0; i < count; ++i) {
        requests_[i].next = i + 1 < count ? &requests_[i + 1] : nullptr;
        if (qp.type() == IBV_QPT_UD) {
            requests_[i].wr.ud.ah = qp.address_handle();
            requests_[i].wr.ud.remote_qpn = qp.remote().qpn;
            requests_[i].wr.ud.remote_qkey = qp.remote().qkey;
        }
    }
    ibv_send_wr* bad = nullptr;
    if (const int rc = ibv_post_send(qp.get(), requests_.data(), &bad); rc != 0) [[unlikely]] {
        return verbs_util::fail_errno(
            verbs_util::ErrorKind::kTransfer,
            fmt::format("ibv_post_send of {} {} of {} bytes on QP {:#x}", count,
                        operation_name(operation_), segments_[0].length, qp.address().qpn),
            rc);
    }
    return {};
}

}  // namespace vrdma::perf
