// The device is asked for its time by a command, so the answer is right wherever the program runs,
// in another time namespace or on another kernel. Time stamps stand beside the completions and are
// read without asking.
//
// For the time of day the program's own clock and the device's are compared: the device's reading
// is taken to be from the middle between two looks at ours. That is repeated when a time stamp lies
// further than kWallClockAge from the last comparison, because the clocks drift apart by up to one
// part in 10^5. The error is half the command's round trip (tens of microseconds) and a microsecond
// of drift.
#include "verbs/clock.h"

#include <time.h>

#include "driver/abi/command.h"
#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint64_t kWallClockAge = 100'000'000;  // ns
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

std::uint64_t time_of_day() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::optional<std::uint64_t> read_device_clock(Context& context, const char* verb) {
    if (context.abandoned) {
        fail(verb, EIO, "a child after fork cannot use its parent's device");
        return std::nullopt;
    }
    const auto answer =
        driver::query_command<vrdma_rsp_query_clock>(*context.channel, VRDMA_CMD_QUERY_CLOCK);
    if (!answer) {
        fail(context, verb, answer.error());
        return std::nullopt;
    }
    return answer->nanoseconds;
}

std::uint64_t wall_time_of(Context& context, WallClock& clock, std::uint64_t timestamp) {
    const std::uint64_t age =
        timestamp > clock.device ? timestamp - clock.device : clock.device - timestamp;
    if (clock.wall == 0 || age > kWallClockAge) {
        const std::uint64_t before = time_of_day();
        const auto device = read_device_clock(context, "read_completion_wallclock_ns");
        if (device) {
            clock = {.device = *device, .wall = before + (time_of_day() - before) / 2};
        }
    }
    return clock.wall == 0 ? 0 : clock.wall + (timestamp - clock.device);
}

int query_rt_values(ibv_context* ibv, ibv_values_ex* values) {
    Context& context = Context::of(ibv);
    if ((context.channel->info().features & VRDMA_FEATURE_TIMESTAMPS) == 0) {
        return fail("query_rt_values", EOPNOTSUPP, "the service is older than time stamps");
    }
    const bool wanted = (values->comp_mask & IBV_VALUES_MASK_RAW_CLOCK) != 0;
    values->comp_mask = 0;  // what is answered
    if (!wanted) {
        return 0;
    }
    const auto now = read_device_clock(context, "query_rt_values");
    if (!now) {
        return errno;
    }
    // Ticks, not seconds: as hardware's drivers tell them.
    values->raw_clock = {.tv_sec = 0, .tv_nsec = static_cast<long>(*now)};
    values->comp_mask = IBV_VALUES_MASK_RAW_CLOCK;
    return 0;
}

}  // namespace vrdma::verbs
