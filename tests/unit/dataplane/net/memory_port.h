// A port in memory: the test puts in what arrives and looks at what was sent.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/port/packet_port.h"

namespace vrdma {

class MemoryPort final : public PacketPort {
  public:
    using Frame = std::vector<std::byte>;
    static constexpr uint32_t kRoom = 4400;

    // -- what the test does and sees
    void arrive(Frame frame) { arriving_.push_back(std::move(frame)); }
    std::vector<Frame> take_sent() { return std::exchange(sent_, {}); }
    size_t buffers_out() const { return out_; }
    size_t buffers_left = 1000;
    size_t send_room = 1000;  // frames that send() still takes
    uint32_t longest = 1514;
    bool is_up = true;
    std::array<uint8_t, 6> address{2, 0, 0, 0, 0, 1};

    // -- PacketPort
    size_t receive(std::span<PacketBuffer> into, Instant) override {
        size_t count = 0;
        while (count < into.size() && !arriving_.empty() && allocate(into.subspan(count, 1)) == 1) {
            const Frame& frame = arriving_.front();
            std::copy(frame.begin(), frame.end(), into[count].data);
            into[count++].length = static_cast<uint32_t>(frame.size());
            arriving_.pop_front();
        }
        return count;
    }
    size_t allocate(std::span<PacketBuffer> into) override {
        const size_t count = std::min(into.size(), buffers_left);
        for (PacketBuffer& buffer : into.first(count)) {
            auto* memory = new std::byte[kRoom];
            buffer = {memory, 0, kRoom, memory};
        }
        buffers_left -= count;
        out_ += count;
        return count;
    }
    size_t send(std::span<PacketBuffer> packets, Instant) override {
        const size_t count = std::min(packets.size(), send_room);
        send_room -= count;
        for (const PacketBuffer& packet : packets.first(count)) {
            sent_.emplace_back(packet.data, packet.data + packet.length);
        }
        release(packets.first(count));
        return count;
    }
    void release(std::span<PacketBuffer> packets) override {
        for (const PacketBuffer& packet : packets) {
            delete[] static_cast<std::byte*>(packet.handle);
        }
        out_ -= packets.size();
        buffers_left += packets.size();
    }
    uint32_t max_frame_bytes() const override { return longest; }
    std::array<uint8_t, 6> mac() const override { return address; }
    bool up() const override { return is_up; }
    PortStatistics statistics() const override { return {}; }

  private:
    std::deque<Frame> arriving_;
    std::vector<Frame> sent_;
    size_t out_ = 0;
};

}  // namespace vrdma
