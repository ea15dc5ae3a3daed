// Requests are served as they come, many at once, and answered as they end, in any order. A segment
// lies here in one piece, and is transferred in up to sixteen: where they meet is at random.
#include "tests/interop/storage_socket/server.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/interop/storage_socket/client.h"
#include "tools/verbs_util/pattern.h"

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::mix;
using verbs_util::Pattern;
using verbs_util::Result;

Server::Server(Socket& socket, EventLoop& loop, Region& memory, std::uint32_t max_sge)
    : socket_(&socket), loop_(&loop), memory_(&memory), max_sge_(max_sge) {
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        free_slots_.push_back(slot);
    }
}

Result<void> Server::run() {
    while (socket_->state() != Socket::State::kClosed) {
        auto done = loop_->wait();
        done = done ? take_requests() : done;
        while (done) {
            const auto token = socket_->finished();
            if (!token) {
                break;
            }
            done = finish(*token);
        }
        done = done ? socket_->poll() : done;
        if (!done) {
            return done;
        }
    }
    if (!jobs_.empty()) {
        return fail(ErrorKind::kVerification,
                    fmt::format("the client closes before {} answers", jobs_.size()));
    }
    return {};
}

Result<void> Server::take_requests() {
    while (const auto bytes = socket_->message()) {
        auto request = Message::decode(*bytes);
        if (!request) {
            return tl::make_unexpected(request.error());
        }
        auto done = socket_->release_message();
        done = done ? start(std::move(*request)) : done;
        if (!done) {
            return done;
        }
    }
    return {};
}

std::vector<ibv_sge> Server::scatter(std::byte* at, std::uint32_t bytes,
                                     std::uint64_t random) const {
    std::vector<std::uint32_t> cuts{0, bytes};
    for (std::uint64_t i = 0; i < random % max_sge_; ++i) {
        cuts.push_back(static_cast<std::uint32_t>(mix(random + i) % bytes));
    }
    std::ranges::sort(cuts);
    std::vector<ibv_sge> pieces;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        if (cuts[i] != cuts[i + 1]) {
            pieces.push_back({.addr = reinterpret_cast<std::uintptr_t>(at + cuts[i]),
                              .length = cuts[i + 1] - cuts[i],
                              .lkey = memory_->lkey()});
        }
    }
    return pieces;
}

Result<void> Server::start(Message message) {
    if (message.kind == Kind::kEcho) {
        return answer(message);
    }
    std::uint64_t total = 0;
    for (const Segment& segment : message.segments) {
        total += segment.bytes;
    }
    if (message.kind == Kind::kAnswer || message.segments.empty() || total > kSlotBytes ||
        free_slots_.empty()) {
        return fail(ErrorKind::kVerification,
                    fmt::format("request {} of kind {}, {} segments, {} bytes", message.id,
                                static_cast<int>(message.kind), message.segments.size(), total));
    }
    const std::size_t slot = free_slots_.back();
    free_slots_.pop_back();
    std::byte* at = memory_->data() + slot * kSlotBytes;
    std::vector<Transfer> transfers;
    for (std::size_t i = 0; i < message.segments.size(); ++i) {
        const Segment& segment = message.segments[i];
        if (message.kind == Kind::kLoad) {
            Pattern(seed_of_segment(message.seed, i)).fill(at, segment.bytes);
        }
        transfers.push_back({.remote_address = segment.address,
                             .rkey = segment.rkey,
                             .local = scatter(at, segment.bytes, mix(message.seed - i))});
        at += segment.bytes;
    }
    const std::uint64_t token = message.id;
    const ibv_wr_opcode opcode =
        message.kind == Kind::kStore ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
    jobs_[token] = {.message = std::move(message), .slot = slot};
    return socket_->rdma(opcode, std::move(transfers), token);
}

Result<void> Server::finish(std::uint64_t token) {
    const auto job = jobs_.extract(token);
    const auto& [message, slot] = job.mapped();
    const std::byte* at = memory_->data() + slot * kSlotBytes;
    for (std::size_t i = 0; message.kind == Kind::kStore && i < message.segments.size(); ++i) {
        const Segment& segment = message.segments[i];
        if (const auto wrong = Pattern(seed_of_segment(message.seed, i)).check(at, segment.bytes)) {
            return fail(ErrorKind::kVerification,
                        fmt::format("segment {} of {}: {}", i, message.id, wrong->describe()));
        }
        at += segment.bytes;
    }
    free_slots_.push_back(slot);
    return answer(message);
}

Result<void> Server::answer(const Message& request) {
    const Message message{.kind = Kind::kAnswer,
                          .id = request.id,
                          .seed = seed_of_answer(request.seed),
                          .payload_bytes = request.payload_bytes,
                          .segments = {}};
    return socket_->send(message.encode());
}

}  // namespace vrdma::storage_socket
