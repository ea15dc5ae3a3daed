#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/control/configuration_error.h"

namespace vrdma::control {

/// One value of a TOML or JSON document, with the line it stands on. The rules of the configuration
/// are written against this, so that a file and a request are judged by the same code.
struct Value {
    enum class Kind : std::uint8_t {
        kBoolean,
        kInteger,
        kFraction,  ///< in JSON only: no key of the configuration takes one
        kText,
        kArray,
        kTable,
        kOther,  ///< a date, null: nothing of ours takes one
    };
    struct Member;

    Kind kind = Kind::kOther;
    std::uint32_t line{};  ///< 0 in a JSON document
    bool boolean{};
    std::int64_t integer{};
    double fraction{};
    std::string text;  ///< of kText; of kOther, how to name it in an error
    std::vector<Value> items;
    std::vector<Member> members;

    /// Null if a table has no such member.
    [[nodiscard]] const Value* find(std::string_view key) const;
};

struct Value::Member {
    std::string key;
    std::uint32_t line{};
    Value value;
};

/// "the text "abc"", "the number 5", "a table": what an error says was found.
[[nodiscard]] std::string describe(const Value& value);

/// Deepest nesting of arrays and tables that is read; ours needs three.
constexpr unsigned kMaxDocumentDepth = 8;

[[nodiscard]] tl::expected<Value, ConfigurationErrors> parse_toml(std::string_view text,
                                                                  std::string_view file_name);
[[nodiscard]] tl::expected<Value, ConfigurationErrors> parse_json(std::string_view text,
                                                                  std::string_view file_name);

}  // namespace vrdma::control
