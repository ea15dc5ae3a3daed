#include "dataplane/net/capture.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/net/fault_port.h"
#include "dataplane/wire/bytes.h"
#include "tests/unit/dataplane/net/memory_port.h"

namespace vrdma::net {
namespace {

using Frame = MemoryPort::Frame;

Instant clock_now{1000};
Instant read_clock() {
    return clock_now;
}

// Everything of which the first byte is 9 is for every worker.
class Steering final : public PacketSteering {
    void steer(std::span<const PacketBuffer> frames, std::span<uint16_t> workers) const override {
        for (size_t i = 0; i < frames.size(); ++i) {
            workers[i] = frames[i].data[0] == std::byte{9} ? kEveryWorker : uint16_t{0};
        }
    }
};

struct Block {
    uint32_t type = 0;
    std::vector<std::byte> body;

    uint32_t number(size_t at) const {
        uint32_t value = 0;
        std::memcpy(&value, body.data() + at, sizeof value);
        return value;
    }
    uint64_t at() const { return (uint64_t{number(4)} << 32) | number(8); }
    std::byte first() const { return body[20]; }
    // The first eight bytes of an option's value; 0 if it is absent.
    uint64_t option(uint16_t code) const {
        size_t position = 20 + (number(12) + 3) / 4 * 4;
        if (type == 5) {
            position = 12;
        }
        while (position + 4 <= body.size()) {
            const uint16_t found = static_cast<uint16_t>(number(position));
            const uint16_t length = static_cast<uint16_t>(number(position) >> 16);
            if (found == code) {
                uint64_t value = 0;
                std::memcpy(&value, body.data() + position + 4, length);
                return value;
            }
            position += 4 + (length + size_t{3}) / 4 * 4;
        }
        return 0;
    }
};
constexpr uint32_t kPacket = 6;
constexpr uint32_t kStatistics = 5;
constexpr uint16_t kFlags = 2;
constexpr uint16_t kDropCount = 4;
constexpr uint16_t kReceived = 4;
constexpr uint16_t kDropped = 5;

struct Captures : testing::Test {
    MemoryPort below;
    MemoryPort second;
    Steering steering;
    std::vector<std::byte> memory = std::vector<std::byte>(CaptureRing::kLeastBytes);
    std::vector<std::byte> other_memory = std::vector<std::byte>(CaptureRing::kLeastBytes);
    CaptureOptions options{.application = "test",
                           .interface = "p0",
                           .settings = {.clock = read_clock},
                           .since_1970 = Duration::nanoseconds(uint64_t{5} << 32)};
    std::unique_ptr<Capture> capture;

