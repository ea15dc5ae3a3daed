// One end of a queue pair as the simulator drives it: the transport's objects behind one interface,
// so that a test can put a faulty one in their place.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "dataplane/transport/rc_requester.h"
#include "dataplane/transport/rc_responder.h"
#include "dataplane/transport/uc_receiver.h"
#include "dataplane/transport/uc_sender.h"
#include "dataplane/wire/opcode.h"

namespace vrdma::sim {

struct EndConfig {
    wire::Service service = wire::Service::Rc;
    transport::PeerKind peer = transport::PeerKind::Standard;
    uint32_t destination_qpn = 0;
    transport::Psn send_psn;
    transport::Psn receive_psn;
    uint32_t path_mtu = 1024;
    uint8_t timeout = 14;
    uint8_t retry_count = 7;
    uint8_t rnr_retry = 7;
    uint8_t max_rd_atomic = 1;
    uint64_t line_rate = 0;
};

// The verbs of transport/, one to one.
class End {
  public:
    virtual ~End() = default;

    virtual void reset(const EndConfig& config, Instant now) = 0;
    virtual void set_peer(transport::PeerKind peer, Instant now) = 0;
    // Copies the state to another place and spoils the old one.
    virtual void move() = 0;

    [[nodiscard]] virtual bool can_post() const = 0;
    virtual void post(const transport::Message& message) = 0;
    virtual std::optional<transport::PacketPlan> poll_request(Instant now) = 0;
    virtual std::optional<transport::PacketPlan> poll_answer(Instant now) = 0;
    virtual void response_failed(transport::ExecuteStatus status) = 0;

    virtual transport::Answer receive_answer(const wire::Packet& packet, Instant now) = 0;
    virtual void hold_answer(transport::Sequence sequence, transport::HeldPacket packet) = 0;
    virtual std::optional<transport::HeldPacket> next_held_answer() = 0;
    virtual transport::Inbound receive_request(const wire::Packet& packet, Instant now) = 0;
    virtual void executed(const transport::ExecuteResult& result) = 0;
    virtual void hold_request(transport::Sequence sequence, transport::HeldPacket packet) = 0;
    virtual std::optional<transport::HeldPacket> next_held_request() = 0;
    virtual std::optional<transport::HeldPacket> discard_held() = 0;

    virtual std::optional<transport::Completion> poll_completion() = 0;
    virtual void fail_message(uint32_t id, transport::CompletionStatus status) = 0;
    // Both directions: the queue pair goes to the error state.
    virtual void fail() = 0;
    [[nodiscard]] virtual bool requester_failed() const = 0;
    [[nodiscard]] virtual bool responder_failed() const = 0;
    [[nodiscard]] virtual bool drained() const = 0;

