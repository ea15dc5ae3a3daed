// Four implementations of one function, chosen once for the CPU we run on: eight-byte table steps,
// and folding by carry-less multiplication over 128-bit, 256-bit and 512-bit lanes (crc32_fold.h
// names the paper and derives the constants). With a copy, every byte is loaded once; what is
// stored and what is folded come from the same register, so a source that changes meanwhile cannot
// make the CRC disagree with the copy. A source is never read beyond its ends.
//
// The four lanes are folded into one register, further 16-byte blocks into that, and a last odd
// piece is shifted in: the register's first bytes are folded once more and its other bytes move
// forward to make room. Sixteen bytes remain, which are reduced to 32 bits by Barrett's method.
#include "dataplane/wire/crc32.h"

#include <immintrin.h>

#include <array>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/crc32_fold.h"

#define VR_INLINE __attribute__((always_inline)) inline
#define VR_CARRYLESS "pclmul,sse4.1,ssse3"
#define VR_CARRYLESS_256 "vpclmulqdq,avx2,pclmul,sse4.1,ssse3"
#define VR_CARRYLESS_512 "avx512f,avx512vl," VR_CARRYLESS_256

namespace vrdma::wire {
namespace {

using crc32_fold::Fold;

constexpr size_t kBlock = 16;

// Bytes -> state: entry [n][b] is byte b followed by n zero bytes.
struct Tables {
    std::array<std::array<uint32_t, 256>, 8> entries{};
    constexpr Tables() {
        for (uint32_t byte = 0; byte < 256; ++byte) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; ++bit) {
                value = (value >> 1) ^ ((value & 1) != 0 ? crc32_fold::kPolynomial : 0);
            }
            entries[0][byte] = value;
        }
        for (size_t n = 1; n < entries.size(); ++n) {
            for (size_t byte = 0; byte < 256; ++byte) {
                const uint32_t before = entries[n - 1][byte];
                entries[n][byte] = (before >> 8) ^ entries[0][before & 0xff];
            }
        }
    }
};
constexpr Tables kTables;

uint32_t step_byte(uint32_t state, uint8_t byte) {
    return (state >> 8) ^ kTables.entries[0][(state ^ byte) & 0xff];
}

uint32_t step_word(uint32_t state, uint64_t word) {
    const auto& t = kTables.entries;
    word ^= state;
    return t[7][word & 0xff] ^ t[6][(word >> 8) & 0xff] ^ t[5][(word >> 16) & 0xff] ^
           t[4][(word >> 24) & 0xff] ^ t[3][(word >> 32) & 0xff] ^ t[2][(word >> 40) & 0xff] ^
           t[1][(word >> 48) & 0xff] ^ t[0][word >> 56];
}

template <bool kCopy>
uint32_t by_table(uint32_t state, std::byte* to, const std::byte* from, size_t length) {
    while (length >= 8) {
        uint64_t word = 0;
        std::memcpy(&word, from, sizeof word);
        if constexpr (kCopy) {
            std::memcpy(to, &word, sizeof word);
            to += 8;
        }
        state = step_word(state, word);
        from += 8;
        length -= 8;
    }
    for (; length > 0; --length) {
        const auto byte = std::to_integer<uint8_t>(*from++);
        if constexpr (kCopy) {
            *to++ = std::byte{byte};
        }
        state = step_byte(state, byte);
    }
    return state;
}

// Sixteen bytes from here with an offset of n shift a register's bytes by n, zeros from outside:
// n below 16 moves them up by 16 - n, n above 16 down by n - 16.
alignas(16) constexpr std::array<uint8_t, 48> kShift = {
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};

VR_INLINE __m128i load(const void* from) {
    return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

VR_INLINE void store(std::byte* to, __m128i value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value);
}

VR_INLINE __m128i pair(uint64_t low, uint64_t high) {
    return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
}

__attribute__((target(VR_CARRYLESS))) VR_INLINE __m128i fold(__m128i value, Fold by) {
    const __m128i constants = pair(by.low, by.high);
    return _mm_xor_si128(_mm_clmulepi64_si128(value, constants, 0x00),
                         _mm_clmulepi64_si128(value, constants, 0x11));
}

