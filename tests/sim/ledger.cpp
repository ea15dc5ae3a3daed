// The checkers of one direction.
//
// Execution is judged by a cursor that moves over the posted messages byte by byte: each executed
// packet must be exactly what stands under the cursor. So once, in order and complete are one
// comparison; only when it fails is it asked what the packet is instead, to name the check. UC may
// skip messages, never return to one.
//
// READ data and atomic results have such a cursor at the requester, too. A completion must be that
// of the oldest message, and a success needs the cursor behind the message.
#include "tests/sim/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace vrdma::sim {

using transport::CompletionStatus;
using transport::Inbound;
using transport::Operation;

namespace {

// The operation that a packet shows: immediate data comes with the last one only.
Operation shown(Operation operation, bool last) {
    if (!last && (operation == Operation::SendImm || operation == Operation::SendInvalidate)) {
        return Operation::Send;
    }
    if (!last && operation == Operation::WriteImm) {
        return Operation::Write;
    }
    return operation;
}

bool is_send(Operation operation) {
    return operation == Operation::Send || operation == Operation::SendImm ||
           operation == Operation::SendInvalidate;
}

std::string name_of(const Inbound& in) {
    return fmt::format("operation {} offset {} length {} address {:#x} first {} last {}",
                       static_cast<int>(in.operation), in.offset, in.length, in.remote_address,
                       in.first, in.last);
}

}  // namespace

CompletionStatus status_of(Fate fate) {
    switch (fate) {
        case Fate::Success:
            return CompletionStatus::Success;
        case Fate::WrongKey:
        case Fate::WrongRange:
        case Fate::ResponseGone:
            return CompletionStatus::RemoteAccess;
        case Fate::TooLong:
            return CompletionStatus::RemoteInvalidRequest;
        case Fate::MemoryGone:
            return CompletionStatus::RemoteOperational;
        case Fate::LocalSourceGone:
        case Fate::LocalTargetGone:
            return CompletionStatus::LocalProtection;
    }
    return CompletionStatus::Success;
}

Posted& Ledger::add(Posted posted) {
    posted.message.id = static_cast<uint32_t>(base_ + posted_.size());
    posted_.push_back(posted);
    return posted_.back();
}

Posted* Ledger::find(uint32_t id) {
    const uint64_t serial = base_ + (id - static_cast<uint32_t>(base_));
    return has(serial) ? &at(serial) : nullptr;
}

Posted* Ledger::next_to_execute() {
    return has(executing_) ? &at(executing_) : nullptr;
}

uint64_t Ledger::ring_floor(uint64_t otherwise) const {
    return has(completing_) ? posted_[completing_ - base_].ring_begin : otherwise;
}

bool Ledger::same_shape(const Posted& posted, const Inbound& in) {
    const transport::Message& m = posted.message;
    if (m.operation == Operation::Read) {
        return in.operation == Operation::Read && in.rkey == m.rkey &&
               in.remote_address >= m.remote_address &&
               in.remote_address - m.remote_address <= m.length - in.length;
    }
    if (transport::is_atomic(m.operation)) {
        return in.operation == m.operation && in.rkey == m.rkey &&
               in.remote_address == m.remote_address && in.swap_or_add == m.swap_or_add &&
               (m.operation == Operation::FetchAdd || in.compare == m.compare);
    }
    const bool last = in.length <= m.length && in.offset == m.length - in.length;
    return in.operation == shown(m.operation, in.last) && in.last == last &&
           in.length <= m.length && in.offset <= m.length - in.length &&
           in.first == (in.offset == 0) &&
           (in.operation != Operation::SendInvalidate || in.rkey == m.rkey) &&
           (is_send(m.operation) || (in.remote_address == m.remote_address && in.rkey == m.rkey));
}

bool Ledger::same_bytes(const Posted& posted, uint32_t offset, std::span<const std::byte> payload) {
    return payload.empty() ||
           (posted.data != nullptr &&
            std::memcmp(posted.data + offset, payload.data(), payload.size()) == 0);
}

uint32_t Ledger::offset_of(const Posted& posted, const Inbound& in) {
    return posted.message.operation == Operation::Read
               ? static_cast<uint32_t>(in.remote_address - posted.message.remote_address)
               : in.offset;
}

