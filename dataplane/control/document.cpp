// What TOML and JSON have in common.
//
// Text that reaches an error message comes from a file or from a client of the API, so it is shown
// shortened and with control characters escaped: an operator's terminal must not execute it, and a
// 64 KiB value must not bury the message.

#include "dataplane/control/document.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

namespace vrdma::control {
namespace {

constexpr std::size_t kMaxShown = 80;

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, kMaxShown)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\x{:02x}", byte);
        } else {
            out += c;
        }
    }
    out += text.size() > kMaxShown ? "...\"" : "\"";
    return out;
}

}  // namespace

const Value* Value::find(std::string_view key) const {
    const auto it = std::find_if(members.begin(), members.end(),
                                 [&](const Member& member) { return member.key == key; });
    return it == members.end() ? nullptr : &it->value;
}

std::string describe(const Value& value) {
    switch (value.kind) {
        case Value::Kind::kBoolean:
            return value.boolean ? "true" : "false";
        case Value::Kind::kInteger:
            return fmt::format("the number {}", value.integer);
        case Value::Kind::kFraction:
            return fmt::format("the number {}", value.fraction);
        case Value::Kind::kText:
            return "the text " + quoted(value.text);
        case Value::Kind::kArray:
            return "an array";
        case Value::Kind::kTable:
            return "a table";
        case Value::Kind::kOther:
            return value.text;
    }
    return {};
}

}  // namespace vrdma::control