// The state after these sixteen bytes, before which it was zero.
__attribute__((target(VR_CARRYLESS))) VR_INLINE uint32_t reduce(__m128i value) {
    const __m128i low32 = _mm_setr_epi32(-1, 0, -1, 0);
    // 128 -> 96 bits, 96 -> 64 bits.
    const __m128i constants = pair(crc32_fold::kFold64, crc32_fold::kFold128.high);
    value = _mm_xor_si128(_mm_srli_si128(value, 8), _mm_clmulepi64_si128(value, constants, 0x10));
    value = _mm_xor_si128(_mm_srli_si128(value, 4),
                          _mm_clmulepi64_si128(_mm_and_si128(value, low32), constants, 0x00));
    // 64 -> 32 bits: subtract the multiple of P that clears the lower half.
    const __m128i modulus = pair(crc32_fold::kModulus, crc32_fold::kBarrett);
    const __m128i quotient =
        _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(value, low32), modulus, 0x10), low32);
    value = _mm_xor_si128(value, _mm_clmulepi64_si128(quotient, modulus, 0x00));
    return static_cast<uint32_t>(_mm_extract_epi32(value, 1));
}

// 4 to 7, or 8 to 15 bytes: two words that overlap; of the second, only the bytes that the first
// does not have count.
template <bool kCopy, class Word>
__attribute__((target(VR_CARRYLESS))) VR_INLINE __m128i load_short(std::byte* to,
                                                                   const std::byte* from,
                                                                   size_t length) {
    constexpr size_t kWord = sizeof(Word);
    const Word first = load_raw<Word>(from);
    Word second = 0;
    if (length > kWord) {
        second =
            static_cast<Word>(load_raw<Word>(from + length - kWord) >> (8 * (2 * kWord - length)));
    }
    if constexpr (kCopy) {
        std::memcpy(to, &first, kWord);
        if (length > kWord) {
            const Word last = static_cast<Word>(first >> (8 * (length - kWord))) |
                              static_cast<Word>(second << (8 * (2 * kWord - length)));
            std::memcpy(to + length - kWord, &last, kWord);
        }
    }
    if constexpr (kWord == 8) {
        return pair(first, second);
    } else {
        return pair(uint64_t{first} | uint64_t{second} << 32, 0);
    }
}

// Fewer than 16 bytes.
template <bool kCopy>
__attribute__((target(VR_CARRYLESS))) VR_INLINE uint32_t short_piece(uint32_t state, std::byte* to,
                                                                     const std::byte* from,
                                                                     size_t length) {
    if (length < 4) {
        return by_table<kCopy>(state, to, from, length);
    }
    __m128i value = length < 8 ? load_short<kCopy, uint32_t>(to, from, length)
                               : load_short<kCopy, uint64_t>(to, from, length);
    value = _mm_xor_si128(value, _mm_cvtsi32_si128(static_cast<int>(state)));
    return reduce(_mm_shuffle_epi8(value, load(kShift.data() + length)));
}

// What is left behind the lanes: whole blocks, then 1 to 15 bytes. `raw` are the sixteen bytes
// before `from` as they were loaded; `value` is the folded register that contains them.
template <bool kCopy>
__attribute__((target(VR_CARRYLESS))) VR_INLINE uint32_t
end_piece(__m128i value, __m128i raw, std::byte* to, const std::byte* from, size_t length) {
    while (length >= kBlock) {
        raw = load(from);
        if constexpr (kCopy) {
            store(to, raw);
            to += kBlock;
        }
        value = _mm_xor_si128(fold(value, crc32_fold::kFold128), raw);
        from += kBlock;
        length -= kBlock;
    }
    if (length == 0) {
        return reduce(value);
    }
    // Room for `length` bytes: the ones that fall out at the front are folded.
    const __m128i up = load(kShift.data() + length);
    const __m128i down = load(kShift.data() + kBlock + length);
    const __m128i inverse = _mm_cmpgt_epi8(_mm_setzero_si128(), down);  // ones where `down` clears
    const __m128i tail = _mm_and_si128(load(from + length - kBlock), inverse);
    if constexpr (kCopy) {
        store(to + length - kBlock, _mm_or_si128(_mm_shuffle_epi8(raw, down), tail));
    }
    const __m128i front = _mm_shuffle_epi8(value, up);
    const __m128i back = _mm_or_si128(_mm_shuffle_epi8(value, down), tail);
    return reduce(_mm_xor_si128(fold(front, crc32_fold::kFold128), back));
}