    Captures() { clock_now = {1000}; }
    ~Captures() override {
        EXPECT_EQ(below.buffers_out() + second.buffers_out(), 0U) << "a buffer was lost";
    }
    void begin(bool two = false) {
        capture = std::make_unique<Capture>(options);
        capture->add_worker(below, memory, steering);
        if (two) {
            capture->add_worker(second, other_memory, steering);
        }
    }
    size_t send(const std::vector<Frame>& frames, size_t worker = 0) {
        std::vector<PacketBuffer> buffers(frames.size());
        PacketPort& port = capture->port(worker);
        EXPECT_EQ(port.allocate(buffers), frames.size());
        for (size_t i = 0; i < frames.size(); ++i) {
            std::copy(frames[i].begin(), frames[i].end(), buffers[i].data);
            buffers[i].length = static_cast<uint32_t>(frames[i].size());
        }
        const size_t taken = port.send(buffers, Instant{1});
        port.release(std::span(buffers).subspan(taken));
        return taken;
    }
    size_t receive(size_t worker = 0) {
        std::array<PacketBuffer, kMaxBurst> frames;
        const size_t count = capture->port(worker).receive(frames, Instant{1});
        capture->port(worker).release(std::span(frames).first(count));
        return count;
    }
    std::vector<Block> read(size_t room = 65536) {
        std::vector<std::byte> bytes(room);
        bytes.resize(capture->read(bytes));
        std::vector<Block> blocks;
        for (size_t at = 0; at < bytes.size();) {
            uint32_t head[2];
            std::memcpy(head, &bytes[at], sizeof head);
            blocks.push_back({head[0], {&bytes[at + 8], &bytes[at] + head[1] - 4}});
            at += head[1];
        }
        return blocks;
    }
    std::vector<Block> packets(size_t room = 65536) {
        std::vector<Block> blocks = read(room);
        std::erase_if(blocks, [](const Block& block) { return block.type != kPacket; });
        return blocks;
    }
};

Frame frame_of(uint8_t first, size_t bytes = 100) {
    Frame frame(bytes, std::byte{0xee});
    frame[0] = std::byte{first};
    return frame;
}

TEST_F(Captures, file_begins_with_section_and_interface_once) {
    begin();
    const auto blocks = read();
    ASSERT_EQ(blocks.size(), 2U);
    EXPECT_EQ(blocks[0].type, 0x0a0d0d0aU);
    EXPECT_EQ(blocks[1].type, 1U);
    EXPECT_TRUE(read().empty());
}

TEST_F(Captures, both_directions_are_recorded_with_their_time) {
    begin();
    below.arrive(frame_of(1));
    EXPECT_EQ(receive(), 1U);
    clock_now = {2000};
    EXPECT_EQ(send({frame_of(2)}), 1U);
    EXPECT_EQ(below.take_sent().size(), 1U);
    const auto found = packets();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].first(), std::byte{1});
    EXPECT_EQ(found[0].option(kFlags), 1U);
    EXPECT_EQ(found[0].at(), (uint64_t{5} << 32) + 1000);
    EXPECT_EQ(found[1].first(), std::byte{2});
    EXPECT_EQ(found[1].option(kFlags), 2U);
    EXPECT_EQ(found[1].at(), (uint64_t{5} << 32) + 2000);
    EXPECT_EQ(capture->captured(), 2U);
}

TEST_F(Captures, frame_longer_than_the_snap_length_is_cut_and_says_so) {
    options.settings.snap_length = 64;
    begin();
    send({frame_of(1, 100), frame_of(2, 64)});
    const auto found = packets();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].number(12), 64U);
    EXPECT_EQ(found[0].number(16), 100U);
    EXPECT_EQ(found[1].number(12), 64U);
    EXPECT_EQ(found[1].number(16), 64U);
}

TEST_F(Captures, frame_longer_than_any_of_ours_is_cut) {
    begin();
    below.arrive(frame_of(1, kMaxFrameBytes + 40));
    receive();
    const auto found = packets();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].number(12), kMaxFrameBytes);
    EXPECT_EQ(found[0].number(16), kMaxFrameBytes + 40);
}

TEST_F(Captures, only_what_the_port_takes_is_recorded) {
    begin();
    below.send_room = 1;
    EXPECT_EQ(send({frame_of(1), frame_of(2), frame_of(3)}), 1U);
    below.send_room = 10;
    EXPECT_EQ(send({frame_of(2), frame_of(3)}), 2U);
    const auto found = packets();
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[1].first(), std::byte{2});
    EXPECT_EQ(found[2].first(), std::byte{3});
}

TEST_F(Captures, nothing_is_recorded_as_sent_while_the_port_is_down) {
    begin();
    below.is_up = false;
    EXPECT_EQ(send({frame_of(1)}), 1U);
    EXPECT_TRUE(packets().empty());
}

TEST_F(Captures, filter_keeps_out_what_it_does_not_want) {
    options.settings.filter.peer = wire::Address::v4(10, 0, 0, 2);
    begin();
    send({frame_of(1)});
    EXPECT_TRUE(packets().empty());
    EXPECT_EQ(capture->missed(), 0U);
}

