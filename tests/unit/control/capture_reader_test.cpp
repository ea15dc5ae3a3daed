#include "dataplane/control/capture_reader.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

using testing::HasSubstr;

ConfigurationError only_error(const std::string& body) {
    const auto result = parse_capture_request(body);
    EXPECT_FALSE(result) << body;
    if (result) {
        return {};
    }
    EXPECT_EQ(result.error().size(), 1U) << body;
    return result.error().front();
}

TEST(CaptureReader, without_any_key_everything_is_captured) {
    const auto result = parse_capture_request("{}");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->snap_length, kMostSnapLength);
    EXPECT_FALSE(result->count);
    EXPECT_FALSE(result->qpn);
    EXPECT_FALSE(result->peer);
}

TEST(CaptureReader, numbers_are_read) {
    const auto result = parse_capture_request(R"({"snaplen": 64, "count": 10, "qp": 1048575})");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->snap_length, 64U);
    EXPECT_EQ(result->count, 10U);
    EXPECT_EQ(result->qpn, 1048575U);
}

TEST(CaptureReader, peer_is_ipv4_or_ipv6) {
    EXPECT_EQ(to_string(*parse_capture_request(R"({"peer": "10.0.0.2"})")->peer),
              "0000:0000:0000:0000:0000:ffff:0a00:0002");
    EXPECT_EQ(to_string(*parse_capture_request(R"({"peer": "fe80::1"})")->peer),
              "fe80:0000:0000:0000:0000:0000:0000:0001");
}

TEST(CaptureReader, peer_that_is_no_address_is_malformed) {
    for (const char* const text : {"host", "10.0.0", "10.0.0.2/24", ""}) {
        const auto error = only_error("{\"peer\": \"" + std::string(text) + "\"}");
        EXPECT_EQ(error.fault, Fault::kMalformed) << text;
        EXPECT_EQ(error.key, "peer");
    }
}

TEST(CaptureReader, number_outside_its_bounds_is_refused) {
    for (const auto& [key, value] :
         {std::pair{"snaplen", "63"}, {"snaplen", "65537"}, {"count", "0"}, {"qp", "16777216"}}) {
        const auto error = only_error("{\"" + std::string(key) + "\": " + value + "}");
        EXPECT_EQ(error.fault, Fault::kOutOfRange) << key;
        EXPECT_EQ(error.key, key);
    }
}

TEST(CaptureReader, queue_pair_that_is_no_number_is_refused) {
    EXPECT_EQ(only_error(R"({"qp": "seven"})").fault, Fault::kWrongType);
}

TEST(CaptureReader, queue_pair_and_peer_exclude_each_other) {
    EXPECT_EQ(only_error(R"({"qp": 1, "peer": "10.0.0.2"})").fault, Fault::kInconsistent);
}

TEST(CaptureReader, unknown_key_is_refused_with_the_known_ones) {
    const auto error = only_error(R"({"duration": "10s"})");
    EXPECT_EQ(error.fault, Fault::kUnknownKey);
    EXPECT_THAT(error.expected, HasSubstr("snaplen"));
}

TEST(CaptureReader, body_that_is_no_json_is_refused_with_an_example) {
    const auto error = only_error("all");
    EXPECT_EQ(error.fault, Fault::kSyntax);
    EXPECT_THAT(error.remedy, HasSubstr("10.0.0.2"));
}

}  // namespace
}  // namespace vrdma::control
