// Copies into memory that somebody else may be polling.
//
// Programs poll the last byte of a message and then read the rest, so bytes must become visible in
// ascending order: stores go up, naturally aligned 8-byte words are stored whole, and the last
// cache line comes last. memcpy promises none of that and breaks it in practice.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vrdma {

// Ascending stores; leaves the data in the cache. Source and destination may be changed by others
// meanwhile; they must not overlap.
void copy_ascending(std::byte* to, const std::byte* from, size_t length);

// Past the cache (non-temporal body, store fence, ordinary last line): for data that does not fit
// there. Same visibility promise.
void copy_streaming(std::byte* to, const std::byte* from, size_t length);

// A message at least this long is copied past the cache: from here on the destination rarely stays
// in L2, and skipping the read-for-ownership wins 45-85 % (docs/performance.md).
inline constexpr size_t kStreamingBytes = size_t{256} << 10;

}  // namespace vrdma
