// Draws messages. Lengths crowd around multiples of the path MTU, where packets are cut. Data are
// pieces of the pattern table; WRITE targets and READ landings are places in two rings of the same
// layout, freed in order, so that memory is stable from post to completion and may be looked at.
//
// A READ may read what the message before it wrote: that is only right if both are executed in
// order. Atomics are modelled here: only this direction touches its words.
#include "tests/sim/workload.h"

#include <algorithm>

#include "tests/sim/pattern.h"

namespace vrdma::sim {

using transport::Operation;

namespace {
constexpr uint32_t kMinRing = 16 * 1024;
}

uint32_t Workload::ring_bytes(const OperationMix& mix) {
    return std::max(kMinRing, 6 * mix.max_length);
}

Workload::Workload(const OperationMix& mix, uint32_t path_mtu, wire::Service service,
                   uint32_t ring_bytes, Random random)
    : mix_(mix), path_mtu_(path_mtu), service_(service), random_(random), ring_(ring_bytes) {
    for (const uint32_t weight : mix.weight) {
        total_weight_ += weight;
    }
}

void Workload::learn_words(const ResponderMemory& remote) {
    for (uint32_t i = 0; i < kAtomicWords; ++i) {
        words_[i] = remote.word(i);
    }
    windows_ = remote.windows_ended();
    before_.reset();
    prepared_.reset();
}

Operation Workload::draw_operation() {
    auto left = static_cast<uint32_t>(random_.below(total_weight_));
    for (size_t i = 0; i < mix_.weight.size(); ++i) {
        if (left < mix_.weight[i]) {
            return static_cast<Operation>(i);
        }
        left -= mix_.weight[i];
    }
    return Operation::Send;
}

uint32_t Workload::draw_length(Operation operation) {
    if (transport::is_atomic(operation)) {
        return 8;
    }
    if (random_.chance(mix_.empty)) {
        return 0;
    }
    if (mix_.whole) {
        return mix_.max_length;
    }
    const uint32_t any = random_.between(1, mix_.max_length);
    switch (random_.below(4)) {
        case 0:  // at the border of a packet
            return std::clamp(any / path_mtu_ * path_mtu_ + random_.between(0, 2), 2U,
                              mix_.max_length + 1) -
                   1;
        case 1:
            return random_.between(1, std::min(mix_.max_length, path_mtu_));
        default:
            return any;
    }
}

Fate Workload::draw_fate(Operation operation, uint32_t length, bool failing) {
    if (length == 0 || !(failing || random_.chance(mix_.failing))) {
        return Fate::Success;
    }
    if (service_ == wire::Service::Uc) {
        return Fate::LocalSourceGone;  // nobody says what went wrong at the other side
    }
    const bool far = random_.coin();
    const bool wrong = random_.coin();
    switch (operation) {
        case Operation::Send:
        case Operation::SendImm:
            return wrong ? (far ? Fate::TooLong : Fate::MemoryGone) : Fate::LocalSourceGone;
        case Operation::SendInvalidate:
            return wrong ? (far ? Fate::TooLong : Fate::WrongKey) : Fate::LocalSourceGone;
        case Operation::Write:
        case Operation::WriteImm:
            return wrong ? (far ? Fate::WrongKey : Fate::WrongRange)
                         : (far ? Fate::MemoryGone : Fate::LocalSourceGone);
        case Operation::Read:
            return wrong ? (far ? Fate::WrongKey : Fate::WrongRange)
                         : (far ? Fate::ResponseGone : Fate::LocalTargetGone);
        case Operation::CompareSwap:
        case Operation::FetchAdd:
            return wrong ? Fate::WrongKey : Fate::LocalTargetGone;
    }
    return Fate::Success;
}

bool Workload::reserve(Posted& posted, const Ledger& ledger) {
    const uint64_t size = ring_.size();
    uint64_t begin = head_;
    if (begin % size + posted.message.length > size) {
        begin += size - begin % size;
    }
    const uint64_t end = begin + posted.message.length;
    if (service_ == wire::Service::Rc && end - ledger.ring_floor(head_) > size &&
        ledger.completed() != ledger.posted()) {
        return false;
    }
    posted.ring_begin = begin;
    posted.ring_end = end;
    posted.offset = static_cast<uint32_t>(begin % size);
    head_ = end;
    return true;
}

void Workload::aim_atomic(Posted& posted, const RemoteMemory& keys) {
    transport::Message& m = posted.message;
    const auto index = static_cast<uint32_t>(random_.below(kAtomicWords));
    m.rkey = keys.word_key;
    m.remote_address = keys.words + 8 * index;
    m.swap_or_add = random_.next();
    posted.expected_original = words_[index];
    if (m.operation == Operation::FetchAdd) {
        words_[index] += m.swap_or_add;
    } else {
        m.compare = random_.chance(0.7) ? words_[index] : random_.next();
        if (m.compare == words_[index]) {
            words_[index] = m.swap_or_add;
        }
    }
}

void Workload::aim(Posted& posted, const RemoteMemory& keys) {
    transport::Message& m = posted.message;
    if (transport::is_atomic(m.operation)) {
        return aim_atomic(posted, keys);
    }
    const uint64_t hash = random_.next();
    posted.data = pattern(hash);
    if (transport::is_write(m.operation)) {
        m.rkey = keys.target_key;
        m.remote_address = keys.target + posted.offset;
    } else if (m.operation == Operation::SendInvalidate) {
        m.rkey = keys.window(windows_++);
    } else if (m.operation == Operation::Read) {
        const bool again = before_ && before_->fate == Fate::Success &&
                           before_->message.length > 0 && random_.chance(mix_.reread);
        if (again) {
            m.length = std::min(m.length, before_->message.length);
            const uint32_t skip = random_.between(0, before_->message.length - m.length);
            posted.data = before_->data + skip;
            m.rkey = before_->message.rkey;
            m.remote_address = before_->message.remote_address + skip;
            posted.ring_begin = before_->ring_begin;
        } else {
            m.rkey = keys.source_key;
            m.remote_address = keys.source + hash % kPatternStarts;
        }
    }
}

void Workload::spoil(Posted& posted, const RemoteMemory& keys) const {
    transport::Message& m = posted.message;
    if (posted.fate == Fate::WrongKey) {
        m.rkey = keys.target_key + 7;
    } else if (posted.fate == Fate::WrongRange) {
        m.rkey = keys.target_key;
        // A long READ is several requests: the first must not fit already.
        m.remote_address = keys.target + keys.target_bytes - std::min(m.length, 100U) + 1;
    } else if (posted.fate == Fate::TooLong) {
        m.length = mix_.max_length + 1;
    } else if (posted.fate == Fate::ResponseGone) {
        m.rkey = keys.gone_key;
    }
}

void Workload::prepare() {
    prepared_.emplace();
    transport::Message& m = prepared_->message;
    const ScriptedMessage* script =
        scripted_ < mix_.script.size() ? &mix_.script[scripted_++] : nullptr;
    m.operation = script != nullptr ? script->operation : draw_operation();
    m.length = script == nullptr                   ? draw_length(m.operation)
               : transport::is_atomic(m.operation) ? 8
                                                   : script->length;
    m.imm = transport::has_imm(m.operation) ? static_cast<uint32_t>(random_.next()) : 0;
    m.fence = service_ == wire::Service::Rc &&
              (script != nullptr ? script->fence : random_.chance(mix_.fence));
    // Only where a receive completion can show it (IBA 9.2.3).
    const bool shown = m.operation != Operation::Write && !transport::has_response(m.operation);
    m.solicited = shown && (script != nullptr ? script->solicited : random_.chance(0.3));
    prepared_->fate = draw_fate(m.operation, m.length, script != nullptr && script->failing);
    pause_ = script != nullptr ? script->pause : Duration{};
}

Posted* Workload::compose(Ledger& ledger, const ResponderMemory& remote) {
    if (!prepared_) {
        prepare();
    }
    if (!reserve(*prepared_, ledger)) {
        return nullptr;
    }
    aim(*prepared_, remote.keys());
    spoil(*prepared_, remote.keys());
    Posted& posted = ledger.add(*prepared_);
    prepared_.reset();
    before_.reset();
    if (transport::is_write(posted.message.operation)) {
        before_ = posted;
    }
    return &posted;
}

}  // namespace vrdma::sim
