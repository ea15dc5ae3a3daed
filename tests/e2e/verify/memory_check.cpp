#include "tests/e2e/verify/memory_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

// Between rounds an arena holds a background that depends on the position. A round's sources are
// laid over it, the transfers change the targets, and afterwards each byte of the window must be
// source, target or background. The window is what the plan used; outside of it check_idle() looks
// now and then. Two kinds of bytes are not specified: the GRH in front of a UD message, and the
// result of a FETCH_ADD on a counter, whose results are checked together.
//
// A counter is added to by several QPs at once, in no defined order. Whatever the order, sorted by
// their results the additions must form an unbroken chain from the old value to the new one.

namespace vrdma::verify {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Mismatch;
using verbs_util::Pattern;
using verbs_util::Result;

constexpr std::uint32_t kWord = 8;

Result<void> wrong(const std::string& what, std::uint32_t offset, const Mismatch& mismatch) {
    return fail(ErrorKind::kVerification,
                fmt::format("{} at arena offset {:#x}: {}", what, offset, mismatch.describe()));
}

}  // namespace

MemoryCheck::MemoryCheck(std::byte* arena, unsigned side, std::uint64_t seed)
    : arena_(arena), side_(side), background_(seed) {
    background_.fill(arena_, kArenaBytes);
    std::memcpy(arena_ + kCounterOffset, &counter_, kWord);
}

void MemoryCheck::prepare(const RoundPlan& plan) {
    for (const Operation& operation : plan.operations) {
        const Pattern content(operation.content);
        if (operation.initiator == side_) {
            const bool source = is_send(operation.opcode) || is_write(operation.opcode);
            if (!source || operation.sends_from != kNone) {
                continue;
            }
            std::uint64_t done = 0;
            for (std::uint32_t i = 0; i < operation.local.count; ++i) {
                const Piece& piece = plan.pieces[operation.local.first + i];
                content.fill(arena_ + piece.offset, piece.length, done);
                done += piece.length;
            }
        } else if (operation.opcode == Opcode::kRead && operation.reads_from == kNone) {
            content.fill(arena_ + operation.remote_offset, operation.size);
        } else if (is_atomic(operation.opcode) && !operation.on_counter) {
            std::memcpy(arena_ + operation.remote_offset, &operation.before, kWord);
        }
    }
}

void MemoryCheck::forget_source(const RoundPlan& plan, const Operation& operation) {
    for (std::uint32_t i = 0; i < operation.local.count; ++i) {
        const Piece& piece = plan.pieces[operation.local.first + i];
        background_.fill(arena_ + piece.offset, piece.length, piece.offset);
    }
}

void MemoryCheck::expect_pieces(const RoundPlan& plan, const PieceRange& range,
                                std::uint32_t unspecified, std::uint32_t size,
                                std::uint32_t operation, const char* role) {
    std::uint64_t done = 0;
    for (std::uint32_t i = 0; i < range.count && size + unspecified > 0; ++i) {
        Piece piece = plan.pieces[range.first + i];
        const std::uint32_t open = std::min(unspecified, piece.length);
        if (open > 0) {
            Region region;
            region.offset = piece.offset;
            region.length = open;
            regions_.push_back(region);
            unspecified -= open;
            piece.offset += open;
            piece.length -= open;
        }
        const std::uint32_t used = std::min(size, piece.length);
        if (used > 0) {
            Region region;
            region.offset = piece.offset;
            region.length = used;
            region.operation = operation;
            region.skip = done;
            region.role = role;
            regions_.push_back(region);
            done += used;
            size -= used;
        }
    }
}

void MemoryCheck::expect_word(std::uint32_t offset, std::uint64_t value, std::uint32_t operation,
                              const char* role) {
    Region region;
    region.offset = offset;
    region.length = kWord;
    region.operation = operation;
    region.role = role;
    region.word = true;
    region.value = value;
    regions_.push_back(region);
}

void MemoryCheck::expect_own(const RoundPlan& plan, std::uint32_t index) {
    const Operation& operation = plan.operations[index];
    if (operation.on_counter) {
        expect_pieces(plan, operation.local, kWord, 0, index, "");
    } else if (is_atomic(operation.opcode)) {
        expect_word(plan.pieces[operation.local.first].offset, operation.before, index,
                    "returned value");
    } else if (operation.opcode == Opcode::kRead) {
        expect_pieces(plan, operation.local, 0, operation.size, index, "data read");
    } else if (!operation.inline_data && operation.sends_from == kNone) {
        expect_pieces(plan, operation.local, 0, operation.size, index, "source");
    }
}

void MemoryCheck::expect_target(const RoundPlan& plan, std::uint32_t index) {
    const Operation& operation = plan.operations[index];
    Region region;
    region.offset = operation.remote_offset;
    region.length = operation.size;
    region.operation = index;
    if (is_write(operation.opcode) && !operation.overwritten) {
        region.role = "data written";
        regions_.push_back(region);
    } else if (operation.opcode == Opcode::kRead && operation.reads_from == kNone) {
        region.role = "memory that was only read";
        regions_.push_back(region);
    } else if (is_atomic(operation.opcode) && !operation.on_counter) {
        expect_word(operation.remote_offset, operation.after, index, "word");
    }
}

