// Flow control. A message takes a buffer here and one at the partner. It is free again when its
// send is known to be complete, which every eighth says for all before it, and the partner has
// returned it, which it does for eight at once in the immediate data of an empty SEND. So nothing
// is ever sent that finds no receive, and the queue pair does not retry. Receives are posted for
// the credits too, which are not themselves counted; they wait for one of theirs to complete
// instead.
//
// RDMA goes out in lists, the last request of each signaled; its completion stands for all of them.
//
// With `solicited`, a receiver is woken by the last message of a burst only: the last that is there
// to be sent, or the last for which there is a buffer, for then only the partner's answer goes on.
#include "tests/interop/storage_socket/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tools/verbs_util/device.h"

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

constexpr int kPollBatch = 16;

// The upper byte of a wr_id.
enum class What : std::uint8_t { kSend, kReceive, kCredit, kRdma, kRdmaLast, kClose, kCheck };
constexpr unsigned kWhatShift = 56;

std::uint64_t wr_id(What what, std::uint64_t value = 0) {
    return std::uint64_t{static_cast<std::uint8_t>(what)} << kWhatShift | value;
}
What what_of(std::uint64_t id) {
    return static_cast<What>(id >> kWhatShift);
}
std::uint64_t value_of(std::uint64_t id) {
    return id & ((std::uint64_t{1} << kWhatShift) - 1);
}

// Immediate data: a credit's count, or that the partner closes.
constexpr std::uint32_t kCloses = 1U << 24;

bool is_receive(const ibv_wc& completion) {
    return what_of(completion.wr_id) == What::kReceive;
}

}  // namespace

Result<void> Socket::accept(const PeerAddress& peer) {
    state_ = State::kAccepted;
    return to_receive(peer);
}

Result<void> Socket::connect(const PeerAddress& peer) {
    auto done = to_receive(peer);
    done = done ? to_send() : done;
    if (!done) {
        return done;
    }
    ibv_send_wr request{};
    request.wr_id = wr_id(What::kSend);
    request.opcode = IBV_WR_SEND_WITH_IMM;
    request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_SOLICITED;
    return post(request, "the first message");
}

// -- completions
// -----------------------------------------------------------------------------------

Result<void> Socket::poll() {
    for (ibv_comp_channel* channel : {channel_.get(), receive_channel_.get()}) {
        if (auto done = take_event(channel); !done) {
            return done;
        }
    }
    for (const bool again : {false, true}) {
        for (ibv_cq* cq : {cq_.get(), receive_cq_.get()}) {
            if (auto done = take_completions(cq); !done) {
                return done;
            }
        }
        if (auto done = again ? Result<void>() : request_events(); !done) {
            return done;
        }
    }
    const std::uint32_t free = std::min(sends_completed_, sends_credited_);
    sends_free_ += free;
    sends_completed_ -= free;
    sends_credited_ -= free;
    auto done = post_messages();
    return done ? post_batches() : done;
}

Result<void> Socket::take_event(ibv_comp_channel* channel) {
    if (channel == nullptr) {
        return {};
    }
    ibv_cq* cq = nullptr;
    void* context = nullptr;
    if (ibv_get_cq_event(channel, &cq, &context) != 0) {
        return errno == EAGAIN ? Result<void>()
                               : fail_errno(ErrorKind::kTransfer, "ibv_get_cq_event", errno);
    }
    ++events_;
    if (++unacknowledged_[cq] == options_.event_ack_batch) {
        ibv_ack_cq_events(cq, unacknowledged_[cq]);
        unacknowledged_[cq] = 0;
    }
    return {};
}

Result<void> Socket::request_events() {
    for (const bool second : {false, true}) {
        ibv_cq* cq = second ? receive_cq_.get() : cq_.get();
        if (cq == nullptr) {
            continue;
        }
        if (const int rc = ibv_req_notify_cq(cq, second ? 1 : 0); rc != 0) {
            return fail_errno(ErrorKind::kTransfer, "ibv_req_notify_cq", rc);
        }
    }
    return {};
}

