// Keyed permutations that turn (slot, generation) into numbers a peer cannot guess, and back.
//
// QPNs and memory keys carry the index of their table entry, encrypted: finding the entry needs no
// hash table, and a number says nothing about the next one. 32-bit values use SPECK32/64 (Beaulieu
// et al., "The SIMON and SPECK Families of Lightweight Block Ciphers", 2013); 24-bit values a
// four-round Luby-Rackoff network with it as the round function.
#pragma once

#include <array>
#include <cstdint>

namespace vrdma {

class Permutation32 {
  public:
    explicit Permutation32(uint64_t key);
    [[nodiscard]] uint32_t encrypt(uint32_t value) const;
    [[nodiscard]] uint32_t decrypt(uint32_t value) const;

  private:
    static constexpr int kRounds = 22;
    std::array<uint16_t, kRounds> round_keys_{};
};

class Permutation24 {
  public:
    explicit Permutation24(uint64_t key) : round_(key) {}
    // `value` is below 2^24.
    [[nodiscard]] uint32_t encrypt(uint32_t value) const;
    [[nodiscard]] uint32_t decrypt(uint32_t value) const;

  private:
    static constexpr uint32_t kRounds = 4;
    [[nodiscard]] uint32_t mix(uint32_t round, uint32_t half) const;
    Permutation32 round_;
};

}  // namespace vrdma