    [[nodiscard]] virtual Instant next_deadline() const = 0;
    virtual void on_deadline(Instant now) = 0;
    [[nodiscard]] virtual transport::RequesterStatistics statistics() const { return {}; }
};

class RcEnd : public End {
  public:
    void reset(const EndConfig& config, Instant now) override;
    void set_peer(transport::PeerKind peer, Instant now) override;
    void move() override;
    [[nodiscard]] bool can_post() const override { return requester_->can_post(); }
    void post(const transport::Message& message) override { requester_->post(message); }
    std::optional<transport::PacketPlan> poll_request(Instant now) override {
        return requester_->poll_transmit(now);
    }
    std::optional<transport::PacketPlan> poll_answer(Instant now) override {
        return responder_->poll_transmit(now);
    }
    void response_failed(transport::ExecuteStatus status) override {
        responder_->response_failed(status);
    }
    transport::Answer receive_answer(const wire::Packet& packet, Instant now) override {
        if (packet.info().kind == wire::Kind::Cnp) {
            responder_->on_congestion(now);
        }
        return requester_->receive(packet, now);
    }
    void hold_answer(transport::Sequence sequence, transport::HeldPacket packet) override {
        requester_->hold(sequence, packet);
    }
    std::optional<transport::HeldPacket> next_held_answer() override {
        return requester_->next_held();
    }
    transport::Inbound receive_request(const wire::Packet& packet, Instant now) override {
        return responder_->receive(packet, now);
    }
    void executed(const transport::ExecuteResult& result) override { responder_->executed(result); }
    void hold_request(transport::Sequence sequence, transport::HeldPacket packet) override {
        responder_->hold(sequence, packet);
    }
    std::optional<transport::HeldPacket> next_held_request() override {
        return responder_->next_held();
    }
    std::optional<transport::HeldPacket> discard_held() override;
    std::optional<transport::Completion> poll_completion() override {
        return requester_->poll_completion();
    }
    void fail_message(uint32_t id, transport::CompletionStatus status) override {
        requester_->fail_message(id, status);
    }
    void fail() override;
    [[nodiscard]] bool requester_failed() const override { return requester_->failed(); }
    [[nodiscard]] bool responder_failed() const override { return responder_->failed(); }
    [[nodiscard]] bool drained() const override { return requester_->drained(); }
    [[nodiscard]] Instant next_deadline() const override {
        return std::min(requester_->next_deadline(), responder_->next_deadline());
    }
    void on_deadline(Instant now) override {
        if (requester_->next_deadline() <= now) {
            requester_->on_deadline(now);
        }
        responder_->on_deadline(now);
    }
    [[nodiscard]] transport::RequesterStatistics statistics() const override {
        return requester_->statistics();
    }

  private:
    std::unique_ptr<transport::RcRequester> requester_ = std::make_unique<transport::RcRequester>();
    std::unique_ptr<transport::RcResponder> responder_ = std::make_unique<transport::RcResponder>();
};

class UcEnd : public End {
  public:
    void reset(const EndConfig& config, Instant now) override;
    void set_peer(transport::PeerKind, Instant) override {}
    void move() override {}
    [[nodiscard]] bool can_post() const override { return !failed_ && sender_.can_post(); }
    void post(const transport::Message& message) override {
        sender_.post(message);
        posted_ = message.id;
    }
    std::optional<transport::PacketPlan> poll_request(Instant) override {
        return sender_.poll_transmit();
    }
    std::optional<transport::PacketPlan> poll_answer(Instant) override { return std::nullopt; }
    void response_failed(transport::ExecuteStatus) override {}
    transport::Answer receive_answer(const wire::Packet&, Instant) override {
        return {.action = transport::Answer::Action::Drop};
    }
    void hold_answer(transport::Sequence, transport::HeldPacket) override {}
    std::optional<transport::HeldPacket> next_held_answer() override { return std::nullopt; }
    transport::Inbound receive_request(const wire::Packet& packet, Instant) override {
        return receiver_.receive(packet);
    }
    void executed(const transport::ExecuteResult& result) override { receiver_.executed(result); }
    void hold_request(transport::Sequence, transport::HeldPacket) override {}
    std::optional<transport::HeldPacket> next_held_request() override { return std::nullopt; }
    std::optional<transport::HeldPacket> discard_held() override { return std::nullopt; }
    std::optional<transport::Completion> poll_completion() override;
    void fail_message(uint32_t id, transport::CompletionStatus status) override {
        sender_.fail_message(id, status);
    }
    void fail() override;
    [[nodiscard]] bool requester_failed() const override { return failed_; }
    [[nodiscard]] bool responder_failed() const override { return failed_; }
    [[nodiscard]] bool drained() const override { return !posted_.has_value(); }
    [[nodiscard]] Instant next_deadline() const override { return Instant::never(); }
    void on_deadline(Instant) override {}

  private:
    transport::UcSender sender_;
    transport::UcReceiver receiver_;
    std::optional<uint32_t> posted_;  // the message under way
    bool failed_ = false;
};

// Makes the end of a new queue pair.
using EndFactory = std::unique_ptr<End> (*)(wire::Service service, size_t host);
[[nodiscard]] std::unique_ptr<End> make_end(wire::Service service, size_t host);

}  // namespace vrdma::sim