void Ledger::accuse_execution(const Inbound& in, std::span<const std::byte> payload) {
    for (uint64_t serial = base_; serial < base_ + posted_.size(); ++serial) {
        const Posted& other = at(serial);
        if (!same_shape(other, in)) {
            continue;
        }
        const uint32_t offset = offset_of(other, in);
        const bool zero = in.length == 0 && other.done;
        if (same_bytes(other, offset, payload) && (offset < other.executed || zero)) {
            return accuse(Check::ExactlyOnce,
                          fmt::format("message {} executed again: {}", serial, name_of(in)));
        }
        if (same_bytes(other, offset, payload) && serial >= executing_ &&
            (serial > executing_ || offset > other.executed)) {
            return accuse(Check::InOrder, fmt::format("message {} executed, message {} is due: {}",
                                                      serial, executing_, name_of(in)));
        }
    }
    const Posted* due = next_to_execute();
    if (due == nullptr) {
        return accuse(Check::ExactlyOnce, "executed what was never posted: " + name_of(in));
    }
    const bool shape = same_shape(*due, in) && offset_of(*due, in) == due->executed;
    accuse(shape ? Check::RightBytes : Check::InOrder,
           fmt::format("message {} (operation {}, {} of {} bytes done) is due, executed: {}",
                       executing_, static_cast<int>(due->message.operation), due->executed,
                       due->message.length, name_of(in)));
}

// UC: the cursor goes to the first message from here on that the packet can begin.
bool Ledger::skip_to_uc(const Inbound& in, std::span<const std::byte> payload) {
    if (!in.first) {
        return has(executing_) && at(executing_).begun;
    }
    uint64_t serial = executing_;
    if (has(serial) && at(serial).begun) {
        ++serial;
    }
    for (; has(serial); ++serial) {
        const Posted& posted = at(serial);
        // Messages without bytes differ by this only.
        const bool twin =
            !in.last ||
            (in.solicited == posted.message.solicited &&
             (in.imm == posted.message.imm || !transport::has_imm(posted.message.operation)));
        if (twin && same_shape(posted, in) && same_bytes(posted, in.offset, payload)) {
            executing_ = serial;
            return true;
        }
    }
    return false;
}

Posted* Ledger::on_executed(const Inbound& in, std::span<const std::byte> payload) {
    if (service_ == wire::Service::Uc && !skip_to_uc(in, payload)) {
        accuse_execution(in, payload);
        return nullptr;
    }
    Posted* due = next_to_execute();
    if (due == nullptr || !same_shape(*due, in) || offset_of(*due, in) != due->executed ||
        !same_bytes(*due, due->executed, payload)) {
        accuse_execution(in, payload);
        return nullptr;
    }
    due->begun = true;
    due->executed += transport::is_atomic(in.operation) ? due->message.length : in.length;
    if (due->executed == due->message.length) {
        due->done = true;
        ++executing_;
    }
    return due;
}

void Ledger::on_reexecuted(const Inbound& in) {
    const bool known = std::ranges::any_of(posted_, [&](const Posted& p) {
        return p.message.operation == Operation::Read && p.begun && same_shape(p, in) &&
               offset_of(p, in) <= p.executed && in.length <= p.executed - offset_of(p, in);
    });
    if (!known && (base_ == 0 || in.operation != Operation::Read)) {
        accuse(Check::ExactlyOnce, "executed again what is no READ done before: " + name_of(in));
    }
}

void Ledger::on_received(const Posted& posted, const Inbound& in,
                         std::span<const std::byte> entry) {
    const transport::Message& m = posted.message;
    if (in.total != m.length || in.solicited != m.solicited ||
        (transport::has_imm(m.operation) && in.imm != m.imm)) {
        accuse(Check::Receive,
               fmt::format("message {} of {} bytes, solicited {}, imm {:#x}: {} bytes, {}, {:#x}",
                           m.id, m.length, m.solicited, m.imm, in.total, in.solicited, in.imm));
    }
    if (is_send(m.operation) && (entry.size() < m.length ||
                                 (m.length > 0 && !same_bytes(posted, 0, entry.first(m.length))))) {
        accuse(Check::RightBytes, fmt::format("receive entry of message {}", m.id));
    }
}

void Ledger::on_sent(uint32_t id) {
    Posted* posted = find(id);
    if (posted == nullptr) {
        return accuse(Check::ExactlyOnce, fmt::format("message {} sent, never posted", id));
    }
    if (!posted->sent) {
        posted->sent = true;
        check_leaving(*posted, base_ + (id - static_cast<uint32_t>(base_)));
    }
}

void Ledger::check_leaving(const Posted& posted, uint64_t serial) {
    uint32_t waiting = 0;
    for (uint64_t before = completing_; before < serial; ++before) {
        const Posted& other = at(before);
        const bool waits = transport::has_response(other.message.operation) && !other.answered;
        waiting += waits ? 1 : 0;
        if (posted.message.fence && waits) {
            return accuse(Check::Fence, fmt::format("message {} left before message {} was done",
                                                    serial, before));
        }
    }
    if (transport::has_response(posted.message.operation) &&
        waiting >= max_rd_atomic_ + reads_held_) {
        accuse(Check::RdAtomic,
               fmt::format("message {} left while {} READs and atomics wait", serial, waiting));
    }
}

