#include "dataplane/control/fault_reader.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

using testing::HasSubstr;

ConfigurationErrors errors_of(const std::string& body) {
    const auto result = parse_fault_request(body);
    return result ? ConfigurationErrors{} : result.error();
}

/// The only error about the faults `inside` the braces.
ConfigurationError only_error(const std::string& inside) {
    const auto errors = errors_of("{\"faults\": {" + inside + "}}");
    EXPECT_EQ(errors.size(), 1U) << inside;
    return errors.empty() ? ConfigurationError{} : errors.front();
}

TEST(FaultReader, all_keys_are_read) {
    const auto result = parse_fault_request(
        R"({"faults": {"drop": 0.01, "duplicate": 1, "corrupt": 0.000000001, "mark": 0.5,
            "reorder": 64, "reorder_share": 0.25, "delay": "50us", "jitter": "2 ms", "seed": 9,
            "direction": "receive"}})");
    ASSERT_TRUE(result);
    const PortFaults& faults = result->value();
    EXPECT_EQ(faults.drop, 10'000'000U);
    EXPECT_EQ(faults.duplicate, 1'000'000'000U);
    EXPECT_EQ(faults.corrupt, 1U);
    EXPECT_EQ(faults.mark, 500'000'000U);
    EXPECT_EQ(faults.reorder, 64U);
    EXPECT_EQ(faults.reorder_share, 250'000'000U);
    EXPECT_EQ(faults.delay, std::chrono::microseconds(50));
    EXPECT_EQ(faults.jitter, std::chrono::milliseconds(2));
    EXPECT_EQ(faults.seed, 9U);
    EXPECT_EQ(faults.direction, FaultDirection::kReceive);
}

TEST(FaultReader, absent_keys_have_their_defaults) {
    const auto result = parse_fault_request(R"({"faults": {"reorder": 1}})");
    ASSERT_TRUE(result);
    const PortFaults& faults = result->value();
    EXPECT_EQ(faults.drop, 0U);
    EXPECT_EQ(faults.reorder_share, 10'000'000U);
    EXPECT_EQ(faults.seed, 1U);
    EXPECT_EQ(faults.direction, FaultDirection::kBoth);
}

TEST(FaultReader, off_is_no_faults) {
    const auto result = parse_fault_request(R"({"faults": "off"})");
    ASSERT_TRUE(result);
    EXPECT_EQ(*result, std::nullopt);
}

TEST(FaultReader, body_that_is_something_else_is_refused_with_an_example) {
    for (const char* body :
         {"", "no json", "{", R"({"faults": "on"})", R"({"faults": null})", R"({"faults": 1})"}) {
        const auto errors = errors_of(body);
        ASSERT_EQ(errors.size(), 1U) << body;
        EXPECT_THAT(errors[0].remedy, HasSubstr("{\"faults\": \"off\"}")) << body;
    }
}

TEST(FaultReader, body_without_faults_is_refused) {
    const auto errors = errors_of("{}");
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].fault, Fault::kMissing);
    EXPECT_EQ(errors[0].key, "faults");
}

TEST(FaultReader, key_beside_faults_is_refused) {
    const auto errors = errors_of(R"({"faults": "off", "state": "up"})");
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].fault, Fault::kUnknownKey);
}

TEST(FaultReader, unknown_fault_is_refused_with_the_nearest) {
    const ConfigurationError error = only_error(R"("drop": 0.1, "delya": "1us")");
    EXPECT_EQ(error.fault, Fault::kUnknownKey);
    EXPECT_EQ(error.key, "faults.delya");
    EXPECT_THAT(error.remedy, HasSubstr("\"delay\""));
}

TEST(FaultReader, share_outside_0_to_1_is_refused) {
    for (const char* share : {"-1", "2", "1.01", "-0.1"}) {
        for (const char* key : {"drop", "duplicate", "corrupt", "mark", "reorder_share"}) {
            const auto error = only_error(std::string("\"") + key + "\": " + share);
            EXPECT_EQ(error.fault, Fault::kOutOfRange) << key;
            EXPECT_THAT(error.expected, HasSubstr("from 0 to 1"));
        }
    }
}

TEST(FaultReader, share_that_is_no_number_is_refused) {
    EXPECT_EQ(only_error(R"("drop": "1%")").fault, Fault::kWrongType);
}

TEST(FaultReader, reorder_beyond_the_limit_is_refused) {
    EXPECT_EQ(only_error(R"("reorder": 257)").fault, Fault::kOutOfRange);
    EXPECT_TRUE(errors_of(R"({"faults": {"reorder": 256}})").empty());
}

TEST(FaultReader, time_that_is_none_is_refused) {
    for (const char* time :
         {"", "50", "us", "50 years", "-1us", "1.5us", "99999999999999999999s"}) {
        EXPECT_EQ(only_error(std::string(R"("delay": ")") + time + "\"").fault, Fault::kMalformed)
            << time;
    }
    EXPECT_EQ(only_error(R"("jitter": 50)").fault, Fault::kWrongType);
}

TEST(FaultReader, time_beyond_the_limit_is_refused) {
    EXPECT_EQ(only_error(R"("delay": "1001ms")").fault, Fault::kOutOfRange);
    EXPECT_TRUE(errors_of(R"({"faults": {"delay": "1s"}})").empty());
}

TEST(FaultReader, direction_that_is_none_is_refused) {
    EXPECT_EQ(only_error(R"("drop": 1, "direction": "up")").key, "faults.direction");
}

TEST(FaultReader, seed_below_zero_is_refused) {
    EXPECT_EQ(only_error(R"("drop": 1, "seed": -1)").key, "faults.seed");
}

TEST(FaultReader, faults_that_are_none_are_refused) {
    for (const char* inside : {"", R"("seed": 5)", R"("drop": 0)", R"("reorder_share": 1)"}) {
        const ConfigurationError error = only_error(inside);
        EXPECT_EQ(error.fault, Fault::kMissing) << inside;
        EXPECT_THAT(error.remedy, HasSubstr("off"));
    }
}

}  // namespace
}  // namespace vrdma::control
