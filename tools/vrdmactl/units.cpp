// Units and codes.
//
// The verbs encode times as small codes that nobody remembers; an on-call engineer needs the
// milliseconds, a colleague reading the program's source needs the code, so both are shown.

#include "tools/vrdmactl/units.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

namespace vrdma::vrdmactl {
namespace {

std::string milliseconds(double value) {
    constexpr double kSecond = 1000;
    return value >= kSecond ? fmt::format("{:.3g} s", value / kSecond)
                            : fmt::format("{:.3g} ms", value);
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
    constexpr std::array<const char*, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    constexpr double kStep = 1024;
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= kStep && unit + 1 < kUnits.size()) {
        value /= kStep;
        ++unit;
    }
    const bool whole = value == static_cast<double>(static_cast<std::uint64_t>(value));
    return whole ? fmt::format("{:.0f} {}", value, kUnits[unit])
                 : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string duration_text(std::uint64_t seconds) {
    constexpr std::uint64_t kMinute = 60;
    constexpr std::uint64_t kHour = 60 * kMinute;
    constexpr std::uint64_t kDay = 24 * kHour;
    if (seconds < kMinute) {
        return fmt::format("{} s", seconds);
    }
    if (seconds < kHour) {
        return fmt::format("{} min {} s", seconds / kMinute, seconds % kMinute);
    }
    if (seconds < kDay) {
        return fmt::format("{} h {} min", seconds / kHour, seconds % kHour / kMinute);
    }
    return fmt::format("{} d {} h", seconds / kDay, seconds % kDay / kHour);
}

std::string ack_timeout_text(std::uint64_t code) {
    constexpr double kUnitMs = 0.004096;
    constexpr std::uint64_t kLargest = 31;
    if (code == 0) {
        return "0 (waits without end)";
    }
    if (code > kLargest) {
        return fmt::format("{}", code);
    }
    return fmt::format("{} ({})", code,
                       milliseconds(kUnitMs * static_cast<double>(std::uint64_t{1} << code)));
}

std::string rnr_timer_text(std::uint64_t code) {
    constexpr std::array<double, 32> kMilliseconds{
        655.36, 0.01,  0.02,  0.03,  0.04,  0.06,   0.08,   0.12,   0.16,   0.24,  0.32,
        0.48,   0.64,  0.96,  1.28,  1.92,  2.56,   3.84,   5.12,   7.68,   10.24, 15.36,
        20.48,  30.72, 40.96, 61.44, 81.92, 122.88, 163.84, 245.76, 327.68, 491.52};
    if (code >= kMilliseconds.size()) {
        return fmt::format("{}", code);
    }
    return fmt::format("{} ({})", code, milliseconds(kMilliseconds[code]));
}

std::string rnr_retry_text(std::uint64_t count) {
    constexpr std::uint64_t kEndless = 7;
    return count == kEndless ? "7 (without end)" : fmt::format("{}", count);
}

std::string gid_text(const std::string& gid) {
    constexpr std::string_view kMapped = "0000:0000:0000:0000:0000:ffff:";
    constexpr std::size_t kLength = 39;
    if (gid == "0000:0000:0000:0000:0000:0000:0000:0000") {
        return "empty";
    }
    if (!gid.starts_with(kMapped) || gid.size() != kLength) {
        return gid;
    }
    const std::string digits = gid.substr(kMapped.size(), 4) + gid.substr(kMapped.size() + 5, 4);
    std::uint32_t address = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, address, 16);
    if (error != std::errc{} || stop != end) {
        return gid;
    }
    const std::string text = fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255,
                                         address >> 8 & 255, address & 255);
    return fmt::format("{} (::ffff:{})", text, text);
}

}  // namespace vrdma::vrdmactl
