#include "tests/e2e/last_byte_poll/message.h"

#include <algorithm>
#include <cstring>

// What a consumer does that polls the end of a buffer: load the end with acquire order, then use
// everything in front of it. The checks after that load are ordinary loads; x86 does not reorder
// them, so a stale byte means that the writer stored the end before it.
//
// A look compares in blocks, so that it takes hardly longer than the copy it races with.

namespace vrdma::last_byte {

namespace {

constexpr std::uint64_t kBodySeed = 0x626f6479;
constexpr std::uint64_t kStampSeed = 0x7374616d;
constexpr std::size_t kBlock = 256;

bool ends_on_a_word(const std::byte* at, std::size_t size) {
    return size >= kStampBytes && (reinterpret_cast<std::uintptr_t>(at) + size) % kStampBytes == 0;
}

/// Offset of the stale byte in [from, to) of the body.
std::optional<std::size_t> stale_in_body(const std::byte* at, const verbs_util::Pattern& body,
                                         std::size_t from, std::size_t to) {
    const auto mismatch = body.check(at + from, to - from, from);
    return mismatch ? std::optional<std::size_t>(from + mismatch->offset) : std::nullopt;
}

}  // namespace

verbs_util::Pattern body_of(std::uint64_t number) {
    return verbs_util::Pattern(kBodySeed + number % kBodies);
}

std::uint64_t stamp_of(std::uint64_t number) {
    // Every byte of the low seven is the number plus a constant: never the same twice in a row.
    std::uint64_t stamp = 0;
    const std::uint64_t mixed = verbs_util::mix(kStampSeed);
    for (unsigned i = 0; i + 1 < kStampBytes; ++i) {
        stamp |= ((number + (mixed >> (8 * i))) & 0xffU) << (8 * i);
    }
    return stamp | (number & 0xffU) << 56;
}

void write_body(std::byte* at, std::size_t size, std::uint64_t number) {
    body_of(number).fill(at, size - std::min(size, kStampBytes));
}

void write_stamp(std::byte* at, std::size_t size, std::uint64_t number) {
    const std::uint64_t stamp = stamp_of(number);
    const std::size_t used = std::min(size, kStampBytes);
    const auto* bytes = reinterpret_cast<const std::byte*>(&stamp);
    std::memcpy(at + size - used, bytes + (kStampBytes - used), used);
}

bool end_is_visible(const std::byte* at, std::size_t size, std::uint64_t number) {
    if (ends_on_a_word(at, size)) {
        const auto* word = reinterpret_cast<const std::uint64_t*>(at + size - kStampBytes);
        return __atomic_load_n(word, __ATOMIC_ACQUIRE) == stamp_of(number);
    }
    const auto* last = reinterpret_cast<const std::uint8_t*>(at + size - 1);
    return __atomic_load_n(last, __ATOMIC_ACQUIRE) == static_cast<std::uint8_t>(number);
}

std::optional<std::size_t> find_stale(const std::byte* at, std::size_t size, std::uint64_t number,
                                      LookOrder order) {
    const std::size_t stamp_bytes = std::min(size, kStampBytes);
    const std::size_t body_bytes = size - stamp_bytes;
    const verbs_util::Pattern body = body_of(number);
    const std::size_t blocks = (body_bytes + kBlock - 1) / kBlock;
    const std::size_t start = order == LookOrder::kFromMiddle ? blocks / 2 : 0;
    for (std::size_t i = 0; i < blocks; ++i) {
        const std::size_t step = order == LookOrder::kBackward ? blocks - 1 - i : start + i;
        const std::size_t block = step >= blocks ? step - blocks : step;
        const std::size_t from = block * kBlock;
        if (auto stale = stale_in_body(at, body, from, std::min(from + kBlock, body_bytes))) {
            return stale;
        }
    }
    if (!ends_on_a_word(at, size)) {
        const std::uint64_t stamp = stamp_of(number);
        const auto* expected =
            reinterpret_cast<const std::byte*>(&stamp) + (kStampBytes - stamp_bytes);
        for (std::size_t i = 0; i + 1 < stamp_bytes; ++i) {
            if (at[body_bytes + i] != expected[i]) {
                return body_bytes + i;
            }
        }
    }
    return std::nullopt;
}

}  // namespace vrdma::last_byte
