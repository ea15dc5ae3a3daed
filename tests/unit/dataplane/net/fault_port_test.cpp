#include "dataplane/net/fault_port.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "tests/unit/dataplane/net/memory_port.h"

namespace vrdma::net {
namespace {

using Frame = MemoryPort::Frame;

constexpr uint32_t kHeader = 14;
constexpr Share kAlways{Share::kAll};

constexpr Share percent(uint32_t n) {
    return {n * 10'000'000};
}

// An IPv4 packet of 60 bytes whose last four say which one it is.
Frame ipv4_frame(uint32_t number, uint8_t ecn = 2) {
    Frame frame(kHeader + 60);
    wire::store16(&frame[12], 0x0800);
    std::byte* const ip = &frame[kHeader];
    wire::store8(ip, 0x45);
    wire::store8(ip + 1, static_cast<uint8_t>(0x48 | ecn));
    wire::store16(ip + 2, 60);
    wire::store8(ip + 8, 64);
    wire::store32(ip + 12, 0x0a000001);
    wire::store32(ip + 16, 0x0a000002);
    wire::store16(ip + 10, wire::checksum_finish(wire::checksum_add(0, {ip, 20})));
    wire::store32(ip + 56, number);
    return frame;
}

Frame ipv6_frame(uint8_t ecn) {
    Frame frame(kHeader + 60);
    wire::store16(&frame[12], 0x86dd);
    wire::store32(&frame[kHeader], 0x60012345U | (static_cast<uint32_t>(ecn) << 20));
    return frame;
}

Frame arp_frame() {
    Frame frame(60);
    wire::store16(&frame[12], 0x0806);
    return frame;
}

uint32_t number_of(std::span<const std::byte> frame) {
    return wire::load32(&frame[frame.size() - 4]);
}

struct Faults : testing::Test {
    MemoryPort below;
    FaultPort port{below};
    Instant now{1'000'000};
    uint64_t seed = 7;

    ~Faults() override {
        port.clear();
        EXPECT_EQ(below.buffers_out(), 0U) << "a buffer was lost";
    }

    void sending(const FaultSettings& settings) { port.configure(settings, {}, seed); }
    void receiving(const FaultSettings& settings) { port.configure({}, settings, seed); }

    size_t send(const Frame& frame) {
        PacketBuffer buffer;
        EXPECT_EQ(port.allocate({&buffer, 1}), 1U);
        std::copy(frame.begin(), frame.end(), buffer.data);
        buffer.length = static_cast<uint32_t>(frame.size());
        const size_t taken = port.send({&buffer, 1}, now);
        if (taken == 0) {
            port.release({&buffer, 1});
        }
        return taken;
    }
    std::vector<uint32_t> send_numbered(uint32_t first, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
            EXPECT_EQ(send(ipv4_frame(first + i)), 1U);
        }
        return sent_numbers();
    }
    std::vector<uint32_t> sent_numbers() {
        std::vector<uint32_t> numbers;
        for (const Frame& frame : below.take_sent()) {
            numbers.push_back(number_of(frame));
        }
        below.send_room = 1000;
        return numbers;
    }
    // What one call gives.
    std::vector<uint32_t> receive() {
        std::array<PacketBuffer, kMaxBurst> frames;
        const size_t count = port.receive(frames, now);
        std::vector<uint32_t> numbers;
        for (const PacketBuffer& frame : std::span(frames).first(count)) {
            numbers.push_back(number_of({frame.data, frame.length}));
        }
        port.release(std::span(frames).first(count));
        return numbers;
    }
    // As a worker does: until nothing is there and nothing is due.
    std::vector<uint32_t> receive_all() {
        std::vector<uint32_t> all;
        while (true) {
            const std::vector<uint32_t> some = receive();
            all.insert(all.end(), some.begin(), some.end());
            if (some.empty() && port.next_deadline() > now) {
                return all;
            }
        }
    }
    void arrive_numbered(uint32_t first, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
            below.arrive(ipv4_frame(first + i));
        }
    }
};

std::vector<uint32_t> numbers(uint32_t first, uint32_t count) {
    std::vector<uint32_t> list(count);
    std::iota(list.begin(), list.end(), first);
    return list;
}