Result<void> Socket::take_completions(ibv_cq* cq) {
    std::array<ibv_wc, kPollBatch> found{};
    int count = cq == nullptr ? 0 : kPollBatch;
    while (count == kPollBatch) {
        count = ibv_poll_cq(cq, kPollBatch, found.data());
        if (count < 0) {
            return fail(ErrorKind::kTransfer, "ibv_poll_cq failed");
        }
        for (int i = 0; i < count; ++i) {
            const ibv_wc& completion = found[static_cast<std::size_t>(i)];
            if (auto done = draining_ ? drained(completion) : completed(completion); !done) {
                return done;
            }
        }
    }
    return {};
}

Result<void> Socket::completed(const ibv_wc& completion) {
    if (completion.status != IBV_WC_SUCCESS) {
        // The partner may close, and end its queue pair, before what we have sent it is
        // acknowledged: once it is told that we close, it answers no request that is sent again,
        // and our queue pair fails by itself.
        const bool by_silence =
            completion.status == IBV_WC_RETRY_EXC_ERR || completion.status == IBV_WC_WR_FLUSH_ERR;
        if (state_ == State::kClosed || (state_ == State::kClosing && by_silence)) {
            state_ = State::kClosed;
            return drained(completion);
        }
        return fail(ErrorKind::kTransfer, verbs_util::describe_completion(completion));
    }
    const std::uint64_t value = value_of(completion.wr_id);
    switch (what_of(completion.wr_id)) {
        case What::kSend:
            state_ = state_ == State::kConnecting ? State::kReady : state_;
            sends_completed_ += static_cast<std::uint32_t>(value);
            return {};
        case What::kReceive:
            return received(completion);
        case What::kCredit:
            ++credits_free_;
            if (credits_waiting_ == 0) {
                return {};
            }
            --credits_waiting_;
            return post_credit();
        case What::kRdmaLast: {
            const auto batch = under_way_.extract(value);
            const auto [token, count] = batch.mapped();
            rdma_free_ += count;
            if (--batches_left_.at(token) == 0) {
                batches_left_.erase(token);
                finished_.push_back(token);
            }
            return {};
        }
        case What::kClose:
            state_ = State::kClosed;
            return {};
        case What::kCheck:
            checking_ = false;
            ++checks_;
            return {};
        case What::kRdma:
            break;
    }
    return fail(ErrorKind::kVerification,
                fmt::format("a completion of the unsignaled request {:#x}", completion.wr_id));
}

Result<void> Socket::received(const ibv_wc& completion) {
    const auto index = static_cast<std::uint32_t>(value_of(completion.wr_id));
    if (index >= receive_is_posted_.size() || !receive_is_posted_[index]) {
        return fail(ErrorKind::kVerification,
                    fmt::format("receive {} completes and is not posted", index));
    }
    receive_is_posted_[index] = false;
    --receives_posted_;
    if (state_ == State::kAccepted) {
        if (auto done = to_send(); !done) {
            return done;
        }
        state_ = State::kReady;
    }
    if ((completion.wc_flags & IBV_WC_WITH_IMM) == 0) {
        incoming_.emplace_back(index, completion.byte_len);
        return {};
    }
    if (completion.byte_len != 0) {
        return fail(ErrorKind::kVerification,
                    fmt::format("{} bytes beside immediate data", completion.byte_len));
    }
    const std::uint32_t immediate = ntohl(completion.imm_data);
    if (immediate == kCloses) {
        state_ = State::kClosed;
    } else {
        sends_credited_ += immediate;
    }
    return post_receive(index);
}

// -- messages
// --------------------------------------------------------------------------------------

Result<void> Socket::post(ibv_send_wr& request, const char* what) {
    ibv_send_wr* bad = nullptr;
    if (const int rc = ibv_post_send(qp_.get(), &request, &bad); rc != 0) {
        return fail_errno(ErrorKind::kTransfer, fmt::format("posting {}", what), rc);
    }
    return {};
}

Result<void> Socket::post_receive(std::uint32_t index) {
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(receive_memory_->data()) +
                        std::size_t{index} * options_.buffer_bytes,
                .length = options_.buffer_bytes,
                .lkey = receive_memory_->lkey()};
    ibv_recv_wr request{};
    request.wr_id = wr_id(What::kReceive, index);
    request.sg_list = &sge;
    request.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    if (const int rc = ibv_post_recv(qp_.get(), &request, &bad); rc != 0) {
        return fail_errno(ErrorKind::kTransfer, "ibv_post_recv", rc);
    }
    receive_is_posted_[index] = true;
    ++receives_posted_;
    return {};
}