void MemoryCheck::expect_received(const RoundPlan& plan, const CompletionCheck& completions) {
    for (std::uint32_t i = 0; i < plan.receives.size(); ++i) {
        const Receive& receive = plan.receives[i];
        if (receive.side != side_) {
            continue;
        }
        const std::uint32_t index = receive.shared ? completions.taker_of(i) : receive.operation;
        if (index == kNone || !is_send(plan.operations[index].opcode)) {
            continue;
        }
        const std::uint32_t grh = completions.datagram(index) ? kGrhBytes : 0;
        expect_pieces(plan, receive.pieces, grh, plan.operations[index].size, index,
                      "data received");
    }
}

Result<void> MemoryCheck::check_background(std::uint32_t from, std::uint32_t to) const {
    if (from >= to) {
        return {};
    }
    const auto mismatch = background_.check(arena_ + from, to - from, from);
    return mismatch ? wrong("memory outside of every target has changed", from, *mismatch)
                    : Result<void>{};
}

std::string MemoryCheck::neighbours(const RoundPlan& plan, std::size_t behind) const {
    const auto name = [&](std::size_t region) {
        const std::uint32_t index = regions_[region].operation;
        return index == kNone
                   ? std::string("unspecified bytes")
                   : fmt::format("operation {} ({})", index, describe(plan.operations[index]));
    };
    std::string text;
    if (behind > 0) {
        const Region& before = regions_[behind - 1];
        text += fmt::format("; before it until {:#x}: {}", before.offset + before.length,
                            name(behind - 1));
    }
    if (behind < regions_.size()) {
        text += fmt::format("; behind it from {:#x}: {}", regions_[behind].offset, name(behind));
    }
    return text;
}

Result<void> MemoryCheck::check_regions(const RoundPlan& plan) const {
    std::uint32_t checked = plan.windows[side_].begin;
    for (std::size_t i = 0; i < regions_.size(); ++i) {
        const Region& region = regions_[i];
        if (auto gap = check_background(checked, region.offset); !gap) {
            gap.error().what += neighbours(plan, i);
            return gap;
        }
        checked = region.offset + region.length;
        if (region.operation == kNone) {
            continue;
        }
        const Operation& operation = plan.operations[region.operation];
        std::optional<Mismatch> mismatch;
        if (region.word) {
            std::uint64_t found = 0;
            std::memcpy(&found, arena_ + region.offset, kWord);
            if (found != region.value) {
                mismatch = Mismatch{0, kWord, region.value, found};
            }
        } else {
            mismatch = Pattern(operation.content)
                           .check(arena_ + region.offset, region.length, region.skip);
        }
        if (mismatch) {
            return wrong(fmt::format("operation {}: {}: {} is wrong, {} bytes from byte {} of the "
                                     "message",
                                     region.operation, describe(operation), region.role,
                                     region.length, region.skip),
                         region.offset, *mismatch);
        }
    }
    auto rest = check_background(checked, plan.windows[side_].end);
    if (!rest) {
        rest.error().what += neighbours(plan, regions_.size());
    }
    return rest;
}

Result<void> MemoryCheck::check_counter(const RoundPlan& plan) {
    struct Addition {
        std::uint64_t found;
        std::uint64_t added;
    };
    std::vector<Addition> additions;
    for (const Operation& operation : plan.operations) {
        if (!operation.on_counter) {
            continue;
        }
        if (operation.initiator != side_) {
            counter_ += operation.operand;
            continue;
        }
        Addition addition{0, operation.operand};
        std::memcpy(&addition.found, arena_ + plan.pieces[operation.local.first].offset, kWord);
        additions.push_back(addition);
    }
    std::uint64_t found = 0;
    std::memcpy(&found, arena_ + kCounterOffset, kWord);
    if (found != counter_) {
        return wrong("the counter is wrong", kCounterOffset, Mismatch{0, kWord, counter_, found});
    }
    std::sort(additions.begin(), additions.end(),
              [](const Addition& a, const Addition& b) { return a.found < b.found; });
    for (const Addition& addition : additions) {
        if (addition.found != remote_counter_) {
            return fail(ErrorKind::kVerification,
                        fmt::format("results of FETCH_ADD on the counter form no chain: expected "
                                    "{:#x}, the next result is {:#x}",
                                    remote_counter_, addition.found));
        }
        remote_counter_ += addition.added;
    }
    return {};
}

Result<void> MemoryCheck::check_round(const RoundPlan& plan, const CompletionCheck& completions) {
    regions_.clear();
    for (std::uint32_t i = 0; i < plan.operations.size(); ++i) {
        if (plan.operations[i].initiator == side_) {
            expect_own(plan, i);
        } else {
            expect_target(plan, i);
        }
    }
    expect_received(plan, completions);
    std::erase_if(regions_, [](const Region& region) { return region.length == 0; });
    std::sort(regions_.begin(), regions_.end(),
              [](const Region& a, const Region& b) { return a.offset < b.offset; });
    if (auto right = check_regions(plan); !right) {
        return right;
    }
    if (auto right = check_counter(plan); !right) {
        return right;
    }
    const Window& window = plan.windows[side_];
    background_.fill(arena_ + window.begin, window.end - window.begin, window.begin);
    return {};
}

Result<void> MemoryCheck::check_idle() const {
    auto right = check_background(0, kCounterOffset);
    return right ? check_background(kCounterOffset + kWord, kArenaBytes) : right;
}

}  // namespace vrdma::verify
