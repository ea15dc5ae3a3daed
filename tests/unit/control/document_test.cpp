#include "dataplane/control/document.h"

#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

TEST(Document, toml_values_carry_kind_and_line) {
    const auto document = parse_toml("[a]\nx = 1\ny = \"t\"\nz = [true]\n", "f");
    ASSERT_TRUE(document);
    const Value* const table = document->find("a");
    ASSERT_NE(table, nullptr);
    ASSERT_NE(table->find("x"), nullptr);
    EXPECT_EQ(table->find("x")->integer, 1);
    EXPECT_EQ(table->find("x")->line, 2U);
    EXPECT_EQ(table->find("y")->text, "t");
    EXPECT_EQ(table->find("y")->line, 3U);
    ASSERT_EQ(table->find("z")->items.size(), 1U);
    EXPECT_TRUE(table->find("z")->items[0].boolean);
    EXPECT_EQ(table->find("missing"), nullptr);
}

TEST(Document, toml_syntax_error_names_file_and_line) {
    const auto document = parse_toml("a = 1\nb = \n", "some.toml");
    ASSERT_FALSE(document);
    ASSERT_EQ(document.error().size(), 1U);
    EXPECT_EQ(document.error()[0].fault, Fault::kSyntax);
    EXPECT_EQ(document.error()[0].file, "some.toml");
    EXPECT_EQ(document.error()[0].line, 2U);
}

TEST(Document, toml_key_twice_is_refused) {
    const auto document = parse_toml("a = 1\na = 2\n", "f");
    ASSERT_FALSE(document);
    EXPECT_EQ(document.error()[0].line, 2U);
}

TEST(Document, toml_not_utf8_is_refused) {
    EXPECT_FALSE(parse_toml("a = \"\xff\"", "f"));
}

TEST(Document, toml_kinds_nothing_takes_are_named) {
    const auto document = parse_toml("a = 1.5\nb = 2020-01-01\n", "f");
    ASSERT_TRUE(document);
    EXPECT_EQ(describe(*document->find("a")), "a number with a fraction");
    EXPECT_EQ(describe(*document->find("b")), "a date or time");
}

TEST(Document, json_object_gives_the_same_tree_as_toml) {
    const auto document = parse_json(R"({"a": {"x": 1, "y": "t", "z": [true]}})", "request");
    ASSERT_TRUE(document);
    const Value* const table = document->find("a");
    ASSERT_NE(table, nullptr);
    EXPECT_EQ(table->kind, Value::Kind::kTable);
    EXPECT_EQ(table->find("x")->integer, 1);
    EXPECT_EQ(table->find("y")->text, "t");
    EXPECT_TRUE(table->find("z")->items[0].boolean);
}

class BadJson : public testing::TestWithParam<const char*> {};

TEST_P(BadJson, parse_is_a_syntax_error) {
    const auto document = parse_json(GetParam(), "request");
    ASSERT_FALSE(document);
    EXPECT_EQ(document.error().at(0).fault, Fault::kSyntax);
}

INSTANTIATE_TEST_SUITE_P(Texts, BadJson,
                         testing::Values("", "{", "[]", "1", "null", "{\"a\":1}x", "{'a':1}",
                                         "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":2}}",
                                         "{\"a\":\"\xff\"}"));

TEST(Document, json_same_key_in_two_objects_is_no_duplicate) {
    EXPECT_TRUE(parse_json(R"({"a": {"x": 1}, "b": {"x": 1}})", "request"));
}

TEST(Document, json_fraction_is_a_number) {
    const auto document = parse_json(R"({"a": 0.125})", "request");
    ASSERT_TRUE(document);
    EXPECT_EQ(document->find("a")->kind, Value::Kind::kFraction);
    EXPECT_EQ(document->find("a")->fraction, 0.125);
    EXPECT_EQ(describe(*document->find("a")), "the number 0.125");
}

TEST(Document, json_numbers_nothing_takes_are_named) {
    const auto document =
        parse_json(R"({"b": null, "c": 18446744073709551615, "d": -1})", "request");
    ASSERT_TRUE(document);
    EXPECT_EQ(describe(*document->find("b")), "null");
    EXPECT_EQ(describe(*document->find("c")), "a number beyond 63 bits");
    EXPECT_EQ(document->find("d")->integer, -1);
}

TEST(Document, json_nested_too_deeply_ends_in_a_named_value) {
    std::string text(30000, '[');
    text += std::string(30000, ']');
    const auto document = parse_json("{\"a\":" + text + "}", "request");
    ASSERT_TRUE(document);
    const Value* value = document->find("a");
    while (!value->items.empty()) {
        value = &value->items[0];
    }
    EXPECT_EQ(describe(*value), "too many levels of nesting");
}

TEST(Document, toml_nested_too_deeply_ends_in_a_named_value_or_an_error) {
    EXPECT_TRUE(parse_toml("a = " + std::string(20, '[') + std::string(20, ']'), "f"));
    EXPECT_FALSE(parse_toml("a = " + std::string(5000, '[') + std::string(5000, ']'), "f"));
}

TEST(Document, describe_escapes_control_characters_and_shortens) {
    Value value;
    value.kind = Value::Kind::kText;
    value.text = "\x1b[31mred\n";
    EXPECT_EQ(describe(value), "the text \"\\x1b[31mred\\x0a\"");
    value.text = std::string(1000, 'x');
    EXPECT_LT(describe(value).size(), 120U);
}

}  // namespace
}  // namespace vrdma::control
