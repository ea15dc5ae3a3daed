// Completion time stamps and the clock they count in.
#include <ctime>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/clock.h"
#include "verbs/cq.h"
#include "verbs/device.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::uint64_t time_of_day() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

class ClockTest : public ProviderTest {
  protected:
    void use(std::uint64_t wc_flags) {
        ibv_cq_init_attr_ex attr{};
        attr.wc_flags = wc_flags;
        cq_ex_ = make_cq_ex(attr);
        ASSERT_NE(cq_ex_, nullptr);
        cq_ = ibv_cq_ex_to_cq(cq_ex_);
        qp_ = make_qp(IBV_QPS_RTS);
    }
    void complete_at(std::uint64_t when) {
        device_.clock = when;
        complete_receive(qp_);
    }
    // Of the only completion there is.
    template <typename Read>
    std::uint64_t read(const Read& function) {
        ibv_poll_cq_attr attr{};
        EXPECT_EQ(ibv_start_poll(cq_ex_, &attr), 0);
        const std::uint64_t value = function(cq_ex_);
        ibv_end_poll(cq_ex_);
        return value;
    }

    ibv_cq_ex* cq_ex_ = nullptr;
    ibv_qp* qp_ = nullptr;
};

TEST_F(ClockTest, completion_carries_the_devices_time) {
    use(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP);
    for (std::uint64_t i = 1; i <= 20; ++i) {  // round the ring of 16
        complete_at(i * 1000);
        EXPECT_EQ(read(ibv_wc_read_completion_ts), i * 1000);
    }
    EXPECT_TRUE(device_.commands(VRDMA_CMD_QUERY_CLOCK).empty()) << "reading one asks nobody";
}

TEST_F(ClockTest, queue_without_time_stamps_asks_for_none) {
    use(IBV_WC_STANDARD_FLAGS);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_CQ).as<vrdma_cmd_create_cq>().flags, 0U);
    EXPECT_EQ(cq_ex_->read_completion_ts, nullptr);
    EXPECT_EQ(cq_ex_->read_completion_wallclock_ns, nullptr);
}

TEST_F(ClockTest, wall_clock_follows_the_distance_of_time_stamps) {
    use(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK);
    const std::uint64_t before = time_of_day();
    complete_at(7 * kSecond);
    const std::uint64_t first = read(ibv_wc_read_completion_wallclock_ns);
    EXPECT_GE(first, before);
    EXPECT_LE(first, time_of_day());
    complete_at(7 * kSecond + 5000);
    EXPECT_EQ(read(ibv_wc_read_completion_wallclock_ns), first + 5000);
    EXPECT_EQ(device_.commands(VRDMA_CMD_QUERY_CLOCK).size(), 1U);
}

TEST_F(ClockTest, wall_clock_is_compared_again_after_a_while) {
    use(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK);
    complete_at(kSecond);
    static_cast<void>(read(ibv_wc_read_completion_wallclock_ns));
    complete_at(2 * kSecond);
    const std::uint64_t second = read(ibv_wc_read_completion_wallclock_ns);
    EXPECT_LE(second, time_of_day()) << "a second of the device was taken for one of ours";
    EXPECT_EQ(device_.commands(VRDMA_CMD_QUERY_CLOCK).size(), 2U);
}

TEST_F(ClockTest, time_stamps_survive_a_resize_and_a_destroyed_queue_pair) {
    use(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP);
    ibv_qp* other = make_qp(IBV_QPS_RTS);
    device_.clock = 10;
    complete_receive(qp_, 1);
    device_.clock = 20;
    complete_receive(other, 2);
    device_.clock = 30;
    complete_receive(qp_, 3);
    ASSERT_EQ(ibv_destroy_qp(other), 0);
    ASSERT_EQ(resize_cq(cq_, 32), 0);
    EXPECT_EQ(read(ibv_wc_read_completion_ts), 10U);
    EXPECT_EQ(read(ibv_wc_read_completion_ts), 30U);
}

TEST_F(ClockTest, completion_that_was_made_up_has_no_time) {
    use(IBV_WC_EX_WITH_COMPLETION_TIMESTAMP | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK);
    ibv_recv_wr wr{};
    ibv_recv_wr* bad = nullptr;
    ASSERT_EQ(ibv_post_recv(qp_, &wr, &bad), 0);
    Context::of(context_).device_lost();
    EXPECT_EQ(read([](ibv_cq_ex* cq) {
                  return ibv_wc_read_completion_ts(cq) + ibv_wc_read_completion_wallclock_ns(cq);
              }),
              0U);
}

TEST_F(ClockTest, raw_clock_is_the_devices) {
    device_.clock = 123'456'789'012;
    ibv_values_ex values{.comp_mask = IBV_VALUES_MASK_RAW_CLOCK, .raw_clock = {}};
    ASSERT_EQ(query_rt_values(context_, &values), 0);
    EXPECT_EQ(values.comp_mask, std::uint32_t{IBV_VALUES_MASK_RAW_CLOCK});
    EXPECT_EQ(values.raw_clock.tv_sec, 0);
    EXPECT_EQ(values.raw_clock.tv_nsec, 123'456'789'012);
    ibv_device_attr_ex attr{};
    ASSERT_EQ(query_device_ex(context_, nullptr, &attr, sizeof attr), 0);
    EXPECT_EQ(attr.hca_core_clock, 1'000'000U) << "in kHz";
    EXPECT_EQ(attr.completion_timestamp_mask, UINT64_MAX);
}

TEST_F(ClockTest, values_that_nobody_asked_for_are_not_answered) {
    ibv_values_ex values{.comp_mask = 0, .raw_clock = {}};
    EXPECT_EQ(query_rt_values(context_, &values), 0);
    EXPECT_EQ(values.comp_mask, 0U);
    EXPECT_TRUE(device_.commands(VRDMA_CMD_QUERY_CLOCK).empty());
}

class OldServiceClockTest : public ClockTest {
  protected:
    OldServiceClockTest() { device_.features = VRDMA_FEATURE_PEER_DEATH; }
};

TEST_F(OldServiceClockTest, service_without_time_stamps_is_eopnotsupp) {
    for (const std::uint64_t flag :
         {IBV_WC_EX_WITH_COMPLETION_TIMESTAMP, IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK}) {
        ibv_cq_init_attr_ex attr{};
        attr.wc_flags = flag;
        errno = 0;
        EXPECT_EQ(make_cq_ex(attr), nullptr);
        EXPECT_EQ(errno, EOPNOTSUPP);
    }
    ibv_values_ex values{.comp_mask = IBV_VALUES_MASK_RAW_CLOCK, .raw_clock = {}};
    EXPECT_EQ(query_rt_values(context_, &values), EOPNOTSUPP);
    ibv_device_attr_ex attr{};
    ASSERT_EQ(query_device_ex(context_, nullptr, &attr, sizeof attr), 0);
    EXPECT_EQ(attr.hca_core_clock, 0U);
    EXPECT_EQ(attr.completion_timestamp_mask, 0U);
}

}  // namespace
}  // namespace vrdma::verbs
