// Numbers as the wire has them: most significant byte first, at any alignment.
//
// The caller has checked that the bytes are there.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vrdma::wire {

static_assert(std::endian::native == std::endian::little, "x86-64 and arm64 only");

[[nodiscard]] inline uint8_t load8(const std::byte* at) {
    return std::to_integer<uint8_t>(*at);
}

[[nodiscard]] inline uint16_t load16(const std::byte* at) {
    uint16_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return __builtin_bswap16(value);
}

[[nodiscard]] inline uint32_t load32(const std::byte* at) {
    uint32_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

// The low 24 bits of the 32 at `at`.
[[nodiscard]] inline uint32_t load24(const std::byte* at) {
    return load32(at) & 0xffffffU;
}

[[nodiscard]] inline uint64_t load64(const std::byte* at) {
    uint64_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

inline void store8(std::byte* at, uint8_t value) {
    *at = std::byte{value};
}

inline void store16(std::byte* at, uint16_t value) {
    value = __builtin_bswap16(value);
    std::memcpy(at, &value, sizeof value);
}

inline void store32(std::byte* at, uint32_t value) {
    value = __builtin_bswap32(value);
    std::memcpy(at, &value, sizeof value);
}

inline void store64(std::byte* at, uint64_t value) {
    value = __builtin_bswap64(value);
    std::memcpy(at, &value, sizeof value);
}

// The bytes as they lie there, the first one lowest.
template <class Word>
[[nodiscard]] inline Word load_raw(const void* at) {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

template <class Word>
inline void store_raw(std::byte* at, Word word) {
    std::memcpy(at, &word, sizeof word);
}

}  // namespace vrdma::wire