TEST_F(Faults, nothing_configured_changes_nothing) {
    sending({});
    EXPECT_EQ(send_numbered(0, 100), numbers(0, 100));
    arrive_numbered(0, 100);
    EXPECT_EQ(receive_all(), numbers(0, 100));
    EXPECT_EQ(port.next_deadline(), Instant::never());
    for (const uint64_t count : port.counters().value) {
        EXPECT_EQ(count, 0U);
    }
}

TEST_F(Faults, drop_of_all_sends_nothing_and_counts) {
    sending({.drop = kAlways});
    EXPECT_TRUE(send_numbered(0, 50).empty());
    EXPECT_EQ(port.counters()[FaultCounter::Dropped], 50U);
    EXPECT_EQ(below.buffers_out(), 0U);
}

TEST_F(Faults, drop_while_receiving_leaves_sending_alone) {
    receiving({.drop = kAlways});
    EXPECT_EQ(send_numbered(0, 5), numbers(0, 5));
    arrive_numbered(0, 5);
    EXPECT_TRUE(receive_all().empty());
    EXPECT_EQ(port.counters()[FaultCounter::Dropped], 5U);
}

TEST_F(Faults, drop_of_a_share_is_about_that_share) {
    sending({.drop = percent(10)});
    size_t sent = 0;
    for (int i = 0; i < 100; ++i) {
        sent += send_numbered(0, 100).size();
    }
    EXPECT_GT(sent, 8'800U);
    EXPECT_LT(sent, 9'200U);
    EXPECT_EQ(sent + port.counters()[FaultCounter::Dropped], 10'000U);
}

TEST_F(Faults, same_seed_repeats_and_another_one_does_not) {
    const auto fate = [this](uint64_t with) {
        seed = with;
        sending(
            {.drop = percent(30), .duplicate = percent(20), .held_back = percent(20), .behind = 4});
        std::vector<uint32_t> sent = send_numbered(0, 200);
        port.clear();
        return sent;
    };
    const auto once = fate(1);
    EXPECT_EQ(fate(1), once);
    EXPECT_NE(fate(2), once);
}

TEST_F(Faults, directions_draw_from_different_numbers) {
    port.configure({.drop = percent(50)}, {.drop = percent(50)}, 1);
    arrive_numbered(0, 64);
    EXPECT_NE(receive_all(), send_numbered(0, 64));
}

TEST_F(Faults, receive_goes_on_behind_a_burst_that_was_lost) {
    arrive_numbered(0, 300);
    receiving({.drop = kAlways});
    EXPECT_TRUE(receive().empty());
    EXPECT_LE(port.next_deadline(), now) << "more waits: the worker must not sleep";
    receiving({});
    EXPECT_EQ(receive_all(), numbers(256, 44));
}

TEST_F(Faults, duplicate_comes_twice_with_the_same_bytes) {
    receiving({.duplicate = kAlways});
    arrive_numbered(5, 2);
    EXPECT_EQ(receive_all(), (std::vector<uint32_t>{5, 5, 6, 6}));
    EXPECT_EQ(port.counters()[FaultCounter::Duplicated], 2U);
}

TEST_F(Faults, duplicate_without_a_free_buffer_is_none) {
    sending({.duplicate = kAlways});
    below.buffers_left = 1;
    EXPECT_EQ(send_numbered(5, 1), numbers(5, 1));
    EXPECT_EQ(port.counters()[FaultCounter::Duplicated], 0U);
}

TEST_F(Faults, duplicates_of_a_full_burst_arrive_in_two_calls) {
    receiving({.duplicate = kAlways});
    arrive_numbered(0, kMaxBurst);
    EXPECT_EQ(receive().size(), kMaxBurst);
    EXPECT_LE(port.next_deadline(), now);
    EXPECT_EQ(receive().size(), kMaxBurst);
}

TEST_F(Faults, corrupt_changes_one_byte_behind_the_ethernet_header) {
    sending({.corrupt = kAlways});
    std::set<size_t> places;
    for (int i = 0; i < 500; ++i) {
        const Frame original = ipv4_frame(0);
        EXPECT_EQ(send(original), 1U);
        const Frame changed = below.take_sent().front();
        below.send_room = 1000;
        ASSERT_EQ(changed.size(), original.size());
        std::vector<size_t> differ;
        for (size_t at = 0; at < changed.size(); ++at) {
            if (changed[at] != original[at]) {
                differ.push_back(at);
            }
        }
        ASSERT_EQ(differ.size(), 1U);
        EXPECT_GE(differ.front(), kHeader);
        places.insert(differ.front());
    }
    EXPECT_GT(places.size(), 50U) << "of 60";
}

TEST_F(Faults, corrupt_leaves_arp_alone) {
    sending({.corrupt = kAlways});
    EXPECT_EQ(send(arp_frame()), 1U);
    EXPECT_EQ(below.take_sent().front(), arp_frame());
    EXPECT_EQ(port.counters()[FaultCounter::Corrupted], 0U);
}

TEST_F(Faults, mark_sets_congestion_experienced_and_keeps_the_checksum_right) {
    sending({.mark = kAlways});
    for (const uint8_t capable : {uint8_t{1}, uint8_t{2}}) {
        EXPECT_EQ(send(ipv4_frame(9, capable)), 1U);
        const Frame marked = below.take_sent().front();
        EXPECT_EQ(wire::load8(&marked[kHeader + 1]), 0x4b);
        EXPECT_EQ(wire::checksum_finish(wire::checksum_add(0, {&marked[kHeader], 20})), 0);
    }
    EXPECT_EQ(port.counters()[FaultCounter::Marked], 2U);
}

TEST_F(Faults, mark_reaches_the_traffic_class_of_ipv6) {
    sending({.mark = kAlways});
    EXPECT_EQ(send(ipv6_frame(2)), 1U);
    EXPECT_EQ(wire::load32(&below.take_sent().front()[kHeader]), 0x60312345U);
}

TEST_F(Faults, mark_leaves_what_is_not_capable_and_what_is_no_ip) {
    sending({.mark = kAlways});
    for (const Frame& frame : {ipv4_frame(1, 0), ipv4_frame(1, 3), ipv6_frame(0), arp_frame()}) {
        EXPECT_EQ(send(frame), 1U);
        EXPECT_EQ(below.take_sent().front(), frame);
    }
    EXPECT_EQ(port.counters()[FaultCounter::Marked], 0U);
}

TEST_F(Faults, mark_finds_the_header_behind_a_vlan_tag) {
    Frame frame = ipv4_frame(1);
    const std::array tag{std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{5}};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    sending({.mark = kAlways});
    EXPECT_EQ(send(frame), 1U);
    EXPECT_EQ(wire::load8(&below.take_sent().front()[kHeader + 4 + 1]), 0x4b);
}

TEST_F(Faults, truncated_headers_are_left_alone) {
    sending({.corrupt = kAlways, .mark = kAlways});
    for (size_t length = 0; length < kHeader + 20; ++length) {
        Frame frame = ipv4_frame(0);
        frame.resize(length);
        EXPECT_EQ(send(frame), 1U);
        EXPECT_EQ(below.take_sent().front(), frame);
    }
}

TEST_F(Faults, held_back_frames_are_overtaken_by_at_most_so_many) {
    constexpr uint32_t kBehind = 8;
    sending({.held_back = percent(30), .behind = kBehind});
    const std::vector<uint32_t> sent = send_numbered(0, 500);
    EXPECT_FALSE(std::is_sorted(sent.begin(), sent.end()));
    uint32_t most = 0;
    for (size_t at = 0; at < sent.size(); ++at) {
        const auto before = std::count_if(sent.begin(), sent.begin() + static_cast<ptrdiff_t>(at),
                                          [&](uint32_t other) { return other > sent[at]; });
        most = std::max(most, static_cast<uint32_t>(before));
    }
    // Others that are held back themselves and go in the same step come on top.
    EXPECT_GE(most, kBehind);
    EXPECT_LE(most, 2 * kBehind);
}

TEST_F(Faults, held_back_frame_goes_when_its_time_is_up) {
    sending({.held_back = kAlways, .behind = 4});
    EXPECT_TRUE(send_numbered(3, 1).empty());
    EXPECT_EQ(port.next_deadline(), now + kMostHeldBack);
    now = now + kMostHeldBack;
    EXPECT_TRUE(receive().empty());
    EXPECT_EQ(sent_numbers(), numbers(3, 1));
    EXPECT_EQ(port.next_deadline(), Instant::never());
}

TEST_F(Faults, delay_keeps_the_order_and_takes_its_time) {
    receiving({.delay = Duration::microseconds(50)});
    arrive_numbered(0, 3);
    EXPECT_TRUE(receive().empty());
    now = now + Duration::microseconds(20);
    arrive_numbered(3, 1);
    EXPECT_TRUE(receive().empty());
    EXPECT_EQ(port.next_deadline(), (Instant{1'050'000}));
    now = Instant{1'050'000};
    EXPECT_EQ(receive(), numbers(0, 3));
    EXPECT_EQ(port.next_deadline(), (Instant{1'070'000}));
    now = Instant{1'070'000};
    EXPECT_EQ(receive(), numbers(3, 1));
}

TEST_F(Faults, jitter_changes_the_order_and_loses_nothing) {
    receiving({.delay = Duration::microseconds(10), .jitter = Duration::microseconds(100)});
    arrive_numbered(0, 200);
    EXPECT_TRUE(receive_all().empty());
    now = now + Duration::microseconds(9);
    EXPECT_TRUE(receive_all().empty());
    std::vector<uint32_t> got;
    while (port.next_deadline() != Instant::never()) {
        now = port.next_deadline();
        const auto some = receive_all();
        got.insert(got.end(), some.begin(), some.end());
    }
    EXPECT_LE(now, (Instant{1'110'000}));
    EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, numbers(0, 200));
}

TEST_F(Faults, more_than_can_be_held_is_dropped_and_counted) {
    sending({.delay = Duration::milliseconds(1)});
    EXPECT_TRUE(send_numbered(0, kMostHeldFrames + 10).empty());
    EXPECT_EQ(port.counters()[FaultCounter::Overflowed], 10U);
    now = now + Duration::milliseconds(1);
    EXPECT_TRUE(receive().empty());
    EXPECT_EQ(sent_numbers(), numbers(0, kMostHeldFrames));
}

TEST_F(Faults, all_at_once_with_everything_held_fits) {
    below.buffers_left = 10'000;
    below.send_room = 0;
    const FaultSettings all{.duplicate = kAlways,
                            .held_back = percent(50),
                            .behind = kMostBehind,
                            .delay = Duration::microseconds(1),
                            .jitter = Duration::microseconds(900)};
    port.configure(all, all, seed);
    for (uint32_t step = 0; step < 200; ++step) {
        arrive_numbered(0, 40);
        (void)receive();
        for (uint32_t i = 0; i < 40; ++i) {
            (void)send(ipv4_frame(i));
        }
        now = now + Duration::microseconds(step % 20 == 0 ? 1000 : 10);
    }
    EXPECT_GT(port.counters()[FaultCounter::HeldBack], 0U);
}

TEST_F(Faults, full_port_below_pushes_back_after_one_burst) {
    sending({});
    below.send_room = 0;
    uint32_t taken = 0;
    while (send(ipv4_frame(taken)) == 1 && taken < 1000) {
        ++taken;
    }
    EXPECT_EQ(taken, kMaxBurst);
    EXPECT_LE(port.next_deadline(), now) << "to be tried again";
    below.send_room = 1000;
    EXPECT_TRUE(receive().empty());
    EXPECT_EQ(sent_numbers(), numbers(0, kMaxBurst));
}

TEST_F(Faults, clear_gives_back_whatever_is_held) {
    port.configure({.held_back = percent(50), .behind = 100, .delay = Duration::milliseconds(1)},
                   {.delay = Duration::milliseconds(1)}, seed);
    EXPECT_TRUE(send_numbered(0, 20).empty());
    arrive_numbered(0, 20);
    EXPECT_TRUE(receive().empty());
    EXPECT_GT(below.buffers_out(), 0U);
    port.clear();
    EXPECT_EQ(below.buffers_out(), 0U);
    EXPECT_EQ(port.next_deadline(), Instant::never());
    EXPECT_EQ(port.counters()[FaultCounter::Dropped], 40U);
}

TEST_F(Faults, the_rest_of_the_port_is_the_port_below) {
    EXPECT_EQ(port.max_frame_bytes(), below.max_frame_bytes());
    EXPECT_EQ(port.mac(), below.mac());
    EXPECT_TRUE(port.up());
    below.is_up = false;
    EXPECT_FALSE(port.up());
    EXPECT_EQ(port.wake_file(), -1);
}

TEST_F(Faults, every_counter_has_a_text) {
    std::set<std::string_view> names;
    for (size_t i = 0; i < kFaultCounterCount; ++i) {
        const FaultCounterText text = fault_counter_text(static_cast<FaultCounter>(i));
        EXPECT_TRUE(names.insert(text.name).second);
        EXPECT_TRUE(text.name.starts_with("faults_"));
        EXPECT_FALSE(text.help.empty());
    }
}

}  // namespace
}  // namespace vrdma::net
