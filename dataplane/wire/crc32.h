// CRC-32 of Ethernet (polynomial 0x04c11db7, bit-reflected), seedable, and fused with a copy.
//
// A state is the plain register: start with 0xffffffff (or icrc.h's), and invert the last one to
// get what zlib calls crc32(). No function allocates or keeps anything; all may run in any thread.
//
// The bytes may change while they are read (they are a tenant's memory): crc32_copy() returns the
// CRC of the bytes that it wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vrdma::wire {

[[nodiscard]] uint32_t crc32_update(uint32_t state, std::span<const std::byte> bytes);

// Copies `length` bytes and continues `state` over them. The ranges do not overlap.
[[nodiscard]] uint32_t crc32_copy(uint32_t state, std::byte* to, const std::byte* from,
                                  size_t length);

// As crc32_update() over `bytes` with the bits of `ones` set: 16 bytes or more, a multiple of 4.
// They are read in words of 8 bytes from the front (the last 4 as one of 4), so that a caller who
// has just stored such words does not wait for them.
[[nodiscard]] uint32_t crc32_masked(uint32_t state, const std::byte* bytes, const std::byte* ones,
                                    size_t length);

// The implementations, each by itself. The functions above take the best one that the CPU has.
enum class CrcMethod : uint8_t {
    Table,         // any CPU: 8 bytes a step
    Carryless,     // PCLMULQDQ and SSE4.1: four 128-bit lanes
    Carryless256,  // VPCLMULQDQ and AVX2: four 256-bit lanes
    Carryless512,  // VPCLMULQDQ and AVX-512: four 512-bit lanes
};
[[nodiscard]] bool crc32_supported(CrcMethod method);
[[nodiscard]] CrcMethod crc32_method();
[[nodiscard]] uint32_t crc32_update_by(CrcMethod method, uint32_t state,
                                       std::span<const std::byte> bytes);
[[nodiscard]] uint32_t crc32_copy_by(CrcMethod method, uint32_t state, std::byte* to,
                                     const std::byte* from, size_t length);
[[nodiscard]] uint32_t crc32_masked_by(CrcMethod method, uint32_t state, const std::byte* bytes,
                                       const std::byte* ones, size_t length);

}  // namespace vrdma::wire
