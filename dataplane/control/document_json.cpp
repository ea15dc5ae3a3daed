// JSON text to Value.
//
// Used for the bodies of requests. Numbers beyond 63 bits become kOther: no key of ours takes one,
// and rounding them silently would be worse than refusing. A key that occurs twice is refused,
// because which of the two counts differs between programs.

#include <set>

#include <nlohmann/json.hpp>

#include "dataplane/control/document.h"

namespace vrdma::control {
namespace {

using Json = nlohmann::json;

Value convert(const Json& json, unsigned depth);

void convert_container(const Json& json, unsigned depth, Value& value) {
    value.kind = json.is_array() ? Value::Kind::kArray : Value::Kind::kTable;
    for (const auto& [key, item] : json.items()) {
        if (json.is_array()) {
            value.items.push_back(convert(item, depth));
        } else {
            value.members.push_back({key, 0, convert(item, depth)});
        }
    }
}

Value convert(const Json& json, unsigned depth) {
    Value value;
    if (depth == 0) {
        value.text = "too many levels of nesting";
    } else if (json.is_structured()) {
        convert_container(json, depth - 1, value);
    } else if (json.is_boolean()) {
        value.kind = Value::Kind::kBoolean;
        value.boolean = json.get<bool>();
    } else if (json.is_string()) {
        value.kind = Value::Kind::kText;
        value.text = json.get<std::string>();
    } else if (json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
        value.text = "a number beyond 63 bits";
    } else if (json.is_number_integer()) {
        value.kind = Value::Kind::kInteger;
        value.integer = json.get<std::int64_t>();
    } else if (json.is_number_float()) {
        value.kind = Value::Kind::kFraction;
        value.fraction = json.get<double>();
    } else {
        value.text = "null";
    }
    return value;
}

ConfigurationErrors syntax_error(std::string_view file_name, std::string found) {
    return {{Fault::kSyntax, std::string(file_name), 0, "", std::move(found), "a JSON object",
             "send one, for example {\"name\": \"a\", \"network\": \"blue\", \"address\": "
             "\"10.0.0.1\"}"}};
}

/// Remembers the keys of every object that is open, to notice one that comes twice.
class DuplicateWatch {
  public:
    bool operator()(int, Json::parse_event_t event, Json& parsed) {
        if (event == Json::parse_event_t::object_start) {
            open_.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            open_.pop_back();
        } else if (event == Json::parse_event_t::key) {
            const auto key = parsed.get<std::string>();
            if (!open_.back().insert(key).second && duplicate_.empty()) {
                duplicate_ = key;
            }
        }
        return true;
    }
    [[nodiscard]] const std::string& duplicate() const { return duplicate_; }

  private:
    std::vector<std::set<std::string>> open_;
    std::string duplicate_;
};

}  // namespace

tl::expected<Value, ConfigurationErrors> parse_json(std::string_view text,
                                                    std::string_view file_name) {
    DuplicateWatch watch;
    const Json json = Json::parse(text, std::ref(watch), /*allow_exceptions=*/false);
    if (json.is_discarded()) {
        return tl::unexpected(syntax_error(file_name, "text that is not JSON"));
    }
    if (!watch.duplicate().empty()) {
        Value key;
        key.kind = Value::Kind::kText;
        key.text = watch.duplicate();
        return tl::unexpected(syntax_error(file_name, describe(key) + " as a key twice"));
    }
    Value value = convert(json, kMaxDocumentDepth);
    if (value.kind != Value::Kind::kTable) {
        return tl::unexpected(syntax_error(file_name, describe(value)));
    }
    return value;
}

}  // namespace vrdma::control
