// One bit for each sequence number of a window, indexed by the number's low bits: nothing moves
// when the window does, but who leaves a number behind must have cleared its bit.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "dataplane/transport/limits.h"
#include "dataplane/transport/psn.h"

namespace vrdma::transport {

class WindowBits {
  public:
    [[nodiscard]] bool test(Sequence at) const { return (words_[word(at)] & bit(at)) != 0; }
    void set(Sequence at) { words_[word(at)] |= bit(at); }
    void clear(Sequence at) { words_[word(at)] &= ~bit(at); }

    // [from, to) is at most a window long in all of these.
    void set_range(Sequence from, Sequence to) {
        each_word(from, to, [this](uint32_t w, uint64_t mask) { words_[w] |= mask; });
    }
    void clear_range(Sequence from, Sequence to) {
        each_word(from, to, [this](uint32_t w, uint64_t mask) { words_[w] &= ~mask; });
    }
    // What is set in [from, to) moves to `to_bits`.
    void move_range(Sequence from, Sequence to, WindowBits& to_bits) {
        each_word(from, to, [this, &to_bits](uint32_t w, uint64_t mask) {
            to_bits.words_[w] |= words_[w] & mask;
            words_[w] &= ~mask;
        });
    }
    // The first set (clear) bit of [from, to), or `to`.
    [[nodiscard]] Sequence first_set(Sequence from, Sequence to) const {
        return first(from, to, 0);
    }
    [[nodiscard]] Sequence first_clear(Sequence from, Sequence to) const {
        return first(from, to, ~uint64_t{0});
    }

    // Calls visit(sequence) for each set bit of [from, to), ascending. `visit` may clear bits.
    template <class F>
    void each_set(Sequence from, Sequence to, F visit) const {
        while (from < to) {
            const Sequence start = from - from % kWordBits;
            const uint32_t w = word(from);
            for (uint64_t bits = words_[w] & next_mask(from, to); bits != 0; bits &= bits - 1) {
                visit(start + static_cast<uint32_t>(std::countr_zero(bits)));
            }
        }
    }

    [[nodiscard]] uint32_t count() const {
        int total = 0;
        for (const uint64_t w : words_) {
            total += std::popcount(w);
        }
        return static_cast<uint32_t>(total);
    }
    [[nodiscard]] bool empty() const {
        uint64_t any = 0;
        for (const uint64_t w : words_) {
            any |= w;
        }
        return any == 0;
    }
    void reset() { words_.fill(0); }

  private:
    static constexpr uint32_t kWordBits = 64;
    static constexpr uint32_t kWords = kWindowPackets / kWordBits;
    static_assert(kWindowPackets % kWordBits == 0);

    static constexpr uint32_t word(Sequence at) {
        return static_cast<uint32_t>(at) / kWordBits & (kWords - 1);
    }
    static constexpr uint64_t bit(Sequence at) { return uint64_t{1} << (at % kWordBits); }

    // The part of [at, to) that lies in at's word, as a mask; `at` moves behind it.
    static uint64_t next_mask(Sequence& at, Sequence to) {
        const auto offset = static_cast<uint32_t>(at % kWordBits);
        const Sequence end = at - offset + kWordBits;
        uint64_t mask = ~uint64_t{0} << offset;
        if (end > to) {
            mask &= ~(~uint64_t{0} << (to % kWordBits));
        }
        at = end > to ? to : end;
        return mask;
    }
    template <class F>
    static void each_word(Sequence from, Sequence to, F apply) {
        while (from < to) {
            const uint32_t w = word(from);
            apply(w, next_mask(from, to));
        }
    }
    [[nodiscard]] Sequence first(Sequence from, Sequence to, uint64_t invert) const {
        while (from < to) {
            const Sequence start = from - from % kWordBits;
            const uint32_t w = word(from);
            const uint64_t found = (words_[w] ^ invert) & next_mask(from, to);
            if (found != 0) {
                return start + static_cast<uint32_t>(std::countr_zero(found));
            }
        }
        return to;
    }

    std::array<uint64_t, kWords> words_{};
};

}  // namespace vrdma::transport
