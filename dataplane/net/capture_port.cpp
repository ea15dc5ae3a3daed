// A frame that is sent has to be copied before it is handed down, because it may be gone
// afterwards; but only afterwards is it known whether it was taken. So all are staged, and what was
// taken is published. While the port is not up nothing leaves, and nothing is recorded.
//
// A neighbour may send longer frames than RoCE has, if the device takes them: these are cut.
#include "dataplane/net/capture_port.h"

#include <algorithm>

namespace vrdma::net {

size_t CapturePort::receive(std::span<PacketBuffer> into, Instant now) {
    const size_t count = below_.receive(into, now);
    if (count == 0) {
        return 0;
    }
    const Instant at = settings_.clock();
    for (size_t first = 0; first < count; first += kMaxBurst) {
        const auto frames = into.subspan(first, std::min(kMaxBurst, count - first));
        std::array<uint16_t, kMaxBurst> workers{};
        if (shared_ != nullptr) {
            shared_->steer(frames, std::span(workers).first(frames.size()));
        }
        for (size_t i = 0; i < frames.size(); ++i) {
            if (workers[i] != PacketSteering::kEveryWorker &&
                refused(frames[i], wire::CaptureDirection::Inbound, at, missed())) {
                add_missed(1);
            }
        }
    }
    ring_.publish(ring_.staged());
    return count;
}

size_t CapturePort::send(std::span<PacketBuffer> packets, Instant now) {
    if (!below_.up()) {
        return below_.send(packets, now);
    }
    const auto burst = packets.first(std::min(packets.size(), kMaxBurst));
    struct Staged {
        uint64_t end;     // of what was staged so far
        uint64_t missed;  // and of what was missed
    };
    std::array<Staged, kMaxBurst + 1> staged;
    staged[0] = {ring_.staged(), missed()};
    const Instant at = settings_.clock();
    for (size_t i = 0; i < burst.size(); ++i) {
        const bool lost = refused(burst[i], wire::CaptureDirection::Outbound, at, staged[i].missed);
        staged[i + 1] = {ring_.staged(), staged[i].missed + (lost ? 1 : 0)};
    }
    const size_t taken = below_.send(burst, now);
    ring_.publish(staged[taken].end);
    add_missed(staged[taken].missed - staged[0].missed);
    return taken;
}

bool CapturePort::refused(const PacketBuffer& frame, wire::CaptureDirection direction, Instant at,
                          uint64_t missed) {
    if (!passes(settings_.filter, {frame.data, frame.length}, direction, groups_)) {
        return false;
    }
    const CaptureRecord record{
        .at = at,
        .missed = missed,
        .captured = std::min({frame.length, settings_.snap_length, kMaxFrameBytes}),
        .original = frame.length,
        .direction = direction};
    return !ring_.stage(record, frame.data);
}

void CapturePort::add_missed(uint64_t count) {
    missed_.store(missed() + count, std::memory_order_relaxed);
}

}  // namespace vrdma::net
