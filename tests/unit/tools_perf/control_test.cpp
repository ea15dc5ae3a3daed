#include "tools/vrdma-perf/control.h"

#include <gtest/gtest.h>

#include "tools/vrdma-perf/options.h"

namespace vrdma::perf {
namespace {

EndpointOptions opened() {
    EndpointOptions options;
    options.qps = 4;
    options.active = 2;
    options.send_depth = 64;
    options.recv_depth = 128;
    options.max_inline = 100;
    options.buffer_bytes = 8192;
    options.memory = verbs_util::MemoryKind::kMemfd;
    options.events = true;
    return options;
}

Workload fitting() {
    Workload workload;
    workload.size = 1000;
    workload.layout = {1024, 7};
    workload.recv_bytes = 1024;
    workload.active = 2;
    return workload;
}

TEST(Control, endpoint_options_round_trip) {
    const auto read = endpoint_options_from(to_json(opened()));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(to_json(*read), to_json(opened()));
}

TEST(Control, other_version_is_refused) {
    auto json = to_json(opened());
    json["version"] = kControlVersion + 1;
    const auto read = endpoint_options_from(json);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().what.find("version"), std::string::npos);
}

TEST(Control, unknown_transport_is_refused) {
    auto json = to_json(opened());
    json["transport"] = 99;
    EXPECT_FALSE(endpoint_options_from(json));
}

class EndpointField : public testing::TestWithParam<const char*> {};

TEST_P(EndpointField, missing_or_of_wrong_type_is_refused_by_name) {
    for (const bool erase : {true, false}) {
        auto json = to_json(opened());
        if (erase) {
            json.erase(GetParam());
        } else {
            json[GetParam()] = "text";
        }
        const auto read = endpoint_options_from(json);
        ASSERT_FALSE(read);
        EXPECT_NE(read.error().what.find(GetParam()), std::string::npos);
    }
}

INSTANTIATE_TEST_SUITE_P(Each, EndpointField,
                         testing::Values("version", "transport", "qps", "active", "send_depth",
                                         "recv_depth", "max_inline", "buffer_bytes", "memory",
                                         "events"));

TEST(Control, description_round_trips) {
    EndpointDescription description;
    description.buffer = UINT64_MAX - 5;
    description.buffer_bytes = 4096;
    description.rkey = 0xdeadbeef;
    description.mtu_bytes = 1024;
    description.addresses.resize(3);
    description.addresses[2].qpn = 77;
    const auto read = endpoint_description_from(to_json(description));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->buffer, description.buffer);
    EXPECT_EQ(read->rkey, description.rkey);
    ASSERT_EQ(read->addresses.size(), 3U);
    EXPECT_EQ(read->addresses[2].qpn, 77U);
}

TEST(Control, description_without_addresses_is_refused) {
    auto json = to_json(EndpointDescription{});
    json.erase("addresses");
    EXPECT_FALSE(endpoint_description_from(json));
}

TEST(Control, workload_round_trips) {
    const auto read = workload_from(to_json(fitting()), opened());
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(to_json(*read), to_json(fitting()));
}

TEST(Control, layout_beyond_the_buffer_is_refused) {
    auto workload = fitting();
    workload.layout.slots = 9;
    EXPECT_FALSE(workload_from(to_json(workload), opened()));
}

TEST(Control, last_receive_beyond_the_buffer_is_refused) {
    auto workload = fitting();
    workload.recv_bytes = 2049;
    EXPECT_FALSE(workload_from(to_json(workload), opened()));
}

TEST(Control, message_larger_than_its_slot_is_refused) {
    auto workload = fitting();
    workload.size = 1025;
    EXPECT_FALSE(workload_from(to_json(workload), opened()));
}

TEST(Control, empty_layout_is_refused) {
    auto workload = fitting();
    workload.layout.stride = 0;
    EXPECT_FALSE(workload_from(to_json(workload), opened()));
}

TEST(Control, operation_that_the_transport_lacks_is_refused) {
    auto workload = fitting();
    workload.operation = Operation::kRead;
    auto limits = opened();
    limits.transport = IBV_QPT_UC;
    EXPECT_FALSE(workload_from(to_json(workload), limits));
}

TEST(Control, batch_beyond_the_slots_is_refused) {
    EXPECT_TRUE(batch_from(to_json(VerifyBatch{1, 2, 7}), fitting()));
    EXPECT_FALSE(batch_from(to_json(VerifyBatch{1, 2, 8}), fitting()));
}

TEST(Control, error_of_the_other_side_keeps_its_kind_and_advice) {
    const verbs_util::Error error{verbs_util::ErrorKind::kNoDevice, "no RDMA device found", ENOSYS,
                                  "start vrdmad"};
    const auto answer = accept_answer({{"error", to_json(error)}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, verbs_util::ErrorKind::kNoDevice);
    EXPECT_EQ(answer.error().what, "the other side: no RDMA device found");
    EXPECT_EQ(answer.error().error_number, ENOSYS);
    EXPECT_EQ(answer.error().remedy, "start vrdmad");
}

TEST(Control, malformed_error_is_still_an_error) {
    const auto answer = accept_answer({{"error", {{"kind", "x"}, {"what", 5}}}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, verbs_util::ErrorKind::kPartner);
}

TEST(Control, answer_without_error_is_accepted) {
    EXPECT_TRUE(accept_answer({{"ok", true}}));
}

}  // namespace
}  // namespace vrdma::perf
