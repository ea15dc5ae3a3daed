// A standard RoCEv2 peer that shares no code with the transport: RC as the specification has it,
// with the habits of Linux' soft-RoCE. What the product and itself agree on, this one need not.
//
// Requester: 128 unacknowledged packets, an acknowledgement asked for every 64 packets and at the
// end of a message; responses out of order are ignored and the timer repairs that; the second NAK
// of an episode is ignored; a READ is asked for again from its first missing byte. Responder: in
// order only, one NAK for a gap; a repeated READ moves the point below which it answers no more.
#pragma once

#include <deque>
#include <optional>

#include "dataplane/wire/syndrome.h"
#include "tests/sim/end.h"

namespace vrdma::sim {

class ReferenceEnd : public End {
  public:
    void reset(const EndConfig& config, Instant now) override;
    void set_peer(transport::PeerKind, Instant) override {}
    void move() override {}

    [[nodiscard]] bool can_post() const override {
        return !failed_ && messages_.size() < kMaxMessages;
    }
    void post(const transport::Message& message) override;
    std::optional<transport::PacketPlan> poll_request(Instant now) override;
    std::optional<transport::PacketPlan> poll_answer(Instant now) override;
    void response_failed(transport::ExecuteStatus status) override;

    transport::Answer receive_answer(const wire::Packet& packet, Instant now) override;
    void hold_answer(transport::Sequence, transport::HeldPacket) override {}
    std::optional<transport::HeldPacket> next_held_answer() override { return std::nullopt; }
    transport::Inbound receive_request(const wire::Packet& packet, Instant now) override;
    void executed(const transport::ExecuteResult& result) override;
    void hold_request(transport::Sequence, transport::HeldPacket) override {}
    std::optional<transport::HeldPacket> next_held_request() override { return std::nullopt; }
    std::optional<transport::HeldPacket> discard_held() override { return std::nullopt; }

    std::optional<transport::Completion> poll_completion() override;
    void fail_message(uint32_t id, transport::CompletionStatus status) override;
    void fail() override;
    [[nodiscard]] bool requester_failed() const override { return failed_; }
    [[nodiscard]] bool responder_failed() const override { return responder_failed_; }
    [[nodiscard]] bool drained() const override { return messages_.empty(); }
    [[nodiscard]] Instant next_deadline() const override;
    void on_deadline(Instant now) override;

  private:
    static constexpr size_t kMaxMessages = 64;
    static constexpr int32_t kMaxUnacknowledged = 128;
    static constexpr uint32_t kAckEvery = 64;
    static constexpr uint8_t kUnlimitedTimeout = 12;  // 17 ms

    // 24 bits, compared as the specification says.
    using Number = uint32_t;
    static Number mask(uint32_t number) { return number & 0xffffff; }
    static int32_t distance(Number to, Number from) {
        return static_cast<int32_t>((to - from) << 8) >> 8;
    }

    struct Request {
        transport::Message message;
        Number first = 0;
        Number last = 0;
        uint32_t answered = 0;  // READ: bytes; atomic: 1
        std::optional<transport::CompletionStatus> end;
        [[nodiscard]] bool waits() const {
            return transport::has_response(message.operation) && !end;
        }
    };
    struct Response {
        Number next = 0;
        bool atomic = false;
        uint64_t original = 0;
        uint64_t address = 0;
        uint32_t rkey = 0;
        uint32_t length = 0;
        uint32_t sent = 0;
        uint32_t msn = 0;
    };
    struct Done {  // a responder resource
        Number first = 0;
        Number last = 0;
        bool atomic = false;
        uint64_t original = 0;
        uint64_t address = 0;  // READ
        uint32_t length = 0;
    };

    [[nodiscard]] uint32_t packets(uint32_t length) const;
    [[nodiscard]] Request* sending();
    [[nodiscard]] bool may_send(const Request& request) const;
    [[nodiscard]] transport::PacketPlan plan(Request& request);
    void go_back(Number psn);
    void retry(Instant now);
    void progress(Instant now);
    void acknowledge(Number psn, Instant now);
    [[nodiscard]] Duration timeout() const;
    void fail_at(Number psn, transport::CompletionStatus status);
    void fail_oldest(transport::CompletionStatus status);
    transport::Answer on_ack(const wire::Packet& packet, Instant now);
    transport::Answer on_response(const wire::Packet& packet, Instant now);

    transport::Inbound accept(const wire::Packet& packet);
    transport::Inbound duplicate(const wire::Packet& packet);
    void answer(uint8_t syndrome, Number psn);

    EndConfig config_;
    // Requester.
    std::deque<Request> messages_;
    Number next_psn_ = 0;  // of the next message
    Number send_psn_ = 0;  // of the next packet
    Number acked_ = 0;     // the oldest that is not acknowledged
    Number highest_ = 0;   // behind the newest ever sent
    uint8_t retries_ = 0;
    uint8_t rnr_retries_ = 0;
    bool retrying_ = false;
    bool failed_ = false;
    Instant timer_ = Instant::never();
    Instant rnr_until_{0};
    // Responder.
    Number expected_ = 0;
    uint32_t msn_ = 0;
    bool nak_sent_ = false;
    bool responder_failed_ = false;
    std::deque<transport::PacketPlan> acks_;
    std::deque<Response> responses_;
    std::deque<Done> done_;
    transport::Inbound pending_;
    wire::Packet pending_packet_;
    bool replay_ = false;
    Number failed_response_ = 0;  // the READ response polled last
    uint64_t message_address_ = 0;
    uint32_t message_rkey_ = 0;
    uint32_t message_total_ = 0;
    uint32_t message_offset_ = 0;
};

// Host 0 runs the product, host 1 this.
[[nodiscard]] std::unique_ptr<End> make_end_or_reference(wire::Service service, size_t host);

}  // namespace vrdma::sim
