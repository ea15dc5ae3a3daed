// Reading answers.
//
// Tool and service may be of different releases: a field that one of them does not have must not
// end the other. Missing is shown as "-", never as a zero that could be mistaken for a measurement,
// except where number_of() is used for arithmetic.

#include "tools/vrdmactl/answer.h"

namespace vrdma::vrdmactl {
namespace {

std::string text_of_value(const Json& value) {
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "yes" : "no";
    }
    return value.is_number() ? value.dump() : "-";
}

}  // namespace

const Json& member(const Json& object, std::string_view key) {
    static const Json kNull;
    if (!object.is_object()) {
        return kNull;
    }
    const auto it = object.find(std::string(key));
    return it == object.end() ? kNull : *it;
}

std::string text_of(const Json& object, std::string_view key) {
    return text_of_value(member(object, key));
}

std::uint64_t number_of(const Json& object, std::string_view key) {
    const Json& value = member(object, key);
    const bool good =
        value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0);
    return good ? value.get<std::uint64_t>() : 0;
}

std::string join(const Json& array, std::string_view separator) {
    std::string text;
    if (array.is_array()) {
        for (const Json& item : array) {
            text += (text.empty() ? "" : std::string(separator)) + text_of_value(item);
        }
    }
    return text.empty() ? "-" : text;
}

}  // namespace vrdma::vrdmactl
