#pragma once

// The bytes of a transfer, computable on both sides from a seed alone.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace vrdma::verbs_util {

/// The first byte that is not what it must be.
struct Mismatch {
    std::uint64_t offset = 0;         ///< within the checked range
    std::uint64_t wrong_bytes = 0;    ///< how many bytes of the range differ
    std::uint64_t expected_word = 0;  ///< up to 8 bytes from the first difference, little-endian
    std::uint64_t actual_word = 0;

    [[nodiscard]] std::string describe() const;
};

/// Mixes a number into an unrelated one; distinct inputs give distinct outputs.
[[nodiscard]] std::uint64_t mix(std::uint64_t value);

/// An endless byte sequence. The same seed gives the same sequence; any part of it can be produced
/// or checked on its own, so a transfer may be split at any byte.
class Pattern {
  public:
    explicit Pattern(std::uint64_t seed) : seed_(mix(seed)) {}

    /// Writes bytes [offset, offset + length) of the sequence to `to`.
    void fill(void* to, std::size_t length, std::uint64_t offset = 0) const;
    /// Compares `at` with bytes [offset, offset + length) of the sequence.
    [[nodiscard]] std::optional<Mismatch> check(const void* at, std::size_t length,
                                                std::uint64_t offset = 0) const;
    [[nodiscard]] std::uint8_t byte_at(std::uint64_t offset) const;
    /// The 8 bytes that start at 8 * index.
    [[nodiscard]] std::uint64_t word(std::uint64_t index) const { return seed_ + index * kStep; }

  private:
    static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;

    std::uint64_t seed_;
};

}  // namespace vrdma::verbs_util
