#include "tools/vrdma-perf/verify_data.h"

#include <fmt/format.h>

#include <cstring>

// The data of a verified run. Each operation has its own byte sequence, so data of another message,
// another slot or an earlier batch is never taken for right. Slots are wider than messages where
// the size is not a multiple of a cache line; the rest of the slot must keep the background.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::Mismatch;
using verbs_util::mix;
using verbs_util::Pattern;
using verbs_util::Result;

constexpr std::uint64_t kMessageDomain = 0x6d657373;
constexpr std::uint64_t kBackgroundDomain = 0x6261636b;
constexpr std::uint64_t kImmediateDomain = 0x696d6d65;
constexpr std::uint64_t kAtomicDomain = 0x61746f6d;

std::uint64_t number(std::uint64_t domain, std::uint64_t seed, std::uint64_t n) {
    return mix(mix(seed ^ domain) ^ n);
}

Result<void> wrong(const Workload& workload, const VerifyBatch& batch, std::uint64_t index,
                   const char* side, const char* part, const Mismatch& mismatch) {
    return verbs_util::fail(
        ErrorKind::kVerification,
        fmt::format("{} number {} of {} bytes, seed {:#x}: {} is wrong at the {}: {}",
                    operation_name(workload.operation), batch.first + index, workload.size,
                    batch.seed, part, side, mismatch.describe()));
}

Result<void> check_rest(const Workload& workload, const VerifyBatch& batch, std::uint64_t index,
                        const std::byte* slot, std::uint64_t used, const char* side) {
    const std::uint64_t stride = workload.layout.stride;
    if (used >= stride) {
        return {};
    }
    const auto mismatch =
        background_pattern(batch).check(slot + used, stride - used, index * stride + used);
    return mismatch ? wrong(workload, batch, index, side, "memory behind the message", *mismatch)
                    : Result<void>{};
}

}  // namespace

Pattern message_pattern(std::uint64_t seed, std::uint64_t n) {
    return Pattern(number(kMessageDomain, seed, n));
}

Pattern background_pattern(const VerifyBatch& batch) {
    return Pattern(number(kBackgroundDomain, batch.seed, batch.first));
}

std::uint32_t immediate_of(std::uint64_t seed, std::uint64_t n) {
    return static_cast<std::uint32_t>(number(kImmediateDomain, seed, n));
}

AtomicPlan atomic_plan(Operation operation, std::uint64_t seed, std::uint64_t n) {
    AtomicPlan plan;
    plan.before = number(kAtomicDomain, seed, n);
    plan.operand = mix(plan.before);
    if (operation == Operation::kFetchAdd) {
        plan.after = plan.before + plan.operand;
    } else {
        const bool equal = n % 2 == 0;
        plan.compare = equal ? plan.before : plan.before ^ 1U;
        plan.after = equal ? plan.operand : plan.before;
    }
    return plan;
}

Result<void> check_slot(const Workload& workload, const VerifyBatch& batch, std::uint64_t index,
                        const std::byte* slot, std::uint64_t skip, const char* side) {
    const auto mismatch =
        message_pattern(batch.seed, batch.first + index).check(slot + skip, workload.size);
    if (mismatch) {
        return wrong(workload, batch, index, side, "data", *mismatch);
    }
    return check_rest(workload, batch, index, slot, skip + workload.size, side);
}

Result<void> check_word_slot(const Workload& workload, const VerifyBatch& batch,
                             std::uint64_t index, const std::byte* slot, std::uint64_t word,
                             const char* side) {
    std::uint64_t found = 0;
    std::memcpy(&found, slot, sizeof found);
    if (found != word) {
        Mismatch mismatch;
        mismatch.wrong_bytes = sizeof found;
        mismatch.expected_word = word;
        mismatch.actual_word = found;
        return wrong(workload, batch, index, side, "the word", mismatch);
    }
    return check_rest(workload, batch, index, slot, sizeof found, side);
}

}  // namespace vrdma::perf
