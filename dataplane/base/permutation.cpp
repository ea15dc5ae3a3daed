// SPECK32/64 in its plain form: 22 rounds of add, rotate, exclusive-or on 16-bit halves, about 40
// ns. That is paid when a queue pair connects or a key is first seen; after that callers keep the
// slot as a hint and compare the entry's own number.
#include "dataplane/base/permutation.h"

#include <bit>

namespace vrdma {
namespace {

constexpr int kAlpha = 7;
constexpr int kBeta = 2;
constexpr uint32_t kHalfBits = 12;
constexpr uint32_t kHalfMask = (1U << kHalfBits) - 1;

uint16_t add(uint16_t a, uint16_t b) {
    return static_cast<uint16_t>(a + b);
}
uint16_t sub(uint16_t a, uint16_t b) {
    return static_cast<uint16_t>(a - b);
}
uint16_t exclusive_or(uint16_t a, uint16_t b) {
    return static_cast<uint16_t>(a ^ b);
}

}  // namespace

Permutation32::Permutation32(uint64_t key) {
    std::array<uint16_t, kRounds + 3> left{};
    uint16_t right = static_cast<uint16_t>(key);
    for (unsigned i = 0; i < 3; ++i) {
        left[i] = static_cast<uint16_t>(key >> (16 * (i + 1)));
    }
    for (uint16_t i = 0; i < kRounds; ++i) {
        round_keys_[i] = right;
        left[i + 3U] = exclusive_or(add(right, std::rotr(left[i], kAlpha)), i);
        right = exclusive_or(std::rotl(right, kBeta), left[i + 3U]);
    }
}

uint32_t Permutation32::encrypt(uint32_t value) const {
    uint16_t x = static_cast<uint16_t>(value >> 16);
    uint16_t y = static_cast<uint16_t>(value);
    for (const uint16_t key : round_keys_) {
        x = exclusive_or(add(std::rotr(x, kAlpha), y), key);
        y = exclusive_or(std::rotl(y, kBeta), x);
    }
    return static_cast<uint32_t>(x) << 16 | y;
}

uint32_t Permutation32::decrypt(uint32_t value) const {
    uint16_t x = static_cast<uint16_t>(value >> 16);
    uint16_t y = static_cast<uint16_t>(value);
    for (unsigned i = kRounds; i-- > 0;) {
        y = std::rotr(exclusive_or(y, x), kBeta);
        x = std::rotl(sub(exclusive_or(x, round_keys_[i]), y), kAlpha);
    }
    return static_cast<uint32_t>(x) << 16 | y;
}

uint32_t Permutation24::mix(uint32_t round, uint32_t half) const {
    return round_.encrypt(round << 16 | half) & kHalfMask;
}

uint32_t Permutation24::encrypt(uint32_t value) const {
    uint32_t left = value >> kHalfBits & kHalfMask;
    uint32_t right = value & kHalfMask;
    for (uint32_t round = 0; round < kRounds; ++round) {
        const uint32_t next = left ^ mix(round, right);
        left = right;
        right = next;
    }
    return left << kHalfBits | right;
}

uint32_t Permutation24::decrypt(uint32_t value) const {
    uint32_t left = value >> kHalfBits & kHalfMask;
    uint32_t right = value & kHalfMask;
    for (uint32_t round = kRounds; round-- > 0;) {
        const uint32_t previous = right ^ mix(round, left);
        right = left;
        left = previous;
    }
    return left << kHalfBits | right;
}

}  // namespace vrdma
