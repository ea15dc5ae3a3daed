// Every single accident of a small exchange, and every set of losses among its first packets.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace vrdma::sim {
namespace {

constexpr size_t kLargestExchange = 64;  // packets in each direction
constexpr uint32_t kSubsetPackets = 8;

struct Exchange {
    std::string name;
    std::array<uint32_t, kOperations> weight;
    uint32_t messages;
    uint32_t max_length;
};

// In the order of transport::Operation.
const std::vector<Exchange> kExchanges = {
    {"send", {3, 1, 0, 0, 0, 0, 0, 2}, 30, 1000},      {"write", {0, 0, 3, 1, 0, 0, 0}, 28, 1000},
    {"read", {0, 0, 0, 0, 1, 0, 0}, 28, 1000},         {"atomic", {0, 0, 0, 0, 0, 1, 1}, 56, 8},
    {"everything", {1, 1, 1, 1, 2, 1, 1, 1}, 34, 900},
};

Scenario exchange_scenario(const Exchange& exchange, bool vrdma, bool wrap) {
    Scenario s;
    s.seed = 11;
    if (!vrdma) {
        s.vrdma_from = {Instant::never(), Instant::never()};
    }
    s.patience = Duration::milliseconds(5'000);
    s.event_limit = 100'000;
    s.record_departures = true;
    ConnectionConfig c;
    c.path_mtu = 256;
    c.timeout = 10;
    c.messages = {exchange.messages, 0};
    c.mix[0].weight = exchange.weight;
    c.mix[0].max_length = exchange.max_length;
    c.mix[0].fence = 0.1;
    c.mix[0].reread = 0.5;
    c.initial_psn = {wrap ? 0xfffffaU : 0x1000U, wrap ? 0xffffffU : 0x7fffffU};
    s.connections.push_back(c);
    return s;
}

// What went wrong, or nothing.
std::string run(const Scenario& scenario) {
    const Report report = World(scenario).run();
    if (report.violation) {
        return std::string(check_name(report.violation->check)) + ": " + report.violation->text;
    }
    for (size_t link = 0; link < 2; ++link) {
        const LinkStatistics& l = report.link[link];
        if (!scenario.link[link].script.empty() && l.lost + l.duplicated + l.reordered == 0) {
            return "the accident did not happen";
        }
    }
    return report.succeeded == scenario.connections[0].messages[0] ? "" : "not all succeeded";
}

class ExhaustiveTest : public testing::TestWithParam<std::tuple<size_t, bool, bool>> {
  protected:
    ExhaustiveTest() {
        const auto [exchange, vrdma, wrap] = GetParam();
        scenario_ = exchange_scenario(kExchanges[exchange], vrdma, wrap);
    }
    Scenario scenario_;
};

TEST_P(ExhaustiveTest, any_single_drop_duplicate_or_swap_changes_nothing) {
    const Report whole = World(scenario_).run();
    ASSERT_FALSE(whole.violation) << whole.violation->text;
    for (size_t link = 0; link < 2; ++link) {
        const std::vector<Instant>& sent = whole.departures[link];
        ASSERT_GT(sent.size(), kSubsetPackets / 2);
        RecordProperty(link == 0 ? "requests" : "answers", std::to_string(sent.size()));
        ASSERT_LE(sent.size(), kLargestExchange);
        for (uint64_t i = 0; i < sent.size(); ++i) {
            using Kind = ScriptedFate::Kind;
            // Swapped: it arrives just behind the next one.
            const Instant behind =
                (i + 1 < sent.size() ? sent[i + 1] : sent[i]) + scenario_.link[link].delay * 2;
            for (const ScriptedFate& fate :
                 {ScriptedFate{i, Kind::Drop, {}}, ScriptedFate{i, Kind::Duplicate, {}},
                  ScriptedFate{i, Kind::DelayUntil, behind}}) {
                Scenario changed = scenario_;
                changed.link[link].script = {fate};
                EXPECT_EQ(run(changed), "") << "link " << link << " packet " << i << " accident "
                                            << static_cast<int>(fate.kind);
            }
        }
    }
}

TEST_P(ExhaustiveTest, any_loss_among_first_eight_changes_nothing) {
    for (size_t link = 0; link < 2; ++link) {
        for (uint32_t lost = 1; lost < 1U << kSubsetPackets; ++lost) {
            Scenario changed = scenario_;
            for (uint32_t i = 0; i < kSubsetPackets; ++i) {
                if ((lost >> i & 1) != 0) {
                    changed.link[link].script.push_back({i, ScriptedFate::Kind::Drop, {}});
                }
            }
            EXPECT_EQ(run(changed), "") << "link " << link << " lost " << lost;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Exchanges, ExhaustiveTest,
    testing::Combine(testing::Range(size_t{0}, kExchanges.size()), testing::Bool(),
                     testing::Bool()),
    [](const testing::TestParamInfo<std::tuple<size_t, bool, bool>>& parameters) {
        return kExchanges[std::get<0>(parameters.param)].name +
               (std::get<1>(parameters.param) ? "_vrdma" : "_standard") +
               (std::get<2>(parameters.param) ? "_wrap" : "");
    });

}  // namespace
}  // namespace vrdma::sim
