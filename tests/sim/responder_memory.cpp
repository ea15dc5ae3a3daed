// The responder's half of a device, as small as it can be: keys, ranges, receive entries, bytes.
// The ledger is told of each step after it was done; it is asked only for what a program, not the
// network, decides (that memory is gone).
//
// Receive entries are a number: which one is filled is the host's own business. They come back at
// once, or late where the scenario says that they are scarce.
#include "tests/sim/responder_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/sim/pattern.h"

namespace vrdma::sim {

using transport::ExecuteResult;
using transport::ExecuteStatus;
using transport::Inbound;
using transport::Operation;

namespace {

bool inside(uint64_t address, uint32_t length, uint64_t base, uint64_t bytes) {
    return address >= base && address - base <= bytes && length <= bytes - (address - base);
}

bool is_send(Operation operation) {
    return operation == Operation::Send || operation == Operation::SendImm ||
           operation == Operation::SendInvalidate;
}

}  // namespace

ResponderMemory::ResponderMemory(const ConnectionConfig& config, const OperationMix& mix,
                                 uint32_t ring_bytes, Ledger& ledger, Random random)
    : config_(config),
      ledger_(ledger),
      random_(random),
      target_(ring_bytes),
      entry_(mix.max_length),
      available_(config.receives) {
    const auto key = static_cast<uint32_t>(random_.next()) & ~7U;
    keys_ = {.target_key = key,
             .source_key = key + 1,
             .gone_key = key + 2,
             .word_key = key + 3,
             .window_key = key + 4,
             .target = random_.next() >> 2,
             .source = random_.next() >> 2,
             .words = (random_.next() >> 2) & ~uint64_t{7},
             .target_bytes = ring_bytes};
}

ExecuteStatus ResponderMemory::check(const Inbound& in) const {
    if (transport::is_atomic(in.operation)) {
        return in.rkey == keys_.word_key && in.remote_address % 8 == 0 &&
                       inside(in.remote_address, 8, keys_.words, sizeof words_)
                   ? ExecuteStatus::Ok
                   : ExecuteStatus::NakRemoteAccess;
    }
    if (in.operation == Operation::SendInvalidate && in.rkey % 8 != keys_.window_key % 8) {
        return ExecuteStatus::NakRemoteAccess;
    }
    if (is_send(in.operation)) {
        return in.offset <= entry_.size() && in.length <= entry_.size() - in.offset
                   ? ExecuteStatus::Ok
                   : ExecuteStatus::NakInvalidRequest;
    }
    const uint32_t total = in.operation == Operation::Read ? in.length : in.total;
    if (total == 0) {
        return ExecuteStatus::Ok;  // IBA 9.7.4.1.5: no key is looked at
    }
    if (in.operation == Operation::Read) {
        return gather(in.rkey, in.remote_address, total) != nullptr || in.rkey == keys_.gone_key
                   ? ExecuteStatus::Ok
                   : ExecuteStatus::NakRemoteAccess;
    }
    return in.rkey == keys_.target_key &&
                   inside(in.remote_address, total, keys_.target, target_.size())
               ? ExecuteStatus::Ok
               : ExecuteStatus::NakRemoteAccess;
}

const std::byte* ResponderMemory::gather(uint32_t rkey, uint64_t address, uint32_t length) const {
    if (rkey == keys_.source_key && inside(address, length, keys_.source, pattern_table().size())) {
        return pattern_table().data() + (address - keys_.source);
    }
    if (rkey == keys_.target_key && inside(address, length, keys_.target, target_.size())) {
        return target_.data() + (address - keys_.target);
    }
    return nullptr;
}

bool ResponderMemory::take_entry(const Inbound& in) {
    if (in.restarted && taken_) {  // UC: the unfinished message gives its entry back
        taken_ = false;
        ++available_;
    }
    const bool needs =
        (is_send(in.operation) && in.first) || (in.operation == Operation::WriteImm && in.last);
    if (!needs) {
        return true;
    }
    if (available_ == 0) {
        return false;
    }
    --available_;
    taken_ = true;
    return true;
}

void ResponderMemory::finish_entry(Instant now) {
    taken_ = false;
    if (random_.chance(config_.scarce)) {
        const Instant back = now + random_.between(Duration{0}, config_.scarce_time);
        late_.insert(std::ranges::upper_bound(late_, back), back);
    } else {
        ++available_;
    }
}

void ResponderMemory::post_receives(Instant now) {
    while (!late_.empty() && late_.front() <= now) {
        late_.pop_front();
        ++available_;
    }
}

void ResponderMemory::restart() {
    late_.clear();
    available_ = config_.receives;
    taken_ = false;
}

ExecuteResult ResponderMemory::execute_atomic(const Inbound& in) {
    uint64_t& word = words_[(in.remote_address - keys_.words) / 8];
    const uint64_t original = word;
    if (in.operation == Operation::FetchAdd) {
        word += in.swap_or_add;
    } else if (word == in.compare) {
        word = in.swap_or_add;
    }
    return {.original = original};
}

void ResponderMemory::store(const Inbound& in, std::span<const std::byte> payload) {
    if (payload.empty()) {
        return;
    }
    std::byte* to =
        is_send(in.operation) ? entry_.data() : target_.data() + (in.remote_address - keys_.target);
    std::memcpy(to + in.offset, payload.data(), payload.size());
}

// A window ends when all before it have and none after it: each once, in order, whatever the
// network does.
void ResponderMemory::end_window(const Inbound& in) {
    const uint32_t due = keys_.window(windows_ended_);
    if (in.rkey != due) {
        const auto behind = static_cast<int32_t>(in.rkey - due);
        ledger_.accuse(
            behind < 0 ? Check::ExactlyOnce : Check::InOrder,
            fmt::format("ended the window of key {:#x}, that of {:#x} is due", in.rkey, due));
    }
    ++windows_ended_;
}

ExecuteResult ResponderMemory::execute(const Inbound& in, std::span<const std::byte> payload,
                                       Instant now) {
    if (!take_entry(in)) {
        return {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = config_.rnr_timer};
    }
    const Posted* due = ledger_.next_to_execute();
    if (due != nullptr && due->fate == Fate::MemoryGone && due->message.length > 0) {
        return {.status = ExecuteStatus::NakRemoteOperational};
    }
    if (const ExecuteStatus status = check(in); status != ExecuteStatus::Ok) {
        return {.status = status};
    }
    ExecuteResult result;
    if (transport::is_atomic(in.operation)) {
        result = execute_atomic(in);
    } else {
        store(in, payload);
    }
    if (in.operation == Operation::SendInvalidate) {
        end_window(in);
    }
    const Posted* posted = ledger_.on_executed(in, payload);
    if (taken_ && in.last) {
        if (posted != nullptr) {
            ledger_.on_received(*posted, in, entry_);
        }
        finish_entry(now);
    }
    return result;
}

ExecuteResult ResponderMemory::reexecute(const Inbound& in) {
    ledger_.on_reexecuted(in);
    return {.status = check(in)};
}

}  // namespace vrdma::sim
