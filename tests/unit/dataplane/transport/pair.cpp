#include "pair.h"

#include <algorithm>
#include <cstring>

namespace vrdma::transport {
namespace {

bool chance(std::mt19937& random, double p) {
    return p > 0 && std::uniform_real_distribution<double>(0, 1)(random) < p;
}

}  // namespace

Pair::Pair(PeerKind peer, uint32_t psn, uint32_t seed, uint32_t mtu, uint8_t max_rd_atomic)
    : random_(seed) {
    RcRequesterConfig requester;
    requester.peer = peer;
    requester.initial_psn = Psn::of(psn);
    requester.path_mtu = mtu;
    requester.max_rd_atomic = max_rd_atomic;
    requester.timeout = peer == PeerKind::Standard ? 8 : 12;
    RcResponderConfig responder;
    responder.peer = peer;
    responder.initial_psn = Psn::of(psn);
    responder.path_mtu = mtu;
    responder.max_dest_rd_atomic = max_rd_atomic;
    for (Side* side : {&a, &b}) {
        side->requester.reset(requester, now);
        side->responder.reset(responder);
        for (size_t i = 0; i < Side::kMemory; ++i) {
            const auto word = static_cast<uint32_t>(random_());
            side->local[i] = static_cast<std::byte>(word);
            side->remote[i] = static_cast<std::byte>(word >> 8);
        }
    }
}

void Pair::post(Side& side, Message message) {
    side.requester.post(message);
}

void Pair::put(std::deque<Frame>& line, const PacketPlan& plan, Side& from, bool is_a) {
    Frame frame;
    frame.packet = packet_of(plan);
    frame.payload.resize(plan.length);
    if (plan.source == PayloadSource::Message) {
        std::memcpy(frame.payload.data(),
                    from.local.data() + from.place[plan.message_id] + plan.offset, plan.length);
    } else if (plan.source == PayloadSource::Memory) {
        std::memcpy(frame.payload.data(), from.remote.data() + plan.address, plan.length);
    }
    ++packets;
    const uint64_t n = (is_a ? count_a_ : count_b_)++;
    if (drop ? drop(is_a, n) : chance(random_, rules.loss)) {
        return;
    }
    Instant& line_free = is_a ? free_a_ : free_b_;
    line_free = std::max(line_free, now) + rules.per_packet;
    const int copies = chance(random_, rules.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
        frame.due = line_free + rules.delay;
        if (chance(random_, rules.reorder)) {
            frame.due = frame.due + Duration{static_cast<int64_t>(
                                        random_() % static_cast<uint64_t>(rules.reorder_by.ns))};
        }
        line.push_back(frame);
    }
}

ExecuteResult Pair::execute(Side& side, const Inbound& in, const Frame& frame) {
    ++side.executed;
    uint8_t* base = reinterpret_cast<uint8_t*>(side.remote.data());
    switch (in.operation) {
        case Operation::Send:
        case Operation::SendImm:
        case Operation::SendInvalidate:
            if (in.first && side.receives == 0) {
                return {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 5};
            }
            if (in.first) {
                --side.receives;
            }
            side.inbox.insert(side.inbox.end(), frame.payload.begin(), frame.payload.end());
            if (in.last) {
                side.receive_lengths.push_back(in.total);
            }
            return {};
        case Operation::Write:
        case Operation::WriteImm:
            if (in.last && in.operation == Operation::WriteImm) {
                if (side.receives == 0) {
                    return {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 5};
                }
                --side.receives;
                side.receive_lengths.push_back(in.total);
            }
            std::memcpy(base + in.remote_address + in.offset, frame.payload.data(), in.length);
            return {};
        case Operation::Read:
            return {};
        case Operation::CompareSwap:
        case Operation::FetchAdd: {
            uint64_t word = 0;
            std::memcpy(&word, base + in.remote_address, 8);
            const uint64_t original = word;
            if (in.operation == Operation::FetchAdd) {
                word += in.swap_or_add;
            } else if (word == in.compare) {
                word = in.swap_or_add;
            }
            std::memcpy(base + in.remote_address, &word, 8);
            return {.original = original};
        }
    }
    return {};
}

void Pair::give_request(Side& side, const Frame& frame, std::map<uint32_t, Frame>& held) {
    wire::Packet packet = frame.packet;
    packet.payload = frame.payload;
    const Inbound in = side.responder.receive(packet, now);
    switch (in.action) {
        case Inbound::Action::Execute:
        case Inbound::Action::Reexecute:
            side.responder.executed(in.action == Inbound::Action::Execute ? execute(side, in, frame)
                                                                          : ExecuteResult{});
            break;
        case Inbound::Action::Hold:
            if (side.hold) {
                held[next_handle_] = frame;
                side.responder.hold(in.sequence, next_handle_++);
            }
            break;
        case Inbound::Action::Drop:
            ++side.dropped;
            break;
        case Inbound::Action::Nothing:
            break;
    }
}

void Pair::give_answer(Side& side, const Frame& frame) {
    wire::Packet packet = frame.packet;
    packet.payload = frame.payload;
    const Answer answer = side.requester.receive(packet, now);
    std::byte* to = side.local.data() + side.place[answer.message_id];
    switch (answer.action) {
        case Answer::Action::Place:
            std::memcpy(to + answer.offset, frame.payload.data(), answer.length);
            break;
        case Answer::Action::Original:
            std::memcpy(to, &answer.original, 8);
            break;
        case Answer::Action::Hold:
            if (side.hold) {
                held_[next_handle_] = frame;
                side.requester.hold(answer.sequence, next_handle_++);
            }
            break;
        case Answer::Action::Drop:
            ++side.dropped;
            break;
        case Answer::Action::Nothing:
            break;
    }
}

void Pair::receive(Side& side, const Frame& frame) {
    if (frame.packet.info().request()) {
        give_request(side, frame, held_);
        while (const auto handle = side.responder.next_held()) {
            const Frame kept = held_.extract(*handle).mapped();
            give_request(side, kept, held_);
        }
        return;
    }
    give_answer(side, frame);
    while (const auto handle = side.requester.next_held()) {
        const Frame kept = held_.extract(*handle).mapped();
        give_answer(side, kept);
    }
}

void Pair::turn(Side& from, Side& to, std::deque<Frame>& line, bool is_a) {
    std::stable_sort(line.begin(), line.end(),
                     [](const Frame& x, const Frame& y) { return x.due < y.due; });
    while (!line.empty() && line.front().due <= now) {
        const Frame frame = line.front();
        line.pop_front();
        receive(from, frame);
    }
    std::deque<Frame>& out = is_a ? to_b_ : to_a_;
    (void)to;
    if (from.requester.next_deadline() <= now) {
        from.requester.on_deadline(now);
    }
    while (const auto plan = from.responder.poll_transmit(now)) {
        put(out, *plan, from, is_a);
    }
    while (const auto plan = from.requester.poll_transmit(now)) {
        put(out, *plan, from, is_a);
    }
    while (const auto completion = from.requester.poll_completion()) {
        from.completions.push_back(*completion);
    }
}

bool Pair::run(Duration limit) {
    const Instant end = now + limit;
    while (now < end) {
        if (refill) {
            refill();
        }
        turn(a, b, to_a_, true);
        turn(b, a, to_b_, false);
        if (a.requester.drained() && b.requester.drained()) {
            return true;
        }
        Instant next = std::min(a.requester.next_deadline(), b.requester.next_deadline());
        for (const std::deque<Frame>* line : {&to_a_, &to_b_}) {
            for (const Frame& frame : *line) {
                next = std::min(next, frame.due);
            }
        }
        now = std::max(next, now + Duration::nanoseconds(100));
    }
    return false;
}

}  // namespace vrdma::transport