template <bool kCopy>
__attribute__((target(VR_CARRYLESS))) uint32_t by_carryless(uint32_t state, std::byte* to,
                                                            const std::byte* from, size_t length) {
    if (length < kBlock) {
        return short_piece<kCopy>(state, to, from, length);
    }
    const __m128i seed = _mm_cvtsi32_si128(static_cast<int>(state));
    if (length < 4 * kBlock) {
        const __m128i raw = load(from);
        if constexpr (kCopy) {
            store(to, raw);
            to += kBlock;
        }
        return end_piece<kCopy>(_mm_xor_si128(raw, seed), raw, to, from + kBlock, length - kBlock);
    }
    __m128i lanes[] = {seed, _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    __m128i raw = _mm_setzero_si128();
    bool first = true;
    while (length >= 4 * kBlock) {
        for (size_t lane = 0; lane < 4; ++lane) {
            raw = load(from + lane * kBlock);
            if constexpr (kCopy) {
                store(to + lane * kBlock, raw);
            }
            const __m128i moved = first ? lanes[lane] : fold(lanes[lane], crc32_fold::kFold512);
            lanes[lane] = _mm_xor_si128(moved, raw);
        }
        first = false;
        from += 4 * kBlock;
        if constexpr (kCopy) {
            to += 4 * kBlock;
        }
        length -= 4 * kBlock;
    }
    __m128i value = lanes[0];
    for (size_t lane = 1; lane < 4; ++lane) {
        value = _mm_xor_si128(fold(value, crc32_fold::kFold128), lanes[lane]);
    }
    return end_piece<kCopy>(value, raw, to, from, length);
}

__attribute__((target(VR_CARRYLESS_256))) VR_INLINE __m256i fold_256(__m256i value, Fold by) {
    const __m256i constants =
        _mm256_set_epi64x(static_cast<int64_t>(by.high), static_cast<int64_t>(by.low),
                          static_cast<int64_t>(by.high), static_cast<int64_t>(by.low));
    return _mm256_xor_si256(_mm256_clmulepi64_epi128(value, constants, 0x00),
                            _mm256_clmulepi64_epi128(value, constants, 0x11));
}

// What is left behind the wide lanes; as end_piece().
template <bool kCopy>
__attribute__((target(VR_CARRYLESS_256))) VR_INLINE uint32_t
end_wide(__m256i wide, __m128i raw, std::byte* to, const std::byte* from, size_t length) {
    const __m128i value = _mm_xor_si128(fold(_mm256_castsi256_si128(wide), crc32_fold::kFold128),
                                        _mm256_extracti128_si256(wide, 1));
    const uint32_t result = end_piece<kCopy>(value, raw, to, from, length);
    _mm256_zeroupper();
    return result;
}

template <bool kCopy>
__attribute__((target(VR_CARRYLESS_256))) uint32_t by_carryless_256(uint32_t state, std::byte* to,
                                                                    const std::byte* from,
                                                                    size_t length) {
    constexpr size_t kWide = 32;
    if (length < 8 * kWide) {
        return by_carryless<kCopy>(state, to, from, length);
    }
    __m256i lanes[] = {_mm256_inserti128_si256(_mm256_setzero_si256(),
                                               _mm_cvtsi32_si128(static_cast<int>(state)), 0),
                       _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i raw = _mm256_setzero_si256();
    bool first = true;
    while (length >= 4 * kWide) {
        for (size_t lane = 0; lane < 4; ++lane) {
            raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + lane * kWide));
            if constexpr (kCopy) {
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + lane * kWide), raw);
            }
            const __m256i moved =
                first ? lanes[lane] : fold_256(lanes[lane], crc32_fold::kFold1024);
            lanes[lane] = _mm256_xor_si256(moved, raw);
        }
        first = false;
        from += 4 * kWide;
        if constexpr (kCopy) {
            to += 4 * kWide;
        }
        length -= 4 * kWide;
    }
    __m256i wide = lanes[0];
    for (size_t lane = 1; lane < 4; ++lane) {
        wide = _mm256_xor_si256(fold_256(wide, crc32_fold::kFold256), lanes[lane]);
    }
    return end_wide<kCopy>(wide, _mm256_extracti128_si256(raw, 1), to, from, length);
}

// GCC 12 warns of the intrinsics' own undefined registers (its bug 105593).
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

