#include "dataplane/app/steering.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/device/limits.h"
#include "dataplane/wire/bytes.h"

namespace vrdma::app {
namespace {

using Frame = std::vector<std::byte>;

constexpr uint32_t kShards = 4;
constexpr uint64_t kKey = 0x1234;
constexpr uint16_t kAnswering = 0;

Frame ipv4(uint8_t protocol, size_t bytes = 80) {
    Frame frame(bytes);
    wire::store16(&frame[12], 0x0800);
    wire::store8(&frame[14], 0x45);
    wire::store8(&frame[23], protocol);
    return frame;
}

Frame roce(uint32_t qpn) {
    Frame frame = ipv4(17);
    wire::store16(&frame[36], 4791);
    wire::store32(&frame[46], qpn);
    return frame;
}

Frame tagged(Frame frame) {
    const std::array<std::byte, 4> tag{std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{7}};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    return frame;
}

uint16_t worker_of(Frame frame) {
    const QueuePairSteering steering(kShards, kKey);
    const PacketBuffer buffer{.data = frame.data(), .length = static_cast<uint32_t>(frame.size())};
    uint16_t worker = 77;
    steering.steer({&buffer, 1}, {&worker, 1});
    return worker;
}

// The number of the queue pair in this place of the host's table.
uint32_t number_of(uint32_t place) {
    return Permutation24(kKey).encrypt(place);
}

TEST(Steering, packet_goes_to_the_worker_that_owns_the_queue_pair) {
    for (uint32_t place = 0; place < 64; ++place) {
        EXPECT_EQ(worker_of(roce(number_of(place))), place % kShards);
    }
}

TEST(Steering, generation_of_a_queue_pair_does_not_move_it) {
    const uint32_t later = (1U << kQpnSlotBits) | 6;
    EXPECT_EQ(worker_of(roce(number_of(later))), 6 % kShards);
}

TEST(Steering, queue_pair_1_belongs_to_the_worker_that_answers) {
    // With some key, its number is in another worker's place.
    EXPECT_EQ(worker_of(roce(1)), kAnswering);
    const QueuePairSteering other(kShards, kKey + 1);
    Frame frame = roce(1);
    const PacketBuffer buffer{.data = frame.data(), .length = static_cast<uint32_t>(frame.size())};
    uint16_t worker = 77;
    other.steer({&buffer, 1}, {&worker, 1});
    EXPECT_EQ(worker, kAnswering);
}

TEST(Steering, tag_does_not_hide_the_queue_pair) {
    EXPECT_EQ(worker_of(tagged(roce(number_of(3)))), 3U);
}

TEST(Steering, ipv6_packet_goes_to_the_owner_as_well) {
    Frame frame(110);
    wire::store16(&frame[12], 0x86dd);
    wire::store8(&frame[14], 0x60);
    wire::store8(&frame[20], 17);
    wire::store16(&frame[56], 4791);
    wire::store32(&frame[66], number_of(2));
    EXPECT_EQ(worker_of(frame), 2U);
}

TEST(Steering, arp_is_for_every_worker) {
    Frame frame(60);
    wire::store16(&frame[12], 0x0806);
    EXPECT_EQ(worker_of(frame), PacketSteering::kEveryWorker);
}

TEST(Steering, packet_to_a_group_is_for_every_worker) {
    EXPECT_EQ(worker_of(roce(0xffffff)), PacketSteering::kEveryWorker);
}

TEST(Steering, question_about_groups_is_for_every_worker) {
    Frame frame = ipv4(2);
    wire::store8(&frame[34], 0x11);
    EXPECT_EQ(worker_of(frame), PacketSteering::kEveryWorker);
}

TEST(Steering, what_is_of_nobody_goes_to_the_worker_that_answers) {
    EXPECT_EQ(worker_of(Frame{}), kAnswering);
    EXPECT_EQ(worker_of(Frame(60)), kAnswering);
    EXPECT_EQ(worker_of(ipv4(6)), kAnswering);
    EXPECT_EQ(worker_of(ipv4(17)), kAnswering);
}

TEST(Steering, echo_request_goes_to_the_worker_that_answers) {
    Frame frame = ipv4(1);
    wire::store8(&frame[34], 8);
    EXPECT_EQ(worker_of(frame), kAnswering);
}

TEST(Steering, packet_that_ends_before_the_queue_pair_goes_to_some_worker) {
    const Frame whole = roce(number_of(1));
    for (size_t length = 38; length < 50; ++length) {
        EXPECT_LT(worker_of(Frame(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))),
                  kShards)
            << length;
    }
}

TEST(Steering, each_frame_of_a_burst_gets_its_own_worker) {
    std::array<Frame, 3> frames{roce(number_of(1)), roce(number_of(2)), Frame(60)};
    std::array<PacketBuffer, 3> buffers;
    for (size_t i = 0; i < frames.size(); ++i) {
        buffers[i] = {.data = frames[i].data(), .length = static_cast<uint32_t>(frames[i].size())};
    }
    std::array<uint16_t, 3> workers{};
    QueuePairSteering(kShards, kKey).steer(buffers, workers);
    EXPECT_EQ(workers, (std::array<uint16_t, 3>{1, 2, kAnswering}));
}

}  // namespace
}  // namespace vrdma::app
