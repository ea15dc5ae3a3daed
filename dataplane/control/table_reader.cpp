// Reading a table key by key, collecting what is wrong.
//
// The reader never stops at an error: an operator who repairs a file wants the whole list, not one
// line per attempt. It also remembers every key it was asked for, so the set of known keys cannot
// drift from the code that reads them: what is left over is unknown, and the nearest known key is
// offered. It owns nothing but that list; values and errors belong to the caller.

#include "dataplane/control/table_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include <fmt/format.h>

namespace vrdma::control {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row.back();
}

/// "64 GiB" to bytes. Nothing if it is no such text or does not fit 63 bits.
std::optional<std::uint64_t> parse_bytes(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, unsigned>, 5> kUnits{
        {{"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}};
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{}) {
        return std::nullopt;
    }
    std::string_view unit(stop, static_cast<std::size_t>(end - stop));
    if (unit.starts_with(' ')) {
        unit.remove_prefix(1);
    }
    for (const auto& [name, shift] : kUnits) {
        if (unit == name && number <= (std::uint64_t{INT64_MAX} >> shift)) {
            return number << shift;
        }
    }
    return std::nullopt;
}

}  // namespace

void ErrorSink::add(Fault fault, std::uint32_t line, std::string key, std::string found,
                    std::string expected, std::string remedy) {
    errors_.push_back({fault, file_, line, std::move(key), std::move(found), std::move(expected),
                       std::move(remedy)});
}

ConfigurationErrors ErrorSink::take() {
    std::stable_sort(errors_.begin(), errors_.end(),
                     [](const auto& a, const auto& b) { return a.line < b.line; });
    return std::exchange(errors_, {});
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
    constexpr std::size_t kLongestWord = 64;  // the distance costs the product of the lengths
    const std::size_t tolerance = 1 + word.size() / 4;
    std::optional<std::string> best;
    std::size_t best_distance = tolerance + 1;
    for (const std::string& candidate : candidates) {
        if (word.size() > kLongestWord) {
            break;
        }
        const std::size_t distance = edit_distance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

std::string suggest(std::string_view word, std::span<const std::string> candidates) {
    if (const auto meant = nearest(word, candidates)) {
        return fmt::format("did you mean \"{}\"?", *meant);
    }
    return fmt::format("use one of: {}", fmt::join(candidates, ", "));
}

std::string TableReader::path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const Value* TableReader::raw(std::string_view key) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        known_.emplace_back(key);
    }
    return table_.find(key);
}

void TableReader::reject(Fault fault, std::string_view key, std::string found, std::string expected,
                         std::string remedy) {
    const Value* const value = table_.find(key);
    errors_.add(fault, value == nullptr ? table_.line : value->line, path_of(key), std::move(found),
                std::move(expected), std::move(remedy));
}

bool TableReader::require(std::string_view key, std::string_view expected) {
    if (raw(key) != nullptr) {
        return true;
    }
    reject(Fault::kMissing, key, "nothing", std::string(expected), fmt::format("add {}", key));
    return false;
}

std::optional<std::uint64_t> TableReader::integer(std::string_view key, std::uint64_t lowest,
                                                  std::uint64_t highest) {
    const Value* const value = raw(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    const std::string expected = fmt::format("a whole number from {} to {}", lowest, highest);
    if (value->kind != Value::Kind::kInteger) {
        reject(Fault::kWrongType, key, describe(*value), expected, "write the number, unquoted");
        return std::nullopt;
    }
    if (value->integer < 0 || static_cast<std::uint64_t>(value->integer) < lowest ||
        static_cast<std::uint64_t>(value->integer) > highest) {
        reject(Fault::kOutOfRange, key, describe(*value), expected,
               "choose a number in this range or remove the key to get the default");
        return std::nullopt;
    }
    return static_cast<std::uint64_t>(value->integer);
}

void TableReader::bytes(std::string_view key, std::uint64_t& field) {
    constexpr std::uint64_t kHighest = INT64_MAX;
    const Value* const value = raw(key);
    if (value == nullptr || value->kind != Value::Kind::kText) {
        number<std::uint64_t>(key, field, 1, kHighest);
        return;
    }
    const auto parsed = parse_bytes(value->text);
    const std::string expected = "a number of bytes, or text such as \"512 MiB\" or \"64 GiB\"";
    if (!parsed) {
        reject(Fault::kMalformed, key, describe(*value), expected,
               "write a whole number and one of B, KiB, MiB, GiB, TiB");
    } else if (*parsed == 0) {
        reject(Fault::kOutOfRange, key, describe(*value), expected,
               "choose at least one byte or remove the key to get the default");
    } else {
        field = *parsed;
    }
}

void TableReader::boolean(std::string_view key, bool& field) {
    const Value* const value = raw(key);
    if (value == nullptr) {
        return;
    }
    if (value->kind == Value::Kind::kBoolean) {
        field = value->boolean;
    } else {
        reject(Fault::kWrongType, key, describe(*value), "true or false",
               "write one of the two, unquoted");
    }
}

std::optional<std::string> TableReader::text(std::string_view key, std::string_view expected) {
    const Value* const value = raw(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->kind != Value::Kind::kText) {
        reject(Fault::kWrongType, key, describe(*value), std::string(expected),
               "write it as text in double quotes");
        return std::nullopt;
    }
    return value->text;
}

std::optional<std::size_t> TableReader::choice_index(std::string_view key,
                                                     std::span<const std::string> words) {
    const std::string expected = fmt::format("one of {}", fmt::join(words, ", "));
    const auto word = text(key, expected);
    if (!word) {
        return std::nullopt;
    }
    const auto it = std::find(words.begin(), words.end(), *word);
    if (it == words.end()) {
        reject(Fault::kUnknownChoice, key, describe(*table_.find(key)), expected,
               suggest(*word, words));
        return std::nullopt;
    }
    return static_cast<std::size_t>(it - words.begin());
}

std::optional<std::vector<std::uint32_t>> TableReader::numbers(std::string_view key,
                                                               std::uint32_t highest) {
    const Value* const value = raw(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    const std::string expected = fmt::format("a list of whole numbers from 0 to {}", highest);
    if (value->kind != Value::Kind::kArray) {
        reject(Fault::kWrongType, key, describe(*value), expected, "write, for example, [2, 3]");
        return std::nullopt;
    }
    std::vector<std::uint32_t> result;
    bool good = true;
    for (const Value& item : value->items) {
        const bool is_number = item.kind == Value::Kind::kInteger;
        if (is_number && item.integer >= 0 && item.integer <= std::int64_t{highest}) {
            result.push_back(static_cast<std::uint32_t>(item.integer));
            continue;
        }
        good = false;
        reject(is_number ? Fault::kOutOfRange : Fault::kWrongType, key,
               describe(item) + " in the list", expected, "correct or remove this entry");
    }
    return good ? std::optional(result) : std::nullopt;
}

void TableReader::finish() {
    for (const Value::Member& member : table_.members) {
        if (std::find(known_.begin(), known_.end(), member.key) == known_.end()) {
            errors_.add(Fault::kUnknownKey, member.line, path_of(member.key), "an unknown key",
                        fmt::format("one of {}", fmt::join(known_, ", ")),
                        suggest(member.key, known_));
        }
    }
}

}  // namespace vrdma::control