__attribute__((target(VR_CARRYLESS_512))) VR_INLINE __m512i fold_512(__m512i value, Fold by) {
    const __m512i constants = _mm512_broadcast_i32x4(pair(by.low, by.high));
    return _mm512_xor_si512(_mm512_clmulepi64_epi128(value, constants, 0x00),
                            _mm512_clmulepi64_epi128(value, constants, 0x11));
}

template <bool kCopy>
__attribute__((target(VR_CARRYLESS_512))) uint32_t by_carryless_512(uint32_t state, std::byte* to,
                                                                    const std::byte* from,
                                                                    size_t length) {
    constexpr size_t kWide = 64;
    constexpr size_t kLanes = 4;
    if (length < 2 * kLanes * kWide) {
        return by_carryless_256<kCopy>(state, to, from, length);
    }
    __m512i lanes[kLanes];
    __m512i raw = _mm512_setzero_si512();
    for (size_t lane = 0; lane < kLanes; ++lane) {
        raw = _mm512_loadu_si512(from + lane * kWide);
        if constexpr (kCopy) {
            _mm512_storeu_si512(to + lane * kWide, raw);
        }
        lanes[lane] = raw;
    }
    lanes[0] = _mm512_xor_si512(lanes[0],
                                _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(state))));
    size_t at = kLanes * kWide;
    for (; length - at >= kLanes * kWide; at += kLanes * kWide) {
        for (size_t lane = 0; lane < kLanes; ++lane) {
            raw = _mm512_loadu_si512(from + at + lane * kWide);
            if constexpr (kCopy) {
                _mm512_storeu_si512(to + at + lane * kWide, raw);
            }
            lanes[lane] = _mm512_xor_si512(fold_512(lanes[lane], crc32_fold::kFold2048), raw);
        }
    }
    __m512i wide = lanes[0];
    for (size_t lane = 1; lane < kLanes; ++lane) {
        wide = _mm512_xor_si512(fold_512(wide, crc32_fold::kFold512), lanes[lane]);
    }
    for (; length - at >= kWide; at += kWide) {
        raw = _mm512_loadu_si512(from + at);
        if constexpr (kCopy) {
            _mm512_storeu_si512(to + at, raw);
        }
        wide = _mm512_xor_si512(fold_512(wide, crc32_fold::kFold512), raw);
    }
    const __m256i half =
        _mm256_xor_si256(fold_256(_mm512_castsi512_si256(wide), crc32_fold::kFold256),
                         _mm512_extracti64x4_epi64(wide, 1));
    return end_wide<kCopy>(half, _mm512_extracti32x4_epi32(raw, 3), kCopy ? to + at : nullptr,
                           from + at, length - at);
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

uint32_t masked_by_table(uint32_t state, const std::byte* bytes, const std::byte* ones,
                         size_t length) {
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        state = step_word(state, load_raw<uint64_t>(bytes + at) | load_raw<uint64_t>(ones + at));
    }
    for (; at < length; ++at) {
        state = step_byte(state, std::to_integer<uint8_t>(bytes[at] | ones[at]));
    }
    return state;
}

__attribute__((target(VR_CARRYLESS))) VR_INLINE __m128i load_masked(const std::byte* bytes,
                                                                    const std::byte* ones) {
    return _mm_or_si128(pair(load_raw<uint64_t>(bytes), load_raw<uint64_t>(bytes + 8)), load(ones));
}

__attribute__((target(VR_CARRYLESS))) uint32_t masked_by_carryless(uint32_t state,
                                                                   const std::byte* bytes,
                                                                   const std::byte* ones,
                                                                   size_t length) {
    __m128i value =
        _mm_xor_si128(load_masked(bytes, ones), _mm_cvtsi32_si128(static_cast<int>(state)));
    size_t at = kBlock;
    for (; length - at >= kBlock; at += kBlock) {
        value =
            _mm_xor_si128(fold(value, crc32_fold::kFold128), load_masked(bytes + at, ones + at));
    }
    const size_t rest = length - at;  // 0, 4, 8 or 12
    if (rest == 0) {
        return reduce(value);
    }
    uint64_t words[2] = {0, 0};
    if (rest >= 8) {
        words[0] = load_raw<uint64_t>(bytes + at) | load_raw<uint64_t>(ones + at);
    }
    if (rest % 8 != 0) {
        words[rest / 8] =
            load_raw<uint32_t>(bytes + at + rest - 4) | load_raw<uint32_t>(ones + at + rest - 4);
    }
    // As in end_piece(): the register makes room for `rest` bytes at its end.
    const __m128i front = _mm_shuffle_epi8(value, load(kShift.data() + rest));
    const __m128i back = _mm_shuffle_epi8(value, load(kShift.data() + kBlock + rest));
    const __m128i tail = _mm_shuffle_epi8(pair(words[0], words[1]), load(kShift.data() + rest));
    return reduce(_mm_xor_si128(fold(front, crc32_fold::kFold128), _mm_or_si128(back, tail)));
}

