// Request targets.
//
// The names in this API are made of letters, digits and '-', so a target is split at '/', '?', '&'
// and '=' and nothing is decoded: two spellings of one name would be one more than can be checked
// at a glance. Stateless.

#include "dataplane/control/target.h"

#include <algorithm>

namespace vrdma::control {
namespace {

/// Cuts the text up to the separator off the front of `rest`.
std::string_view next_part(std::string_view& rest, char separator) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

bool parse_query(std::string_view text, Target& target) {
    while (!text.empty()) {
        std::string_view value = next_part(text, '&');
        const std::string key(next_part(value, '='));
        if (key.empty() || target.find(key)) {
            return false;
        }
        target.query.emplace_back(key, value);
    }
    return true;
}

}  // namespace

std::optional<std::string> Target::find(std::string_view key) const {
    const auto it = std::find_if(query.begin(), query.end(),
                                 [&](const auto& entry) { return entry.first == key; });
    return it == query.end() ? std::nullopt : std::optional(it->second);
}

std::optional<Target> parse_target(std::string_view text) {
    if (!text.starts_with('/') || text.find_first_of("%#") != std::string_view::npos) {
        return std::nullopt;
    }
    Target target;
    std::string_view query = text;
    std::string_view path = next_part(query, '?').substr(1);
    if (path.ends_with('/')) {
        return std::nullopt;
    }
    while (!path.empty()) {
        const std::string_view segment = next_part(path, '/');
        if (segment.empty()) {
            return std::nullopt;
        }
        target.path.emplace_back(segment);
    }
    return parse_query(query, target) ? std::optional(target) : std::nullopt;
}

}  // namespace vrdma::control
