// Commands of one tenant beside another one, and what a refusal looks like.
#pragma once

#include <gtest/gtest.h>

#include "pair.h"

namespace vrdma::test {

class CommandTest : public testing::Test {
  protected:
    // The command is refused with this sentence and no object appeared or vanished.
    template <class Body>
    void expect_refused(uint16_t opcode, const Body& body, vrdma_status status,
                        std::string_view text, const Attachment& attachment = {}) {
        const uint32_t before = world.objects();
        const uint64_t refused = world.total(tenant.vnic, Counter::CommandsRejected);
        const CommandOutcome outcome = tenant.command(opcode, body, attachment);
        ASSERT_EQ(outcome.kind, CommandOutcome::Kind::Refused) << text;
        EXPECT_EQ(outcome.refusal.status, status) << outcome.refusal.text;
        EXPECT_NE(std::string_view(outcome.refusal.text).find(text), std::string_view::npos)
            << outcome.refusal.text;
        EXPECT_EQ(world.objects(), before);
        EXPECT_EQ(world.total(tenant.vnic, Counter::CommandsRejected), refused + 1);
    }
    void expect_bad_length(uint16_t opcode) {
        const uint8_t one = 0;
        expect_refused(opcode, one, VRDMA_STATUS_INVALID, "body length");
    }
    void expect_unknown_handle(uint16_t opcode, std::string_view text) {
        for (const uint32_t handle : {40U, 255U, 100'000U, UINT32_MAX}) {
            expect_refused(opcode, vrdma_handle{handle, 0}, VRDMA_STATUS_NOT_FOUND, text);
        }
    }
    void expect_busy(uint16_t opcode, uint32_t handle) {
        expect_refused(opcode, vrdma_handle{handle, 0}, VRDMA_STATUS_BUSY, "still");
    }
    // Creates until the pool is empty.
    template <class Create>
    void exhaust(const Create& create) {
        for (int i = 0; i < 100'000; ++i) {
            const CommandOutcome outcome = create();
            if (outcome.kind != CommandOutcome::Kind::Done) {
                EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_NO_RESOURCE);
                EXPECT_NE(std::string_view(outcome.refusal.text).find("left on this host"),
                          std::string_view::npos)
                    << outcome.refusal.text;
                return;
            }
        }
        ADD_FAILURE() << "the pool has no end";
    }

    World world;
    Tenant tenant{world, world.add_vnic(kNetwork, kAddressA)};
    Tenant other{world, world.add_vnic(kNetwork, kAddressB)};
};

}  // namespace vrdma::test
