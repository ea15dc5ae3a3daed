#include "tools/verbs_util/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

// Test data that costs about as much to make and to check as to copy. Words form an arithmetic
// progression with an odd 64-bit step from a mixed seed: one addition per eight bytes, no word
// repeats within a sequence, and a shift, swap, loss or repetition of any bytes changes words.
// Checking folds eight differences together and looks closer only when something differs.

namespace vrdma::verbs_util {

namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kBlockWords = 8;

std::uint64_t load(const std::uint8_t* at) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, kWord);
    return word;
}

}  // namespace

std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

std::string Mismatch::describe() const {
    return fmt::format(
        "first wrong byte at offset {} of the range, {} bytes wrong, expected {:#018x} found "
        "{:#018x}",
        offset, wrong_bytes, expected_word, actual_word);
}

std::uint8_t Pattern::byte_at(std::uint64_t offset) const {
    return static_cast<std::uint8_t>(word(offset / kWord) >> (8 * (offset % kWord)));
}

void Pattern::fill(void* to, std::size_t length, std::uint64_t offset) const {
    auto* out = static_cast<std::uint8_t*>(to);
    while (length > 0 && offset % kWord != 0) {
        *out++ = byte_at(offset++);
        --length;
    }
    std::uint64_t next = word(offset / kWord);
    const std::size_t words = length / kWord;
    for (std::size_t i = 0; i < words; ++i) {
        std::memcpy(out + i * kWord, &next, kWord);
        next += kStep;
    }
    std::memcpy(out + words * kWord, &next, length % kWord);
}

std::optional<Mismatch> Pattern::check(const void* at, std::size_t length,
                                       std::uint64_t offset) const {
    const auto* in = static_cast<const std::uint8_t*>(at);
    std::size_t done = 0;
    std::uint64_t difference = 0;
    for (; done < length && (offset + done) % kWord != 0; ++done) {
        difference |= static_cast<std::uint64_t>(in[done] ^ byte_at(offset + done));
    }
    std::uint64_t next = word((offset + done) / kWord);
    while (length - done >= kBlockWords * kWord) {
        for (std::size_t i = 0; i < kBlockWords; ++i) {
            difference |= load(in + done + i * kWord) ^ (next + i * kStep);
        }
        next += kBlockWords * kStep;
        done += kBlockWords * kWord;
    }
    for (; length - done >= kWord; done += kWord) {
        difference |= load(in + done) ^ next;
        next += kStep;
    }
    for (; done < length; ++done) {
        difference |= static_cast<std::uint64_t>(in[done] ^ byte_at(offset + done));
    }
    if (difference == 0) {
        return std::nullopt;
    }
    Mismatch mismatch;
    for (std::size_t i = length; i-- > 0;) {
        if (in[i] != byte_at(offset + i)) {
            mismatch.offset = i;
            ++mismatch.wrong_bytes;
        }
    }
    for (std::size_t i = 0; i < std::min(kWord, length - mismatch.offset); ++i) {
        const std::size_t from = mismatch.offset + i;
        mismatch.expected_word |= std::uint64_t{byte_at(offset + from)} << (8 * i);
        mismatch.actual_word |= std::uint64_t{in[from]} << (8 * i);
    }
    return mismatch;
}

}  // namespace vrdma::verbs_util
