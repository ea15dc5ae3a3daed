#include "tests/e2e/fault_client/link.h"

#include <gtest/gtest.h>

#include <functional>

namespace vrdma::fault {
namespace {

LinkOptions example() {
    LinkOptions options;
    options.qps = 10;
    options.mrs = 3;
    options.cqs = 2;
    options.size = 100;
    options.window = 4;
    options.memory = verbs_util::MemoryKind::kMemfd;
    options.timeout = 10;
    options.retry_count = 1;
    return options;
}

TEST(LinkOptions, round_trip_as_json) {
    const auto read = link_options_from(to_json(example()));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(to_json(*read), to_json(example()));
}

class LinkField : public testing::TestWithParam<const char*> {};

TEST_P(LinkField, missing_is_refused_by_name) {
    auto json = to_json(example());
    json.erase(GetParam());
    const auto read = link_options_from(json);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().what.find(GetParam()), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Each, LinkField,
                         testing::Values("qps", "mrs", "cqs", "size", "window", "memory", "timeout",
                                         "retry_count"));

struct Broken {
    const char* option;
    std::function<void(LinkOptions&)> damage;
};

class BrokenLink : public testing::TestWithParam<Broken> {};

TEST_P(BrokenLink, is_refused_by_its_option) {
    LinkOptions options = example();
    ASSERT_TRUE(validate(options));
    GetParam().damage(options);
    const auto valid = validate(options);
    ASSERT_FALSE(valid);
    EXPECT_NE(valid.error().what.find(GetParam().option), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each, BrokenLink,
    testing::Values(Broken{"--qps", [](LinkOptions& o) { o.qps = 0; }},
                    Broken{"--mrs", [](LinkOptions& o) { o.mrs = 0; }},
                    Broken{"--cqs", [](LinkOptions& o) { o.cqs = 0; }},
                    Broken{"--cqs", [](LinkOptions& o) { o.cqs = 11; }},
                    Broken{"--size", [](LinkOptions& o) { o.size = 7; }},
                    Broken{"--window", [](LinkOptions& o) { o.window = 0; }},
                    Broken{"--timeout", [](LinkOptions& o) { o.timeout = 32; }},
                    Broken{"--retries", [](LinkOptions& o) { o.retry_count = 8; }}));

}  // namespace
}  // namespace vrdma::fault