using Function = uint32_t (*)(uint32_t, std::byte*, const std::byte*, size_t);
using MaskedFunction = uint32_t (*)(uint32_t, const std::byte*, const std::byte*, size_t);

Function update_function(CrcMethod method) {
    switch (method) {
        case CrcMethod::Table:
            return by_table<false>;
        case CrcMethod::Carryless:
            return by_carryless<false>;
        case CrcMethod::Carryless256:
            return by_carryless_256<false>;
        case CrcMethod::Carryless512:
            return by_carryless_512<false>;
    }
    return nullptr;
}

Function copy_function(CrcMethod method) {
    switch (method) {
        case CrcMethod::Table:
            return by_table<true>;
        case CrcMethod::Carryless:
            return by_carryless<true>;
        case CrcMethod::Carryless256:
            return by_carryless_256<true>;
        case CrcMethod::Carryless512:
            return by_carryless_512<true>;
    }
    return nullptr;
}

MaskedFunction masked_function(CrcMethod method) {
    return method == CrcMethod::Table ? masked_by_table : masked_by_carryless;
}

struct Dispatch {
    Function update;
    Function copy;
    MaskedFunction masked;
};
// The table until the initialiser below has run: initialisers of other files may come first.
constinit Dispatch dispatch{
    .update = by_table<false>, .copy = by_table<true>, .masked = masked_by_table};
[[maybe_unused]] const bool kDispatched = [] {
    const CrcMethod method = crc32_method();
    dispatch = {.update = update_function(method),
                .copy = copy_function(method),
                .masked = masked_function(method)};
    return true;
}();

}  // namespace

bool crc32_supported(CrcMethod method) {
    __builtin_cpu_init();
    const bool carryless = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    switch (method) {
        case CrcMethod::Table:
            return true;
        case CrcMethod::Carryless:
            return carryless;
        case CrcMethod::Carryless256:
            return carryless && __builtin_cpu_supports("avx2") &&
                   __builtin_cpu_supports("vpclmulqdq");
        case CrcMethod::Carryless512:
            return crc32_supported(CrcMethod::Carryless256) && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512vl");
    }
    return false;
}

CrcMethod crc32_method() {
    for (const CrcMethod method :
         {CrcMethod::Carryless512, CrcMethod::Carryless256, CrcMethod::Carryless}) {
        if (crc32_supported(method)) {
            return method;
        }
    }
    return CrcMethod::Table;
}

uint32_t crc32_update_by(CrcMethod method, uint32_t state, std::span<const std::byte> bytes) {
    VR_CHECK(crc32_supported(method));
    return update_function(method)(state, nullptr, bytes.data(), bytes.size());
}

uint32_t crc32_copy_by(CrcMethod method, uint32_t state, std::byte* to, const std::byte* from,
                       size_t length) {
    VR_CHECK(crc32_supported(method));
    return copy_function(method)(state, to, from, length);
}

uint32_t crc32_masked_by(CrcMethod method, uint32_t state, const std::byte* bytes,
                         const std::byte* ones, size_t length) {
    VR_CHECK(crc32_supported(method) && length >= kBlock && length % 4 == 0);
    return masked_function(method)(state, bytes, ones, length);
}

uint32_t crc32_update(uint32_t state, std::span<const std::byte> bytes) {
    return dispatch.update(state, nullptr, bytes.data(), bytes.size());
}

uint32_t crc32_copy(uint32_t state, std::byte* to, const std::byte* from, size_t length) {
    return dispatch.copy(state, to, from, length);
}

uint32_t crc32_masked(uint32_t state, const std::byte* bytes, const std::byte* ones,
                      size_t length) {
    return dispatch.masked(state, bytes, ones, length);
}

}  // namespace vrdma::wire
