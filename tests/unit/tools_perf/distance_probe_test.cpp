#include "tools/vrdma-perf/distance_probe.h"

#include <gtest/gtest.h>

#include "tools/verbs_util/cpu.h"

namespace vrdma::perf {
namespace {

TEST(ProbeDistance, two_cpus_give_a_round_trip_and_leave_the_thread_where_it_was) {
    const auto cpus = verbs_util::allowed_cpus();
    if (cpus.size() < 2) {
        GTEST_SKIP() << "one CPU only";
    }
    const auto tsc = verbs_util::Tsc::calibrate();
    const Probe probe = probe_distance(cpus[0], cpus[1], tsc);
    if (probe.distance == Distance::kUnknown) {
        GTEST_SKIP() << "both CPUs were busy";
    }
    EXPECT_GT(probe.round_trip_ns, 0.0);
    EXPECT_EQ(probe.distance, classify(probe.round_trip_ns));
    EXPECT_EQ(verbs_util::allowed_cpus(), cpus);
}

TEST(ProbeDistance, one_cpu_with_itself_is_unknown) {
    const auto tsc = verbs_util::Tsc::calibrate();
    const int cpu = verbs_util::allowed_cpus().front();
    EXPECT_EQ(probe_distance(cpu, cpu, tsc).distance, Distance::kUnknown);
}

TEST(ProbeDistance, cpu_that_may_not_be_used_is_unknown) {
    const auto tsc = verbs_util::Tsc::calibrate();
    const int cpu = verbs_util::allowed_cpus().front();
    EXPECT_EQ(probe_distance(cpu, CPU_SETSIZE - 1, tsc).distance, Distance::kUnknown);
    EXPECT_EQ(probe_distance(CPU_SETSIZE - 1, cpu, tsc).distance, Distance::kUnknown);
}

TEST(Classify, limit_separates_near_from_far) {
    EXPECT_EQ(classify(kNearLimitNs - 1), Distance::kNear);
    EXPECT_EQ(classify(kNearLimitNs), Distance::kFar);
}

TEST(Combine, change_between_the_probes_is_mixed) {
    EXPECT_EQ(combine(Distance::kNear, Distance::kNear), Distance::kNear);
    EXPECT_EQ(combine(Distance::kFar, Distance::kFar), Distance::kFar);
    EXPECT_EQ(combine(Distance::kNear, Distance::kFar), Distance::kMixed);
    EXPECT_EQ(combine(Distance::kNear, Distance::kUnknown), Distance::kUnknown);
}

}  // namespace
}  // namespace vrdma::perf
