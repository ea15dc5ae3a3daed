#include "verbs/poll_pacer.h"

#include <gtest/gtest.h>

namespace vrdma::verbs {
namespace {

std::uint32_t polls_until_yield(PollPacer& pacer) {
    std::uint32_t polls = 1;
    while (!pacer.note_empty()) {
        ++polls;
    }
    return polls;
}

TEST(PollPacer, yields_after_its_patience_and_counts_anew) {
    PollPacer pacer;
    EXPECT_EQ(polls_until_yield(pacer), PollPacer::kFirstPatience);
    EXPECT_EQ(polls_until_yield(pacer), PollPacer::kFirstPatience);
}

TEST(PollPacer, completion_starts_the_count_anew) {
    PollPacer pacer;
    for (std::uint32_t i = 0; i + 1 < PollPacer::kFirstPatience; ++i) {
        ASSERT_FALSE(pacer.note_empty());
    }
    pacer.reset();
    EXPECT_EQ(polls_until_yield(pacer), PollPacer::kFirstPatience);
}

TEST(PollPacer, processor_of_its_own_makes_it_patient_up_to_a_bound) {
    PollPacer pacer;
    for (int i = 0; i < 10; ++i) {
        pacer.learn(PollPacer::Outcome::nobody);
    }
    EXPECT_EQ(pacer.patience(), PollPacer::kMostPatience);
}

TEST(PollPacer, shared_processor_makes_it_hand_over_quickly) {
    PollPacer pacer;
    for (int i = 0; i < 10; ++i) {
        pacer.learn(PollPacer::Outcome::shared);
    }
    EXPECT_EQ(pacer.patience(), PollPacer::kLeastPatience);
}

TEST(PollPacer, lost_time_slice_makes_it_patient) {
    PollPacer pacer;
    pacer.learn(PollPacer::Outcome::lost);
    EXPECT_EQ(pacer.patience(), 2 * PollPacer::kFirstPatience);
}

TEST(PollPacer, outcome_is_told_by_the_time_a_yield_took) {
    EXPECT_EQ(PollPacer::outcome_of(500), PollPacer::Outcome::nobody);
    EXPECT_EQ(PollPacer::outcome_of(5000), PollPacer::Outcome::shared);
    EXPECT_EQ(PollPacer::outcome_of(3000000), PollPacer::Outcome::lost);
}

}  // namespace
}  // namespace vrdma::verbs
