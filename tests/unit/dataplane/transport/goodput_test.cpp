// What loss and reordering cost between two vRDMA peers, pinned as shares of the undisturbed line:
// a stream of 64 KiB messages at a path MTU of 4096, over a line of about 75 Gb/s with a round trip
// of 10 us. Virtual time, so the numbers are the same on every machine.
#include <gtest/gtest.h>

#include <cstdio>

#include "pair.h"

namespace vrdma::transport {
namespace {

constexpr uint32_t kMessage = 64 << 10;
constexpr uint32_t kMessages = 600;

double seconds(Operation operation, const NetworkRules& rules, uint32_t seed) {
    Pair pair(PeerKind::Vrdma, 0xfffff0, seed, 4096, kMaxRdAtomic);
    pair.rules = rules;
    uint32_t posted = 0;
    pair.refill = [&] {
        while (posted < kMessages && pair.a.requester.can_post()) {
            pair.a.place[posted] = 0;
            pair.post(pair.a, {.id = posted, .operation = operation, .length = kMessage});
            ++posted;
        }
    };
    const Instant start = pair.now;
    EXPECT_TRUE(pair.run(Duration::milliseconds(10'000)));
    EXPECT_EQ(pair.a.completions.size(), kMessages);
    for (const Completion& completion : pair.a.completions) {
        EXPECT_EQ(completion.status, CompletionStatus::Success);
    }
    return static_cast<double>((pair.now - start).ns) / 1e9;
}

double share(Operation operation, const NetworkRules& disturbed) {
    const NetworkRules quiet{.delay = Duration::microseconds(5),
                             .per_packet = Duration::nanoseconds(440)};
    NetworkRules rules = disturbed;
    rules.delay = quiet.delay;
    rules.per_packet = quiet.per_packet;
    double without = 0;
    double with = 0;
    for (uint32_t seed = 1; seed <= 3; ++seed) {
        without += seconds(operation, quiet, seed);
        with += seconds(operation, rules, seed);
    }
    const double result = without / with;
    std::printf("share %.3f, undisturbed %.1f Gb/s\n", result,
                3.0 * kMessages * kMessage * 8 / without / 1e9);
    return result;
}

TEST(Goodput, write_at_1_percent_loss) {
    EXPECT_GE(share(Operation::Write, {.loss = 0.01}), 0.90);
}

TEST(Goodput, write_at_2_percent_loss) {
    EXPECT_GE(share(Operation::Write, {.loss = 0.02}), 0.85);
}

TEST(Goodput, write_reordered_by_up_to_64_packets) {
    EXPECT_GE(
        share(Operation::Write, {.reorder = 0.5, .reorder_by = Duration::nanoseconds(64 * 440)}),
        0.90);
}

TEST(Goodput, read_at_1_percent_loss) {
    EXPECT_GE(share(Operation::Read, {.loss = 0.01}), 0.90);
}

// A lost READ request stops all requests behind it, for they are executed in order: what is left of
// the cost.
TEST(Goodput, read_at_2_percent_loss) {
    EXPECT_GE(share(Operation::Read, {.loss = 0.02}), 0.85);
}

TEST(Goodput, read_reordered_by_up_to_64_packets) {
    EXPECT_GE(
        share(Operation::Read, {.reorder = 0.5, .reorder_by = Duration::nanoseconds(64 * 440)}),
        0.90);
}

}  // namespace
}  // namespace vrdma::transport