void Ledger::on_placed(uint32_t id, uint32_t offset, std::span<const std::byte> payload) {
    Posted* posted = find(id);
    if (posted == nullptr || posted->message.operation != Operation::Read ||
        posted->message.length < payload.size() ||
        offset > posted->message.length - payload.size()) {
        return accuse(Check::Bounds, fmt::format("placed {} bytes at {} of message {}",
                                                 payload.size(), offset, id));
    }
    for (uint64_t before = completing_; has(before) && &at(before) != posted; ++before) {
        if (transport::has_response(at(before).message.operation) && !at(before).answered) {
            return accuse(Check::InOrder,
                          fmt::format("placed message {}, message {} is due", id, before));
        }
    }
    if (offset != posted->placed || posted->answered) {
        return accuse(
            offset < posted->placed || posted->answered ? Check::ExactlyOnce : Check::InOrder,
            fmt::format("placed {} bytes at {} of message {}, {} are there", payload.size(), offset,
                        id, posted->placed));
    }
    if (!same_bytes(*posted, offset, payload)) {
        return accuse(Check::RightBytes, fmt::format("READ data at {} of message {}", offset, id));
    }
    posted->placed += static_cast<uint32_t>(payload.size());
    posted->answered = posted->placed == posted->message.length;
}

void Ledger::on_response_held(wire::Opcode opcode, bool held) {
    if (opcode == wire::Opcode::RcReadResponseLast || opcode == wire::Opcode::RcReadResponseOnly) {
        reads_held_ += held ? 1 : ~0U;
    }
}

void Ledger::on_lost(uint32_t id) {
    if (Posted* posted = find(id)) {
        posted->answered = true;
    }
}

void Ledger::on_original(uint32_t id, uint64_t original) {
    Posted* posted = find(id);
    if (posted == nullptr || !transport::is_atomic(posted->message.operation) || posted->answered) {
        return accuse(Check::ExactlyOnce, fmt::format("a second result for message {}", id));
    }
    if (original != posted->expected_original) {
        return accuse(Check::RightBytes, fmt::format("atomic {}: {:#x} instead of {:#x}", id,
                                                     original, posted->expected_original));
    }
    posted->answered = true;
}

void Ledger::check_success(const Posted& posted) {
    const transport::Message& m = posted.message;
    if (posted.fate != Fate::Success) {
        return accuse(Check::RightStatus, fmt::format("message {} succeeded", m.id));
    }
    if (service_ != wire::Service::Rc) {
        return;
    }
    if (!posted.done || (transport::has_response(m.operation) && !posted.answered)) {
        accuse(Check::DataFirst,
               fmt::format("message {} completed: {} of {} bytes executed, {} placed", m.id,
                           posted.executed, m.length, posted.placed));
    }
}

const Posted* Ledger::on_completion(const transport::Completion& completion,
                                    const Circumstances& circumstances) {
    if (!has(completing_) || at(completing_).message.id != completion.id) {
        accuse(Check::CompletionOrder, fmt::format("completion of {}, {} is due, {} are posted",
                                                   completion.id, completing_, this->posted()));
        return nullptr;
    }
    const Posted& posted = at(completing_++);
    const CompletionStatus status = completion.status;
    const bool allowed =
        failed_ ? status == CompletionStatus::Flushed
                : status == CompletionStatus::Success || status == status_of(posted.fate) ||
                      (status == CompletionStatus::Flushed && circumstances.flushed) ||
                      (status == CompletionStatus::RetryExceeded && circumstances.retry_exceeded) ||
                      (status == CompletionStatus::RnrRetryExceeded && circumstances.rnr_exceeded);
    if (!allowed) {
        accuse(Check::RightStatus,
               fmt::format("message {} (operation {}, fate {}) completed with status {}{}",
                           completion.id, static_cast<int>(posted.message.operation),
                           static_cast<int>(posted.fate), static_cast<int>(status),
                           failed_ ? " after an error" : ""));
    }
    if (status != CompletionStatus::Success) {
        failed_ = true;
        forget();
        return nullptr;
    }
    ++succeeded_;
    check_success(posted);
    const uint64_t serial = completing_ - 1;
    forget();
    return has(serial) ? &at(serial) : nullptr;
}

void Ledger::bury() {
    completing_ = base_ + posted_.size();
}

void Ledger::abandon() {
    completing_ = executing_ = base_ + posted_.size();
    reads_held_ = 0;
    failed_ = false;
}

void Ledger::forget() {
    const size_t remembered = service_ == wire::Service::Uc ? kRememberedUc : kRememberedRc;
    while (base_ + remembered + 1 < completing_) {
        posted_.pop_front();
        ++base_;
    }
    executing_ = std::max(executing_, base_);
}

}  // namespace vrdma::sim
