// The transport's own objects as ends. Nothing is decided here; each function is one call.
#include "tests/sim/end.h"

namespace vrdma::sim {

namespace {

template <class Object>
void move_object(std::unique_ptr<Object>& object) {
    auto elsewhere = std::make_unique<Object>(*object);
    *object = Object{};
    object = std::move(elsewhere);
}

}  // namespace

void RcEnd::reset(const EndConfig& config, Instant now) {
    requester_->reset({.peer = config.peer,
                       .destination_qpn = config.destination_qpn,
                       .initial_psn = config.send_psn,
                       .path_mtu = config.path_mtu,
                       .timeout = config.timeout,
                       .retry_count = config.retry_count,
                       .rnr_retry = config.rnr_retry,
                       .max_rd_atomic = config.max_rd_atomic,
                       .line_rate = config.line_rate},
                      now);
    responder_->reset({.peer = config.peer,
                       .destination_qpn = config.destination_qpn,
                       .initial_psn = config.receive_psn,
                       .path_mtu = config.path_mtu,
                       .max_dest_rd_atomic = config.max_rd_atomic,
                       .line_rate = config.line_rate});
}

void RcEnd::set_peer(transport::PeerKind peer, Instant now) {
    requester_->set_peer(peer, now);
    responder_->set_peer(peer);
}

void RcEnd::move() {
    move_object(requester_);
    move_object(responder_);
}

std::optional<transport::HeldPacket> RcEnd::discard_held() {
    if (const auto held = requester_->discard_held()) {
        return held;
    }
    return responder_->discard_held();
}

void RcEnd::fail() {
    requester_->fail();
    if (!responder_->failed()) {
        responder_->fail();
    }
}

void UcEnd::reset(const EndConfig& config, Instant) {
    sender_.reset({.destination_qpn = config.destination_qpn,
                   .initial_psn = config.send_psn,
                   .path_mtu = config.path_mtu});
    receiver_.reset({.initial_psn = config.receive_psn, .path_mtu = config.path_mtu});
    posted_.reset();
    failed_ = false;
}

void UcEnd::fail() {
    if (posted_ && !failed_) {
        sender_.fail_message(*posted_, transport::CompletionStatus::Flushed);
    }
    failed_ = true;
}

std::optional<transport::Completion> UcEnd::poll_completion() {
    const auto completion = sender_.poll_completion();
    if (completion) {
        posted_.reset();
    }
    return completion;
}

std::unique_ptr<End> make_end(wire::Service service, size_t) {
    if (service == wire::Service::Uc) {
        return std::make_unique<UcEnd>();
    }
    return std::make_unique<RcEnd>();
}

}  // namespace vrdma::sim