TEST_F(Captures, full_ring_counts_what_it_misses_and_goes_on_when_it_is_read) {
    begin();
    const std::vector<Frame> burst(8, frame_of(1, 4000));
    EXPECT_EQ(send(burst), 8U);
    EXPECT_EQ(below.take_sent().size(), 8U) << "a full ring must not hold up the port";
    const uint64_t missed = capture->missed();
    EXPECT_EQ(missed, 4U);  // 16 KiB hold four
    EXPECT_EQ(packets().size(), 8 - missed);
    send({frame_of(2)});
    const auto after = packets();
    ASSERT_EQ(after.size(), 1U);
    EXPECT_EQ(after[0].option(kDropCount), missed);
    send({frame_of(3)});
    EXPECT_EQ(packets().at(0).option(kDropCount), 0U);
    EXPECT_EQ(capture->missed(), missed);
}

TEST_F(Captures, received_frames_that_are_missed_are_given_on) {
    begin();
    for (uint8_t i = 0; i < 8; ++i) {
        below.arrive(frame_of(i, 4000));
    }
    EXPECT_EQ(receive(), 8U);
    EXPECT_EQ(capture->missed(), 4U);
}

TEST_F(Captures, frames_that_were_not_taken_are_not_missed) {
    begin();
    send(std::vector<Frame>(4, frame_of(1, 4000)));
    below.send_room = 0;
    EXPECT_EQ(send({frame_of(2, 4000)}), 0U);
    EXPECT_EQ(capture->missed(), 0U);
}

TEST_F(Captures, ring_wraps_around_without_losing_a_byte) {
    begin();
    read();
    for (uint8_t i = 0; i < 100; ++i) {
        send({frame_of(i, 1000 + 13 * size_t{i})});
        const auto found = packets();
        ASSERT_EQ(found.size(), 1U);
        ASSERT_EQ(found[0].first(), std::byte{i});
        ASSERT_EQ(found[0].number(12), 1000U + 13U * i);
        const auto rest = std::span(found[0].body).subspan(21, 999 + 13 * size_t{i});
        ASSERT_TRUE(std::all_of(rest.begin(), rest.end(),
                                [](std::byte byte) { return byte == std::byte{0xee}; }));
    }
}

TEST_F(Captures, piece_holds_whole_blocks_and_the_next_goes_on) {
    begin();
    send(std::vector<Frame>(3, frame_of(1, 3000)));
    send({frame_of(2, 3000)});
    read();
    send(std::vector<Frame>(4, frame_of(3, 4000)));
    std::vector<Block> all;
    for (int i = 0; i < 3; ++i) {
        const auto some = packets(Capture::kLeastRead);
        EXPECT_LT(some.size(), 5U);
        all.insert(all.end(), some.begin(), some.end());
    }
    EXPECT_EQ(all.size(), 4U);
}

TEST_F(Captures, workers_are_put_into_the_order_of_time) {
    begin(true);
    clock_now = {10};
    send({frame_of(1)}, 0);
    clock_now = {20};
    send({frame_of(2)}, 1);
    clock_now = {30};
    send({frame_of(3)}, 0);
    const auto found = packets();
    ASSERT_EQ(found.size(), 3U);
    for (uint8_t i = 0; i < 3; ++i) {
        EXPECT_EQ(found[i].first(), std::byte{static_cast<uint8_t>(i + 1)});
    }
}

TEST_F(Captures, frame_of_which_every_worker_has_a_copy_is_recorded_once) {
    begin(true);
    below.arrive(frame_of(9));
    second.arrive(frame_of(9));
    second.arrive(frame_of(1));
    EXPECT_EQ(receive(0), 1U);
    EXPECT_EQ(receive(1), 2U);
    EXPECT_EQ(packets().size(), 2U);
}

