#include "tools/vrdma-doctor/peer.h"

#include <gtest/gtest.h>

namespace vrdma::doctor {
namespace {

Identity ours() {
    return {.vrdma = true, .device = "vrdma0", .service = "1.2", .machine = "boot", .process = 7};
}

TEST(path_between, one_machine_and_one_service_is_same_host) {
    EXPECT_EQ(path_between(ours(), ours()), Path::same_host);
}

TEST(path_between, service_that_a_container_does_not_see_is_taken_for_the_same) {
    Identity there = ours();
    there.process = 0;
    EXPECT_EQ(path_between(ours(), there), Path::same_host);
    EXPECT_EQ(path_between(there, ours()), Path::same_host);
}

TEST(path_between, two_services_of_one_machine_are_vrdma_peers) {
    Identity there = ours();
    there.process = 8;
    EXPECT_EQ(path_between(ours(), there), Path::vrdma_peer);
}

TEST(path_between, two_machines_are_vrdma_peers) {
    Identity there = ours();
    there.machine = "other";
    EXPECT_EQ(path_between(ours(), there), Path::vrdma_peer);
}

TEST(path_between, unknown_machines_are_not_the_same) {
    Identity unknown = ours();
    unknown.machine.clear();
    EXPECT_EQ(path_between(unknown, unknown), Path::vrdma_peer);
}

TEST(path_between, device_of_others_is_a_standard_peer) {
    Identity there = ours();
    there.vrdma = false;
    EXPECT_EQ(path_between(ours(), there), Path::standard_peer);
}

TEST(identity, message_gives_it_back) {
    const Identity there = identity_from(to_json(ours()));
    EXPECT_TRUE(there.vrdma);
    EXPECT_EQ(there.device, "vrdma0");
    EXPECT_EQ(there.service, "1.2");
    EXPECT_EQ(there.machine, "boot");
    EXPECT_EQ(there.process, 7u);
}

TEST(identity, message_of_other_types_is_nobody) {
    const Identity there = identity_from(
        {{"vrdma", 1}, {"device", 2}, {"service", nullptr}, {"machine", {1}}, {"process", "x"}});
    EXPECT_FALSE(there.vrdma);
    EXPECT_EQ(there.device + there.service + there.machine, "");
    EXPECT_EQ(there.process, 0u);
}

}  // namespace
}  // namespace vrdma::doctor
