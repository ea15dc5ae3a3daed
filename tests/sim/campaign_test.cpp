// Random runs: so many events, and no violation.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/sim/campaign.h"

namespace vrdma::sim {
namespace {

constexpr uint64_t kEventsPerTest = 2'000'000;

// VRDMA_SIM_EVENTS: events of each test, to run it longer, or shorter under a sanitizer.
uint64_t events_per_test() {
    const char* wanted = std::getenv("VRDMA_SIM_EVENTS");
    return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : kEventsPerTest;
}

std::string run(uint64_t first_seed, Opposite opposite) {
    announce_seed_on_abort();
    const CampaignResult result = run_campaign(first_seed, events_per_test(), opposite);
    testing::Test::RecordProperty("events", std::to_string(result.events));
    testing::Test::RecordProperty("seeds", std::to_string(result.seeds));
    if (!result.violation) {
        return "";
    }
    return std::string(check_name(result.violation->check)) + ": " + result.violation->text +
           "\nreplay with: " + replay_command(result.failing_seed, opposite);
}

// Parts of one campaign: a failure says more when the others go on.
class CampaignTest : public testing::TestWithParam<uint64_t> {};

TEST_P(CampaignTest, random_worlds_show_no_violation) {
    EXPECT_EQ(run(GetParam(), Opposite::Product), "");
}

TEST_P(CampaignTest, random_worlds_with_reference_peer_show_no_violation) {
    EXPECT_EQ(run(GetParam(), Opposite::Reference), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, CampaignTest, testing::Values(1, 100'000, 200'000));

// Worlds in which something was wrong once: found by longer campaigns than the ones above.
struct MendedWorld {
    uint64_t seed;
    Opposite opposite;
};

class MendedWorldTest : public testing::TestWithParam<MendedWorld> {};

TEST_P(MendedWorldTest, shows_no_violation) {
    const auto [seed, opposite] = GetParam();
    const CampaignResult result = run_campaign(seed, 1, opposite);
    EXPECT_FALSE(result.violation)
        << result.violation->text << "\nreplay with: " << replay_command(seed, opposite);
}

INSTANTIATE_TEST_SUITE_P(
    , MendedWorldTest,
    testing::Values(
        // The count of outstanding READs drifted from the window, and nothing more was asked for.
        MendedWorld{1'001'719, Opposite::Product},
        // The RNR NAK for a packet that was held got lost; the packet counted as delivered.
        MendedWorld{60'007'875, Opposite::Product}, MendedWorld{60'036'574, Opposite::Product},
        // Duplicates of UC packets, later than the receiver took for possible.
        MendedWorld{60'015'763, Opposite::Product}, MendedWorld{60'015'831, Opposite::Product},
        MendedWorld{80'064'525, Opposite::Reference}),
    [](const testing::TestParamInfo<MendedWorld>& mended) {
        return "seed_" + std::to_string(mended.param.seed);
    });

TEST(CampaignTest, same_seed_gives_same_run) {
    const Report a = World(draw_scenario(42)).run();
    const Report b = World(draw_scenario(42)).run();
    EXPECT_EQ(a.events, b.events);
    EXPECT_EQ(a.end, b.end);
    EXPECT_EQ(a.link[0].sent, b.link[0].sent);
}

TEST(CampaignTest, half_of_the_runs_begin_next_to_the_wrap) {
    uint32_t near = 0;
    constexpr uint32_t kRuns = 1000;
    for (uint64_t seed = 0; seed < kRuns; ++seed) {
        near += draw_scenario(seed).connections[0].initial_psn[0] >= transport::kPsnMask - 300;
    }
    EXPECT_NEAR(near, kRuns / 2, kRuns / 10);
}

}  // namespace
}  // namespace vrdma::sim
