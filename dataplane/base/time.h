// Time as the core sees it: nanoseconds of a monotonic clock that somebody else reads.
#pragma once

#include <compare>
#include <cstdint>

namespace vrdma {

struct Duration {
    int64_t ns = 0;

    static constexpr Duration nanoseconds(int64_t n) { return {n}; }
    static constexpr Duration microseconds(int64_t n) { return {n * 1000}; }
    static constexpr Duration milliseconds(int64_t n) { return {n * 1'000'000}; }
    constexpr auto operator<=>(const Duration&) const = default;
    constexpr Duration operator*(int64_t factor) const { return {ns * factor}; }
};

struct Instant {
    int64_t ns = 0;

    static constexpr Instant never() { return {INT64_MAX}; }
    constexpr auto operator<=>(const Instant&) const = default;
    constexpr Instant operator+(Duration d) const { return {ns + d.ns}; }
    constexpr Duration operator-(Instant other) const { return {ns - other.ns}; }
};

}  // namespace vrdma