Result<void> Socket::send(std::vector<std::byte> message) {
    if (message.size() > options_.buffer_bytes) {
        return fail(ErrorKind::kUsage, fmt::format("a message of {} bytes", message.size()));
    }
    outgoing_.push_back(std::move(message));
    return {};
}

Result<void> Socket::post_messages() {
    while (state_ == State::kReady && !outgoing_.empty()) {
        if (sends_free_ == 0) {
            ++waits_for_credit_;
            return {};
        }
        if (auto done = post_message(outgoing_.size() == 1 || sends_free_ == 1); !done) {
            return done;
        }
    }
    return {};
}

Result<void> Socket::post_message(bool last) {
    const std::vector<std::byte>& message = outgoing_.front();
    std::byte* buffer =
        send_memory_->data() + std::size_t{next_send_buffer_} * options_.buffer_bytes;
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(buffer),
                .length = static_cast<std::uint32_t>(message.size()),
                .lkey = send_memory_->lkey()};
    ibv_send_wr request{};
    request.sg_list = &sge;
    request.num_sge = 1;
    request.opcode = IBV_WR_SEND;
    if (message.size() <= max_inline_) {
        // From memory that is not registered and gone after this call.
        sge.addr = reinterpret_cast<std::uintptr_t>(message.data());
        sge.lkey = 0;
        request.send_flags |= IBV_SEND_INLINE;
        ++inlined_;
    } else {
        std::memcpy(buffer, message.data(), message.size());
    }
    if (options_.solicited && last) {
        request.send_flags |= IBV_SEND_SOLICITED;
    }
    std::uint32_t signals = 0;
    if (++unsignaled_ == options_.signal_batch) {
        signals = std::exchange(unsignaled_, 0);
        request.send_flags |= IBV_SEND_SIGNALED;
    }
    request.wr_id = wr_id(What::kSend, signals);
    if (auto done = post(request, "a message"); !done) {
        return done;
    }
    outgoing_.pop_front();
    next_send_buffer_ = (next_send_buffer_ + 1) % options_.send_buffers;
    --sends_free_;
    ++messages_sent_;
    return {};
}

std::optional<std::span<const std::byte>> Socket::message() const {
    if (incoming_.empty()) {
        return std::nullopt;
    }
    const auto [index, bytes] = incoming_.front();
    return std::span<const std::byte>(
        const_cast<Region&>(*receive_memory_).data() + std::size_t{index} * options_.buffer_bytes,
        bytes);
}

Result<void> Socket::release_message() {
    const std::uint32_t index = incoming_.front().first;
    incoming_.pop_front();
    ++messages_received_;
    if (auto done = post_receive(index); !done) {
        return done;
    }
    if (++uncredited_ < options_.ack_batch) {
        return {};
    }
    uncredited_ = 0;
    if (credits_free_ == 0) {
        ++credits_waiting_;
        return {};
    }
    return post_credit();
}

Result<void> Socket::post_credit() {
    --credits_free_;
    ibv_send_wr request{};
    request.wr_id = wr_id(What::kCredit);
    request.opcode = IBV_WR_SEND_WITH_IMM;
    request.send_flags = IBV_SEND_SIGNALED;
    if (options_.solicited) {
        request.send_flags |= IBV_SEND_SOLICITED;
    }
    request.imm_data = htonl(options_.ack_batch);
    return post(request, "a credit");
}

// -- RDMA
// ------------------------------------------------------------------------------------------

Result<void> Socket::rdma(ibv_wr_opcode opcode, std::vector<Transfer> transfers,
                          std::uint64_t token) {
    for (std::size_t at = 0; at < transfers.size(); at += options_.rdma_per_post) {
        const std::size_t end = std::min(transfers.size(), at + options_.rdma_per_post);
        Batch batch{.opcode = opcode, .transfers = {}, .token = token};
        std::move(transfers.begin() + static_cast<std::ptrdiff_t>(at),
                  transfers.begin() + static_cast<std::ptrdiff_t>(end),
                  std::back_inserter(batch.transfers));
        waiting_.push_back(std::move(batch));
        ++batches_left_[token];
    }
    return post_batches();
}

