// The device's clock, in which completion time stamps count.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>

namespace vrdma::verbs {

struct Context;

inline constexpr std::uint64_t kClockKhz = 1'000'000;  // it counts nanoseconds

// The clock's present value; nullopt and errno.
[[nodiscard]] std::optional<std::uint64_t> read_device_clock(Context& context, const char* verb);

// Turns time stamps into the time of day: where both clocks were at one moment.
struct WallClock {
    std::uint64_t device = 0;
    std::uint64_t wall = 0;  // nanoseconds since 1970; 0: never looked
};
// The time of day of a time stamp. Looks at both clocks again when the last look is long before it.
[[nodiscard]] std::uint64_t wall_time_of(Context& context, WallClock& clock,
                                         std::uint64_t timestamp);

int query_rt_values(ibv_context* context, ibv_values_ex* values);

}  // namespace vrdma::verbs
