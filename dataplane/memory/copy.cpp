// Three phases: bytes up to the first aligned vector of the destination, aligned vector stores, the
// rest. x86 makes stores of one core visible in program order (total store order), so ascending
// program order is ascending visibility, as long as no store crosses a cache line: that is why the
// destination is aligned first. Non-temporal stores are the exception and are fenced before the
// last line is stored. `volatile` keeps the compiler from turning a loop back into a call of
// memcpy.
#include "dataplane/memory/copy.h"

#include <immintrin.h>

#include <cstring>

namespace vrdma {
namespace {

constexpr size_t kLine = 64;

template <class T>
inline void step(std::byte*& to, const std::byte*& from, size_t& length) {
    T word;
    std::memcpy(&word, from, sizeof word);
    *reinterpret_cast<volatile T*>(to) = word;
    to += sizeof word;
    from += sizeof word;
    length -= sizeof word;
}

inline bool misaligned(const std::byte* pointer, size_t alignment) {
    return (reinterpret_cast<uintptr_t>(pointer) & (alignment - 1)) != 0;
}

// Up to the first multiple of 8 of the destination.
inline void align_to_word(std::byte*& to, const std::byte*& from, size_t& length) {
    if (misaligned(to, 2) && length >= 1) {
        step<uint8_t>(to, from, length);
    }
    if (misaligned(to, 4) && length >= 2) {
        step<uint16_t>(to, from, length);
    }
    if (misaligned(to, 8) && length >= 4) {
        step<uint32_t>(to, from, length);
    }
}

// The destination is aligned to 8, or less than 8 bytes are left.
inline void copy_words(std::byte*& to, const std::byte*& from, size_t length) {
    while (length >= 8) {
        step<uint64_t>(to, from, length);
    }
    if (length >= 4) {
        step<uint32_t>(to, from, length);
    }
    if (length >= 2) {
        step<uint16_t>(to, from, length);
    }
    if (length >= 1) {
        step<uint8_t>(to, from, length);
    }
}

inline void align_to(size_t alignment, std::byte*& to, const std::byte*& from, size_t& length) {
    align_to_word(to, from, length);
    while (misaligned(to, alignment) && length >= 8) {
        step<uint64_t>(to, from, length);
    }
}

__attribute__((target("avx2"))) void body_avx2(std::byte*& to, const std::byte*& from,
                                               size_t& length) {
    while (length >= 128) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
        const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 64));
        const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 96));
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), a);
        asm volatile("" ::: "memory");
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + 32), b);
        asm volatile("" ::: "memory");
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + 64), c);
        asm volatile("" ::: "memory");
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + 96), d);
        asm volatile("" ::: "memory");
        to += 128;
        from += 128;
        length -= 128;
    }
    while (length >= 32) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), a);
        asm volatile("" ::: "memory");
        to += 32;
        from += 32;
        length -= 32;
    }
}

void body_sse2(std::byte*& to, const std::byte*& from, size_t& length) {
    while (length >= 16) {
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        _mm_store_si128(reinterpret_cast<__m128i*>(to), a);
        asm volatile("" ::: "memory");
        to += 16;
        from += 16;
        length -= 16;
    }
}

// Whole cache lines past the cache; leaves between one and two lines for the caller.
__attribute__((target("avx2"))) void stream_avx2(std::byte*& to, const std::byte*& from,
                                                 size_t& length) {
    while (length >= 2 * kLine) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), a);
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), b);
        to += kLine;
        from += kLine;
        length -= kLine;
    }
}

void stream_sse2(std::byte*& to, const std::byte*& from, size_t& length) {
    while (length >= 2 * kLine) {
        for (size_t at = 0; at < kLine; at += 16) {
            const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
            _mm_stream_si128(reinterpret_cast<__m128i*>(to + at), a);
        }
        to += kLine;
        from += kLine;
        length -= kLine;
    }
}

using Body = void (*)(std::byte*&, const std::byte*&, size_t&);
const bool kAvx2 = __builtin_cpu_supports("avx2") != 0;
const Body kBody = kAvx2 ? body_avx2 : body_sse2;
const Body kStream = kAvx2 ? stream_avx2 : stream_sse2;
constexpr size_t kVectorBytes = 64;

}  // namespace

void copy_ascending(std::byte* to, const std::byte* from, size_t length) {
    if (length >= kVectorBytes) {
        align_to(32, to, from, length);
        kBody(to, from, length);
    } else {
        align_to_word(to, from, length);
    }
    copy_words(to, from, length);
}

void copy_streaming(std::byte* to, const std::byte* from, size_t length) {
    if (length >= 4 * kLine) {
        align_to(kLine, to, from, length);
        kStream(to, from, length);
        _mm_sfence();
    }
    copy_ascending(to, from, length);
}

}  // namespace vrdma
