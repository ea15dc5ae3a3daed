#pragma once

// What may have happened to a round on UC, where messages may be lost and nobody is told.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/e2e/wire_verify/plan.h"

namespace vrdma::wire_verify {

/// A receive completion and the receive's buffer.
struct Arrival {
    std::uint32_t queue_pair = 0;
    bool write = false;
    std::optional<std::uint32_t> immediate;
    std::uint32_t bytes = 0;
    std::span<const std::byte> buffer;
};

/// What a receive's buffer is filled with before it is posted.
inline constexpr std::byte kUntouched{0xa5};

class UcRound {
  public:
    UcRound() = default;
    /// `side` receives. `before`: both sides' regions before the round.
    UcRound(std::vector<Operation> operations, std::uint32_t side,
            std::array<std::span<const std::byte>, 2> before);

    /// The error when this is none of the messages that may still arrive, whole and in order.
    [[nodiscard]] std::optional<std::string> take(const Arrival& arrival);
    /// Nothing that tells of itself is missing.
    [[nodiscard]] bool complete() const { return arrived_ == told_; }
    /// The error when the region has a byte that it must not have.
    [[nodiscard]] std::optional<std::string> check(std::span<const std::byte> region);

    /// Messages to this side that tell when they have arrived, and those that did.
    [[nodiscard]] std::uint64_t told() const { return told_; }
    [[nodiscard]] std::uint64_t arrived() const { return arrived_; }
    /// WRITEs to this side, which tell nothing, and those that check() found whole.
    [[nodiscard]] std::uint64_t silent() const { return silent_; }
    [[nodiscard]] std::uint64_t found() const { return found_; }

  private:
    [[nodiscard]] bool matches(std::size_t index, const Arrival& arrival) const;
    /// What is in a buffer behind the message that took it: nothing, or the beginning of one before
    /// it that was lost.
    [[nodiscard]] bool left_over(std::size_t index, std::size_t at, std::byte found) const;
    [[nodiscard]] std::span<const std::byte> data_of(const Operation& operation) const;

    std::vector<Operation> operations_;
    std::uint32_t side_ = 0;
    std::array<std::span<const std::byte>, 2> before_;
    std::vector<bool> taken_;
    std::vector<std::size_t> next_;  ///< by queue pair: the first that may still arrive
    std::uint64_t told_ = 0;
    std::uint64_t arrived_ = 0;
    std::uint64_t silent_ = 0;
    std::uint64_t found_ = 0;
};

}  // namespace vrdma::wire_verify
