// The rules for the faults that a port injects.
//
// They are given for one experiment and all at once: a key that is absent has its default, not what
// it had before, so that the command line that is written down with a result says all of it. For
// the same reason the seed has a default and is never drawn.

#include "dataplane/control/fault_reader.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "dataplane/control/document.h"
#include "dataplane/control/table_reader.h"

namespace vrdma::control {
namespace {

constexpr char kShareRule[] = "a share of the frames from 0 to 1, such as 0.01";
constexpr char kExample[] = "send {\"faults\": {\"drop\": 0.01}} or {\"faults\": \"off\"}";

void read_share(TableReader& reader, std::string_view key, std::uint32_t& share) {
    const Value* const value = reader.raw(key);
    if (value == nullptr) {
        return;
    }
    const bool whole = value->kind == Value::Kind::kInteger;
    if (!whole && value->kind != Value::Kind::kFraction) {
        reader.reject(Fault::kWrongType, key, describe(*value), kShareRule, "write a number");
        return;
    }
    const double number = whole ? static_cast<double>(value->integer) : value->fraction;
    if (!(number >= 0.0 && number <= 1.0)) {
        reader.reject(Fault::kOutOfRange, key, describe(*value), kShareRule,
                      "1 % of the frames is 0.01");
        return;
    }
    constexpr double kAll = 1e9;
    share = static_cast<std::uint32_t>(std::lround(number * kAll));
}

std::optional<std::chrono::nanoseconds> parse_time(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kUnits{
        {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};
    std::int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || number < 0) {
        return std::nullopt;
    }
    std::string_view unit(stop, static_cast<std::size_t>(end - stop));
    if (unit.starts_with(' ')) {
        unit.remove_prefix(1);
    }
    for (const auto& [name, nanoseconds] : kUnits) {
        if (unit == name && number <= INT64_MAX / nanoseconds) {
            return std::chrono::nanoseconds(number * nanoseconds);
        }
    }
    return std::nullopt;
}

void read_time(TableReader& reader, std::string_view key, std::chrono::nanoseconds& time) {
    const std::string expected =
        fmt::format("a time of at most {} s, such as \"50us\"", kMostFaultDelay.count());
    const auto text = reader.text(key, expected);
    if (!text) {
        return;
    }
    const auto read = parse_time(*text);
    if (!read) {
        reader.reject(Fault::kMalformed, key, describe(*reader.raw(key)), expected,
                      "write a whole number and ns, us, ms or s");
    } else if (*read > kMostFaultDelay) {
        reader.reject(Fault::kOutOfRange, key, describe(*reader.raw(key)), expected,
                      "choose a shorter time");
    } else {
        time = *read;
    }
}

PortFaults read_faults(const Value& table, ErrorSink& errors) {
    PortFaults faults;
    TableReader reader(table, "faults", errors);
    read_share(reader, "drop", faults.drop);
    read_share(reader, "duplicate", faults.duplicate);
    read_share(reader, "corrupt", faults.corrupt);
    read_share(reader, "mark", faults.mark);
    reader.number("reorder", faults.reorder, 0U, kMostReorder);
    read_share(reader, "reorder_share", faults.reorder_share);
    read_time(reader, "delay", faults.delay);
    read_time(reader, "jitter", faults.jitter);
    reader.number<std::uint64_t>("seed", faults.seed, 0, INT64_MAX);
    reader.choice<FaultDirection>("direction", faults.direction,
                                  {{"both", FaultDirection::kBoth},
                                   {"send", FaultDirection::kSend},
                                   {"receive", FaultDirection::kReceive}});
    reader.finish();
    const bool any = faults.drop != 0 || faults.duplicate != 0 || faults.corrupt != 0 ||
                     faults.mark != 0 || faults.reorder != 0 || faults.delay.count() != 0 ||
                     faults.jitter.count() != 0;
    if (errors.empty() && !any) {
        errors.add(Fault::kMissing, 0, "faults", "without any fault",
                   "drop, duplicate, corrupt, mark, reorder, delay or jitter above 0",
                   "add one of them, or send {\"faults\": \"off\"}");
    }
    return faults;
}

}  // namespace

tl::expected<std::optional<PortFaults>, ConfigurationErrors> parse_fault_request(
    std::string_view json) {
    ErrorSink errors{"request"};
    const auto document = parse_json(json, "request");
    if (!document) {
        const ConfigurationError& first = document.error().front();
        errors.add(first.fault, 0, first.key, first.found, first.expected, kExample);
        return tl::unexpected(errors.take());
    }
    std::optional<PortFaults> faults;
    TableReader reader(*document, "", errors);
    if (reader.require("faults", "a table of faults, or \"off\"")) {
        const Value& value = *reader.raw("faults");
        if (value.kind == Value::Kind::kTable) {
            faults = read_faults(value, errors);
        } else if (value.kind != Value::Kind::kText || value.text != "off") {
            reader.reject(Fault::kWrongType, "faults", describe(value),
                          "a table of faults, or \"off\"", kExample);
        }
    }
    reader.finish();
    if (!errors.empty()) {
        return tl::unexpected(errors.take());
    }
    return faults;
}

}  // namespace vrdma::control
