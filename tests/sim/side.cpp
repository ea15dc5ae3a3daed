// The smallest host that can stand behind the transport: it executes verdicts, gathers payloads,
// builds frames with their ICRC, and puts them on the link as long as the port's ring has room.
//
// A queue pair that fails on either half is in the error state as a whole, as verbs have it: what
// is posted is flushed, the last NAK still leaves, nothing else does. Held packets are references
// to frames; whatever the end gives back is released, and a reference that it never had is a
// violation.
#include "tests/sim/side.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataplane/wire/crc32.h"
#include "dataplane/wire/parse.h"

namespace vrdma::sim {

using transport::Answer;
using transport::CompletionStatus;
using transport::ExecuteStatus;
using transport::Inbound;
using transport::PacketPlan;
using transport::PayloadSource;

void Side::connect(const EndConfig& config, const wire::Flow& flow, uint32_t qpn, Instant now) {
    end_->reset(config, now);
    flow_ = wire::FlowTemplate(flow);
    const uint32_t label = transport::flow_label(qpn, config.destination_qpn);
    flow_.set_source_port(transport::source_port(label));
    flowlets_ = transport::Flowlets(label);
    peer_ = config.peer;
    qpn_ = qpn;
    state_ = State::Up;
    failed_by_host_ = error_completed_ = false;
    in_batch_ = 0;
    think_until_ = now;
    own_.workload.learn_words(own_.memory);
    served_.memory.restart();
    next_turn_ = now;
}

void Side::set_peer(transport::PeerKind peer, Instant now) {
    peer_ = peer;
    if (state_ == State::Up) {
        end_->set_peer(peer, now);
    }
}

void Side::give_back(FrameIndex frame) {
    if (!host_.frames.release(frame)) {
        host_.judge.accuse(Check::Frames, fmt::format("frame {} was not held", frame));
    }
}

void Side::receive(const wire::Packet& packet, FrameIndex frame, Instant now) {
    if (state_ != State::Up) {
        return;
    }
    if (packet.info().request()) {
        receive_request(packet, frame, now);
        while (const auto held = end_->next_held_request()) {
            if (!host_.frames.valid(*held)) {
                return give_back(*held);
            }
            const auto again = wire::parse(host_.frames.at(*held).view());
            VR_CHECK(again.has_value());
            receive_request(*again, *held, now);
            give_back(*held);
        }
    } else {
        receive_answer(packet, frame, now);
        while (const auto held = end_->next_held_answer()) {
            if (!host_.frames.valid(*held)) {
                return give_back(*held);
            }
            const auto again = wire::parse(host_.frames.at(*held).view());
            VR_CHECK(again.has_value());
            own_.ledger.on_response_held(again->bth.opcode, false);
            receive_answer(*again, *held, now);
            give_back(*held);
        }
    }
    next_turn_ = now;
}

void Side::receive_request(const wire::Packet& packet, FrameIndex frame, Instant now) {
    const Inbound in = end_->receive_request(packet, now);
    switch (in.action) {
        case Inbound::Action::Execute:
            end_->executed(served_.memory.execute(in, packet.payload, now));
            served_.last_progress = now;
            break;
        case Inbound::Action::Reexecute:
            end_->executed(served_.memory.reexecute(in));
            break;
        case Inbound::Action::Hold:
            host_.frames.retain(frame);
            end_->hold_request(in.sequence, frame);
            break;
        case Inbound::Action::Nothing:
        case Inbound::Action::Drop:
            break;
    }
    if (host_.trace != nullptr) {
        host_.trace->verdict(in);
    }
}

void Side::receive_answer(const wire::Packet& packet, FrameIndex frame, Instant now) {
    const Answer answer = end_->receive_answer(packet, now);
    if (host_.trace != nullptr) {
        host_.trace->verdict(answer);
    }
    switch (answer.action) {
        case Answer::Action::Place:
        case Answer::Action::Original: {
            const Posted* posted = own_.ledger.find(answer.message_id);
            if (posted != nullptr && posted->fate == Fate::LocalTargetGone) {
                own_.ledger.on_lost(answer.message_id);
                end_->fail_message(answer.message_id, CompletionStatus::LocalProtection);
            } else if (answer.action == Answer::Action::Original) {
                own_.ledger.on_original(answer.message_id, answer.original);
            } else {
                own_.ledger.on_placed(
                    answer.message_id, answer.offset,
                    packet.payload.first(std::min<size_t>(answer.length, packet.payload.size())));
                own_.last_progress = now;
            }
            break;
        }
        case Answer::Action::Hold:
            host_.frames.retain(frame);
            own_.ledger.on_response_held(packet.bth.opcode, true);
            end_->hold_answer(answer.sequence, frame);
            break;
        case Answer::Action::Nothing:
        case Answer::Action::Drop:
            break;
    }
}

bool Side::complete(Instant now) {
    bool any = false;
    while (const auto completion = end_->poll_completion()) {
        any = true;
        error_completed_ |= completion->status != CompletionStatus::Success;
        own_.last_progress = now;
        const bool finite = config_.rnr_retry != 7;
        own_.ledger.on_completion(
            *completion,
            {.flushed = failed_by_host_, .retry_exceeded = peer_trouble_, .rnr_exceeded = finite});
    }
    return any;
}

bool Side::post(Instant now) {
    const size_t host = host_.host;
    if (state_ != State::Up || think_until_ > now) {
        return false;
    }
    bool any = false;
    while (own_.ledger.posted() < own_.messages && end_->can_post() &&
           own_.ledger.posted() - own_.ledger.completed() < config_.queue_depth[host]) {
        const Posted* posted = own_.workload.compose(own_.ledger, own_.memory);
        if (posted == nullptr) {
            break;
        }
        end_->post(posted->message);
        any = true;
        if (own_.workload.pause().ns > 0) {
            think_until_ = now + own_.workload.pause();
            break;
        }
        if (config_.think.ns > 0 && ++in_batch_ == config_.queue_depth[host]) {
            in_batch_ = 0;
            think_until_ = now + random_.between(Duration{0}, config_.think);
            break;
        }
    }
    return any;
}

// False: the memory is gone, and the end was told.
bool Side::gather(const PacketPlan& plan, const std::byte*& payload) {
    payload = nullptr;
    if (plan.source == PayloadSource::Memory && plan.length > 0) {
        payload = served_.memory.gather(plan.rkey, plan.address, plan.length);
        if (payload == nullptr) {
            end_->response_failed(ExecuteStatus::NakRemoteAccess);
            return false;
        }
    }
    const bool request = wire::opcode_info(plan.fields.opcode).request();
    const Posted* posted = request ? own_.ledger.find(plan.message_id) : nullptr;
    if (request && posted == nullptr) {
        own_.ledger.accuse(Check::Bounds, fmt::format("a packet of message {}", plan.message_id));
        return false;
    }
    if (posted != nullptr && posted->fate == Fate::LocalSourceGone) {
        end_->fail_message(plan.message_id, CompletionStatus::LocalProtection);
        return false;
    }
    if (plan.source == PayloadSource::Message) {
        if (plan.offset > posted->message.length ||
            plan.length > posted->message.length - plan.offset) {
            own_.ledger.accuse(
                Check::Bounds,
                fmt::format("psn {:06x}: bytes {} + {} of message {} of {} bytes", plan.fields.psn,
                            plan.offset, plan.length, plan.message_id, posted->message.length));
            return false;
        }
        payload = posted->data + plan.offset;
    }
    return true;
}

void Side::send(const PacketPlan& plan, const std::byte* payload, Instant now) {
    if (config_.spray && config_.service == wire::Service::Rc &&
        peer_ == transport::PeerKind::Vrdma) {
        if (const auto port = flowlets_.on_sent(now)) {
            flow_.set_source_port(*port);
        }
    }
    const FrameIndex index = host_.frames.allocate();
    Frame& frame = host_.frames.at(index);
    const std::span<std::byte> out = frame.bytes;
    const auto [bytes, seed] = wire::build_headers(out, flow_, plan.fields, plan.length);
    uint32_t crc = seed;
    if (plan.length > 0) {
        crc = wire::crc32_copy(crc, out.data() + bytes, payload, plan.length);
    }
    const size_t end = bytes + plan.length;
    frame.length = static_cast<uint32_t>(end + wire::finish(out.subspan(end), plan.length, crc));
    if (host_.trace != nullptr) {
        host_.trace->sent(now, host_.host, plan);
    }
    const Passage passage = host_.out.send(index, now);
    if (host_.trace != nullptr) {
        host_.trace->passage(passage);
    }
    host_.launch(host_.world, host_.host, passage);
}

bool Side::transmit_answers(Instant now) {
    bool any = false;
    while (room(now)) {
        const auto plan = end_->poll_answer(now);
        if (!plan) {
            break;
        }
        any = true;
        const std::byte* payload = nullptr;
        if (gather(*plan, payload)) {
            send(*plan, payload, now);
        }
    }
    return any;
}

bool Side::transmit_requests(Instant now) {
    bool any = false;
    for (uint32_t budget = 16; budget > 0 && room(now); --budget) {
        const auto plan = end_->poll_request(now);
        if (!plan) {
            break;
        }
        any = true;
        const std::byte* payload = nullptr;
        if (gather(*plan, payload)) {
            if (wire::opcode_info(plan->fields.opcode).request()) {  // and no CNP
                own_.ledger.on_sent(plan->message_id);
            }
            send(*plan, payload, now);
        }
    }
    return any;
}

void Side::notice_failure() {
    if (state_ == State::Up && (error_completed_ || end_->responder_failed())) {
        failed_by_host_ = true;
        state_ = State::Error;
        end_->fail();
    }
}

void Side::fail() {
    if (state_ == State::Up) {
        failed_by_host_ = true;
        state_ = State::Error;
        end_->fail();
        next_turn_ = Instant{0};
    }
}

void Side::die() {
    state_ = State::Down;
    discard();
    own_.ledger.bury();
    next_turn_ = Instant::never();
}

void Side::discard() {
    while (const auto held = end_->discard_held()) {
        give_back(*held);
        if (host_.judge.violation()) {
            return;
        }
    }
}

void Side::turn(Instant now) {
    next_turn_ = Instant::never();
    if (state_ == State::Down) {
        return;
    }
    served_.memory.post_receives(now);
    if (state_ == State::Up && config_.move && random_.chance(0.02)) {
        end_->move();
    }
    if (state_ == State::Up && end_->next_deadline() <= now) {
        ++host_.timers;
        if (host_.trace != nullptr) {
            host_.trace->timer(now, host_.host, qpn_);
        }
        end_->on_deadline(now);
    }
    complete(now);
    notice_failure();
    bool more = true;
    for (uint32_t round = 0; more && round < 4; ++round) {
        more = post(now);
        more |= transmit_answers(now);
        if (state_ == State::Up) {
            more |= transmit_requests(now);
        }
        more |= complete(now);
        notice_failure();
    }
    if (more || complete(now)) {
        next_turn_ = now;
    }
    if (state_ == State::Up) {
        next_turn_ = std::min(next_turn_, end_->next_deadline());
        if (own_.ledger.posted() < own_.messages && think_until_ > now) {
            next_turn_ = std::min(next_turn_, think_until_);
        }
    }
    next_turn_ = std::min(next_turn_, served_.memory.next_receive());
    if (!room(now) && (state_ == State::Up || state_ == State::Error)) {
        next_turn_ = std::max(now, std::min(next_turn_, host_.out.room_at()));
    }
}

}  // namespace vrdma::sim
