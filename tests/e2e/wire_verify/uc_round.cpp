#include "tests/e2e/wire_verify/uc_round.h"

#include <fmt/format.h>

#include <algorithm>

// A SEND and a WRITE with immediate data tell of their arrival by the receive they take. Which
// message it was is read off the immediate value, or off a SEND's bytes; a receive belongs to no
// message in particular, because one that is lost leaves its receive to the next. Messages of a
// queue pair arrive in the order in which they were posted, each at most once. A SEND that was lost
// on its way may have left its beginning in the receive that the next one takes.
//
// A WRITE that is not known to have arrived may have left any part of itself: each byte of it is
// either as before or the message's. All other bytes are known.

namespace vrdma::wire_verify {

UcRound::UcRound(std::vector<Operation> operations, std::uint32_t side,
                 std::array<std::span<const std::byte>, 2> before)
    : operations_(std::move(operations)),
      side_(side),
      before_(before),
      taken_(operations_.size(), false) {
    for (const Operation& operation : operations_) {
        if (operation.initiator == side_) {
            continue;
        }
        ++(takes_receive(operation.opcode) ? told_ : silent_);
        if (next_.size() <= operation.queue_pair) {
            next_.resize(operation.queue_pair + 1, 0);
        }
    }
}

std::span<const std::byte> UcRound::data_of(const Operation& operation) const {
    return before_[operation.initiator].subspan(operation.offset, operation.size);
}

bool UcRound::left_over(std::size_t index, std::size_t at, std::byte found) const {
    if (found == kUntouched) {
        return true;
    }
    for (std::size_t i = 0; i < index; ++i) {
        const Operation& lost = operations_[i];
        const bool send = takes_receive(lost.opcode) && lost.opcode != IBV_WR_RDMA_WRITE_WITH_IMM;
        if (send && !taken_[i] && lost.initiator != side_ &&
            lost.queue_pair == operations_[index].queue_pair && at < lost.size &&
            data_of(lost)[at] == found) {
            return true;
        }
    }
    return false;
}

bool UcRound::matches(std::size_t index, const Arrival& arrival) const {
    const Operation& operation = operations_[index];
    const bool write = operation.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    if (operation.initiator == side_ || operation.queue_pair != arrival.queue_pair ||
        !takes_receive(operation.opcode) || write != arrival.write ||
        operation.size != arrival.bytes ||
        has_immediate(operation.opcode) != arrival.immediate.has_value() ||
        (arrival.immediate && *arrival.immediate != operation.immediate)) {
        return false;
    }
    const std::size_t bytes = write ? 0 : operation.size;
    if (bytes > arrival.buffer.size() ||
        !std::ranges::equal(arrival.buffer.first(bytes), data_of(operation).first(bytes))) {
        return false;
    }
    for (std::size_t at = bytes; at < arrival.buffer.size(); ++at) {
        if (!left_over(index, at, arrival.buffer[at])) {
            return false;
        }
    }
    return true;
}

std::optional<std::string> UcRound::take(const Arrival& arrival) {
    if (arrival.queue_pair < next_.size()) {
        for (std::size_t i = next_[arrival.queue_pair]; i < operations_.size(); ++i) {
            if (matches(i, arrival)) {
                next_[arrival.queue_pair] = i + 1;
                taken_[i] = true;
                ++arrived_;
                return std::nullopt;
            }
        }
    }
    return fmt::format(
        "queue pair {}: {} of {} bytes{} is no message that may still arrive, or not whole",
        arrival.queue_pair, arrival.write ? "a WRITE" : "a SEND", arrival.bytes,
        arrival.immediate ? fmt::format(" with immediate {:#x}", *arrival.immediate) : "");
}

std::optional<std::string> UcRound::check(std::span<const std::byte> region) {
    std::vector<std::byte> wanted(before_[side_].begin(), before_[side_].end());
    for (std::size_t i = 0; i < operations_.size(); ++i) {
        const Operation& operation = operations_[i];
        const bool write =
            operation.opcode == IBV_WR_RDMA_WRITE || operation.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
        if (operation.initiator == side_ || !write) {
            continue;
        }
        const auto data = data_of(operation);
        const auto now = region.subspan(operation.offset, operation.size);
        const auto then = std::span(wanted).subspan(operation.offset, operation.size);
        if (taken_[i] || std::ranges::equal(now, data)) {
            std::ranges::copy(data, then.begin());
            found_ += operation.opcode == IBV_WR_RDMA_WRITE ? 1 : 0;
            continue;
        }
        for (std::size_t at = 0; at < data.size(); ++at) {
            then[at] = now[at] == data[at] ? data[at] : then[at];
        }
    }
    const auto wrong = std::ranges::mismatch(region, wanted).in1 - region.begin();
    if (wrong == static_cast<std::ptrdiff_t>(region.size())) {
        return std::nullopt;
    }
    const auto at = static_cast<std::size_t>(wrong);
    return fmt::format("side {}'s byte {} is {:#04x}, expected {:#04x}", side_, at,
                       std::to_integer<unsigned>(region[at]),
                       std::to_integer<unsigned>(wanted[at]));
}

}  // namespace vrdma::wire_verify