// Only the worker of the filter's queue pair knows which groups that is in.
TEST_F(Captures, worker_of_the_queue_pair_records_messages_to_its_groups) {
    class Groups final : public QueuePairGroups {
      public:
        explicit Groups(bool in) : in_(in) {}
        bool belongs(uint32_t qpn, const wire::Address& group) const override {
            return in_ && qpn == 0x111 && group == wire::Address::v4(239, 1, 2, 3);
        }

      private:
        const bool in_;
    };
    const Groups none(false);
    const Groups its(true);
    Frame frame = frame_of(9);  // for every worker
    wire::store16(&frame[12], 0x0800);
    wire::store8(&frame[14], 0x45);
    wire::store8(&frame[14 + 9], 17);
    wire::store32(&frame[14 + 16], 0xef010203);
    wire::store16(&frame[14 + 20 + 2], 4791);
    wire::store8(&frame[42], 0x64);
    wire::store32(&frame[42 + 4], 0xffffff);
    options.settings.filter.queue_pair = CaptureFilter::QueuePair{0x111, {}};
    options.settings.shared_on = 1;
    begin(true);
    capture->port(0).ask(none);
    capture->port(1).ask(its);
    below.arrive(frame);
    EXPECT_EQ(receive(0), 1U);
    EXPECT_TRUE(packets().empty());
    second.arrive(frame);
    EXPECT_EQ(receive(1), 1U);
    EXPECT_EQ(packets().size(), 1U);
}

TEST_F(Captures, stopped_capture_gives_the_rest_and_ends_with_statistics) {
    begin();
    send(std::vector<Frame>(8, frame_of(1, 4000)));
    capture->stop();
    EXPECT_FALSE(capture->over());
    const auto blocks = read();
    EXPECT_TRUE(capture->over());
    ASSERT_EQ(blocks.back().type, kStatistics);
    EXPECT_EQ(blocks.back().option(kReceived), 8U);
    EXPECT_EQ(blocks.back().option(kDropped), 4U);
    EXPECT_TRUE(read().empty());
}

TEST_F(Captures, count_ends_it_and_what_comes_later_is_neither_captured_nor_missed) {
    options.count = 2;
    begin();
    send(std::vector<Frame>(3, frame_of(1)));
    send(std::vector<Frame>(8, frame_of(1, 4000)));
    const auto blocks = read();
    EXPECT_TRUE(capture->over());
    EXPECT_EQ(capture->captured(), 2U);
    EXPECT_EQ(capture->missed(), 0U);
    EXPECT_EQ(blocks.back().type, kStatistics);
    EXPECT_EQ(blocks.back().option(kReceived), 2U);
}

TEST_F(Captures, frame_that_faults_changed_is_recorded_as_it_leaves) {
    begin();
    FaultPort faults(below);
    faults.set_below(capture->port(0));
    faults.configure({.corrupt = {Share::kAll}}, {}, 7);
    Frame frame(60);
    frame[12] = std::byte{0x08};  // IPv4
    PacketBuffer buffer;
    ASSERT_EQ(faults.allocate({&buffer, 1}), 1U);
    std::copy(frame.begin(), frame.end(), buffer.data);
    buffer.length = static_cast<uint32_t>(frame.size());
    ASSERT_EQ(faults.send({&buffer, 1}, clock_now), 1U);
    const auto sent = below.take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_NE(sent[0], frame);
    const auto found = packets();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(Frame(found[0].body.begin() + 20, found[0].body.begin() + 80), sent[0]);
}

TEST_F(Captures, everything_else_is_the_port_below) {
    begin();
    below.longest = 4214;
    EXPECT_EQ(capture->port(0).max_frame_bytes(), 4214U);
    EXPECT_EQ(capture->port(0).mac(), below.address);
    EXPECT_TRUE(capture->port(0).up());
    EXPECT_EQ(capture->port(0).next_deadline(), Instant::never());
    EXPECT_EQ(capture->port(0).wake_file(), -1);
    EXPECT_EQ(receive(), 0U);
}

}  // namespace
}  // namespace vrdma::net
