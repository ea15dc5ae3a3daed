// The constants of the carry-less multiplication method, derived from the polynomial instead of
// copied: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", Intel, 2009; its bit-reflected form.
//
// A register is read with the lowest bit as the highest power of x. A product of two reflected
// 64-bit numbers comes out one bit too low, hence the shift by one of every constant.
#pragma once

#include <cstdint>

namespace vrdma::wire::crc32_fold {

inline constexpr uint32_t kPolynomial = 0xedb88320;  // 0x04c11db7 reflected

// x^n mod P, reflected in 32 bits.
[[nodiscard]] constexpr uint32_t power(unsigned n) {
    uint32_t value = 0x80000000;
    for (unsigned i = 0; i < n; ++i) {
        value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    }
    return value;
}

[[nodiscard]] constexpr uint64_t constant(unsigned n) {
    return uint64_t{power(n)} << 1;
}

// A 128-bit register moves `bits` bits forward: its lower half (which comes first in the message)
// is multiplied by `low`, its upper half by `high`.
struct Fold {
    uint64_t low;
    uint64_t high;
};
[[nodiscard]] constexpr Fold fold_by(unsigned bits) {
    return {.low = constant(bits + 32), .high = constant(bits - 32)};
}

inline constexpr Fold kFold128 = fold_by(128);
inline constexpr Fold kFold256 = fold_by(256);
inline constexpr Fold kFold512 = fold_by(512);
inline constexpr Fold kFold1024 = fold_by(1024);
inline constexpr Fold kFold2048 = fold_by(2048);

// The rest of 64 bits and 32 bits after them (the last step before Barrett's).
inline constexpr uint64_t kFold64 = constant(64);

// P itself with its leading term, reflected in 33 bits.
inline constexpr uint64_t kModulus = uint64_t{kPolynomial} << 1 | 1;

// floor(x^64 / P), reflected in 33 bits: Barrett's constant.
[[nodiscard]] constexpr uint64_t barrett() {
    uint64_t quotient = 0;
    // Long division, highest power first: `rest` is the reflected remainder of what was consumed.
    uint64_t rest = kModulus;  // reflected 33 bits; bit 0 is x^32
    uint64_t value = 1;        // x^32 as the leading 33 bits of x^64
    for (unsigned step = 0; step <= 32; ++step) {
        if ((value & 1) != 0) {
            quotient |= uint64_t{1} << step;
            value ^= rest;
        }
        value >>= 1;
    }
    return quotient;
}
inline constexpr uint64_t kBarrett = barrett();

}  // namespace vrdma::wire::crc32_fold
