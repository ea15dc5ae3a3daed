// TOML text to Value.
//
// The only file that includes toml++: its templates are slow to compile, and its version decides
// nothing else. It is compiled without exceptions, so a syntax error is a result like any other.
// toml++ stops at the first syntax error; what follows an unclosed quote would be noise anyway.
// A table's members come back in the order of the alphabet; errors are sorted by line at the end.

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "dataplane/control/document.h"

namespace vrdma::control {
namespace {

std::uint32_t line_of(const toml::source_region& region) {
    return region.begin.line;
}

Value convert(const toml::node& node, unsigned depth);

Value convert_array(const toml::array& array, unsigned depth) {
    Value value;
    value.kind = Value::Kind::kArray;
    for (const toml::node& item : array) {
        value.items.push_back(convert(item, depth));
    }
    return value;
}

Value convert_table(const toml::table& table, unsigned depth) {
    Value value;
    value.kind = Value::Kind::kTable;
    for (const auto& [key, node] : table) {
        value.members.push_back(
            {std::string(key.str()), line_of(key.source()), convert(node, depth)});
    }
    return value;
}

Value convert_leaf(const toml::node& node) {
    Value value;
    if (const auto* boolean = node.as_boolean()) {
        value.kind = Value::Kind::kBoolean;
        value.boolean = boolean->get();
    } else if (const auto* integer = node.as_integer()) {
        value.kind = Value::Kind::kInteger;
        value.integer = integer->get();
    } else if (const auto* text = node.as_string()) {
        value.kind = Value::Kind::kText;
        value.text = text->get();
    } else {
        value.text = node.is_floating_point() ? "a number with a fraction" : "a date or time";
    }
    return value;
}

Value convert(const toml::node& node, unsigned depth) {
    Value value;
    if (depth == 0) {
        value.text = "too many levels of nesting";
    } else if (const auto* array = node.as_array()) {
        value = convert_array(*array, depth - 1);
    } else if (const auto* table = node.as_table()) {
        value = convert_table(*table, depth - 1);
    } else {
        value = convert_leaf(node);
    }
    value.line = line_of(node.source());
    return value;
}

}  // namespace

tl::expected<Value, ConfigurationErrors> parse_toml(std::string_view text,
                                                    std::string_view file_name) {
    const toml::parse_result result = toml::parse(text, file_name);
    if (!result) {
        const toml::parse_error& error = result.error();
        return tl::unexpected(ConfigurationErrors{
            {Fault::kSyntax, std::string(file_name), line_of(error.source()), "",
             std::string(error.description()), "a TOML 1.0 document",
             "correct the file at column " + std::to_string(error.source().begin.column)}});
    }
    return convert_table(result.table(), kMaxDocumentDepth);
}

}  // namespace vrdma::control