Result<void> Socket::post_batches() {
    while (!waiting_.empty() && waiting_.front().transfers.size() <= rdma_free_) {
        if (auto done = post_batch(waiting_.front()); !done) {
            return done;
        }
        waiting_.pop_front();
    }
    return {};
}

Result<void> Socket::post_batch(const Batch& batch) {
    std::vector<ibv_send_wr> requests(batch.transfers.size());
    const std::uint64_t number = next_batch_++;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const Transfer& transfer = batch.transfers[i];
        ibv_send_wr& request = requests[i];
        request.wr_id = wr_id(What::kRdma, number);
        request.next = i + 1 < requests.size() ? &requests[i + 1] : nullptr;
        request.sg_list = const_cast<ibv_sge*>(transfer.local.data());
        request.num_sge = static_cast<int>(transfer.local.size());
        request.opcode = batch.opcode;
        request.wr.rdma.remote_addr = transfer.remote_address;
        request.wr.rdma.rkey = transfer.rkey;
    }
    requests.back().wr_id = wr_id(What::kRdmaLast, number);
    requests.back().send_flags = IBV_SEND_SIGNALED;
    const auto count = static_cast<std::uint32_t>(requests.size());
    under_way_[number] = {batch.token, count};
    rdma_free_ -= count;
    rdma_requests_ += count;
    return post(requests.front(), "a list of RDMA requests");
}

std::optional<std::uint64_t> Socket::finished() {
    if (finished_.empty()) {
        return std::nullopt;
    }
    const std::uint64_t token = finished_.front();
    finished_.pop_front();
    return token;
}

// -- the end
// ---------------------------------------------------------------------------------------

Result<void> Socket::check() {
    if (checking_) {
        return {};
    }
    checking_ = true;
    ibv_send_wr request{};
    request.wr_id = wr_id(What::kCheck);
    request.opcode = IBV_WR_RDMA_WRITE;
    request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE;
    return post(request, "an empty WRITE");
}

Result<void> Socket::close() {
    ibv_send_wr request{};
    request.wr_id = wr_id(What::kClose);
    request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    request.send_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE | IBV_SEND_SOLICITED;
    request.imm_data = htonl(kCloses);
    state_ = State::kClosing;
    return post(request, "the message that closes");
}

Result<std::uint32_t> Socket::drain(int epoll, int timeout_ms) {
    draining_ = true;
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_ERR;
    if (auto done = modify(attributes, IBV_QP_STATE, "ERR"); !done) {
        return tl::make_unexpected(done.error());
    }
    ibv_qp_attr found{};
    ibv_qp_init_attr unused{};
    if (const int rc = ibv_query_qp(qp_.get(), &found, IBV_QP_STATE, &unused); rc != 0) {
        return fail_errno(ErrorKind::kTransfer, "ibv_query_qp", rc);
    }
    if (found.qp_state != IBV_QPS_ERR) {
        return fail(ErrorKind::kVerification, fmt::format("the queue pair's state is {}, not ERR",
                                                          static_cast<int>(found.qp_state)));
    }
    auto done = poll();
    while (done && receives_posted_ > 0) {
        epoll_event event{};
        if (epoll_wait(epoll, &event, 1, timeout_ms) == 0) {
            return fail(ErrorKind::kTransfer,
                        fmt::format("{} receives are not flushed", receives_posted_));
        }
        done = poll();
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return flushed_;
}

Result<void> Socket::drained(const ibv_wc& completion) {
    if (!is_receive(completion)) {
        return {};  // what was not yet complete when the partner closed
    }
    const auto index = static_cast<std::uint32_t>(value_of(completion.wr_id));
    if (index >= receive_is_posted_.size() || !receive_is_posted_[index]) {
        return fail(ErrorKind::kVerification, fmt::format("receive {} is flushed twice", index));
    }
    // A credit of the partner's may have come just before.
    const bool credit =
        completion.status == IBV_WC_SUCCESS && (completion.wc_flags & IBV_WC_WITH_IMM) != 0;
    if (completion.status != IBV_WC_WR_FLUSH_ERR && !credit) {
        return fail(ErrorKind::kVerification, verbs_util::describe_completion(completion));
    }
    receive_is_posted_[index] = false;
    --receives_posted_;
    flushed_ += credit ? 0 : 1;
    return {};
}

}  // namespace vrdma::storage_socket
