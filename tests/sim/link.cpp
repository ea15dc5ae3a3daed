// A link has no events of its own: when a frame is sent, everything that will happen to it is
// decided at once, and the result is the time of its arrivals. The queues are two points in time
// (when port and switch will be idle), so a frame costs the same however long the queue is.
//
// Order is kept on each path (jitter only delays what is behind, too) except for the frames that
// the reorder axis or a script picks. A corrupted frame is a changed copy: its duplicate is
// unharmed.
//
// A forged frame is a changed copy with a right ICRC. What it changes lies behind the UDP header.
//
// Corruption flips one to three bits behind the Ethernet header, which CRC-32 detects at any
// distance for our lengths. Two fields that no checksum covers stay whole: a hop may
// change them, so a receiver may believe anything there.
#include "tests/sim/link.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/icrc.h"

namespace vrdma::sim {

namespace {

Duration time_on_wire(uint64_t bytes, uint64_t bytes_per_second) {
    return {
        static_cast<int64_t>((bytes * 1'000'000'000ULL + bytes_per_second - 1) / bytes_per_second)};
}

bool is_v6(const Frame& frame) {
    return wire::load16(frame.bytes.data() + 12) == 0x86dd;
}

size_t bth_at(const Frame& frame) {
    return wire::kEthernetBytes + (is_v6(frame) ? wire::kIpv6Bytes : wire::kIpv4Bytes) +
           wire::kUdpBytes;
}

}  // namespace

Instant Link::room_at() const {
    const Duration ring = time_on_wire(kRingBytes, config_.bytes_per_second);
    return Instant{std::max<int64_t>(0, port_free_.ns - ring.ns)};
}

const ScriptedFate* Link::scripted(uint64_t ordinal) const {
    for (const ScriptedFate& fate : config_.script) {
        if (fate.ordinal == ordinal) {
            return &fate;
        }
    }
    return nullptr;
}

size_t Link::path_of(const Frame& frame) const {
    const uint32_t port = wire::load16(frame.bytes.data() + bth_at(frame) - wire::kUdpBytes);
    return (port * 0x9e3779b1U >> 16) % config_.paths;
}

Duration Link::detour(size_t path) const {
    return config_.paths == 1
               ? Duration{}
               : Duration{config_.skew.ns * static_cast<int64_t>(path) / (config_.paths - 1)};
}

bool Link::lose(Instant now) {
    for (const Outage& outage : config_.outages) {
        if (now >= outage.from && now < outage.to) {
            return true;
        }
    }
    if (burst_left_ > 0) {
        --burst_left_;
        return true;
    }
    if (random_.chance(config_.burst)) {
        burst_left_ = static_cast<uint32_t>(random_.below(2 * uint64_t{config_.burst_frames}));
        return true;
    }
    return random_.chance(config_.loss);
}

void Link::mark(Frame& frame) {
    std::byte* ip = frame.bytes.data() + wire::kEthernetBytes;
    if (is_v6(frame)) {
        if ((wire::load8(ip + 1) & 0x30) != 0) {
            wire::store8(ip + 1, wire::load8(ip + 1) | 0x30);
            ++statistics_.marked;
        }
        return;
    }
    const uint16_t before = wire::load16(ip);
    if ((before & 3) == 0) {
        return;
    }
    const auto after = static_cast<uint16_t>(before | 3);
    wire::store16(ip, after);
    // RFC 1624: HC' = ~(~HC + ~m + m')
    const auto checksum = static_cast<uint16_t>(~wire::load16(ip + 10));
    uint32_t sum = checksum + static_cast<uint32_t>(static_cast<uint16_t>(~before)) + after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    wire::store16(ip + 10, static_cast<uint16_t>(~sum));
    ++statistics_.marked;
}

FrameIndex Link::copy(FrameIndex frame) {
    const FrameIndex copied = frames_.allocate();
    Frame& to = frames_.at(copied);
    const Frame& from = frames_.at(frame);
    to.length = from.length;
    std::memcpy(to.bytes.data(), from.bytes.data(), from.length);
    return copied;
}

FrameIndex Link::forge(FrameIndex frame, const ScriptedFate& fate) {
    const FrameIndex changed = copy(frame);
    Frame& to = frames_.at(changed);
    const size_t bth = bth_at(to);
    const size_t end = to.length - wire::kIcrcBytes;
    for (uint32_t i = 0; i < 4; ++i) {
        const auto flips = static_cast<uint8_t>(fate.flips >> (8 * i));
        to.bytes[bth + (fate.at + i) % (end - bth)] ^= std::byte{flips};
    }
    const size_t payload = bth + wire::kBthBytes;
    const uint32_t headers =
        wire::icrc_of_headers(to.bytes.data() + wire::kEthernetBytes, is_v6(to));
    wire::store_icrc(to.bytes.data() + end,
                     wire::crc32_update(headers, to.view().subspan(payload, end - payload)));
    ++statistics_.forged;
    return changed;
}

FrameIndex Link::corrupt(FrameIndex frame) {
    const FrameIndex changed = copy(frame);
    Frame& to = frames_.at(changed);
    const Frame& from = frames_.at(frame);
    const size_t bth = bth_at(from);
    const size_t first = bth + wire::kBthBytes;
    size_t at = 0;
    for (uint32_t flips = random_.between(1, 3); flips-- > 0;) {
        // Different bytes, so that no flip undoes another.
        at = at == 0 ? first + random_.below(from.length - first - 3) : at + 1;
        to.bytes[at] ^= std::byte{static_cast<uint8_t>(1U << random_.below(8))};
    }
    if (random_.chance(0.3)) {  // the PSN, or the destination QPN
        to.bytes[bth + 5 + random_.below(3) + (random_.coin() ? 4 : 0)] ^= std::byte{1};
    }
    frames_.release(frame);
    ++statistics_.corrupted;
    return changed;
}

bool Link::pass_switch(FrameIndex frame, Instant& at) {
    const uint64_t bytes = frames_.at(frame).length + kWireOverhead;
    const int64_t waiting = std::max<int64_t>(0, switch_free_.ns - at.ns);
    const auto queued = static_cast<uint64_t>(static_cast<double>(waiting) * 1e-9 *
                                              static_cast<double>(config_.bottleneck));
    if (config_.queue_bytes != 0 && queued + bytes > config_.queue_bytes) {
        ++statistics_.overflowed;
        return false;
    }
    if (config_.mark_bytes != 0 && queued > config_.mark_bytes) {
        mark(frames_.at(frame));
    }
    switch_free_ = std::max(switch_free_, at) + time_on_wire(bytes, config_.bottleneck);
    at = switch_free_ + config_.delay;
    return true;
}

Passage Link::send(FrameIndex frame, Instant now) {
    Passage passage;
    const uint64_t ordinal = statistics_.sent++;
    const uint64_t bytes = frames_.at(frame).length + kWireOverhead;
    const Duration gap = time_on_wire(bytes, config_.bytes_per_second);
    port_free_ = std::max(port_free_, now) + gap;
    Instant at = port_free_;
    const auto drop = [&](std::string_view why) {
        frames_.release(frame);
        passage.fate = why;
        return passage;
    };
    if (!pass_switch(frame, at)) {
        return drop("queue full");
    }
    using Kind = ScriptedFate::Kind;
    const bool faults = now < faults_end_;
    const ScriptedFate* script = faults ? scripted(ordinal) : nullptr;
    const auto is = [script](Kind kind) { return script != nullptr && script->kind == kind; };
    if (is(Kind::Drop) || (faults && lose(now))) {
        ++statistics_.lost;
        return drop("lost");
    }
    if (is(Kind::Mark) || (faults && random_.chance(config_.mark))) {
        mark(frames_.at(frame));
    }
    if (faults && config_.jitter.ns > 0) {
        at = at + random_.between(Duration{0}, config_.jitter);
    }
    const size_t path = path_of(frames_.at(frame));
    at = std::max(at + detour(path), last_arrival_[path]);
    if (is(Kind::DelayUntil) || is(Kind::Delay)) {
        at = is(Kind::Delay) ? at + script->delay : std::max(at, script->until);
        ++statistics_.reordered;
        passage.fate = "delayed";
    } else if (faults && random_.chance(config_.reorder)) {
        at = at + gap * random_.between(1, std::max(1U, config_.reorder_frames));
        ++statistics_.reordered;
        passage.fate = "reordered";
    } else {
        last_arrival_[path] = at;
    }
    if (is(Kind::Duplicate) || (faults && random_.chance(config_.duplicate))) {
        frames_.retain(frame);
        const Duration later = is(Kind::Duplicate) && script->delay.ns > 0
                                   ? script->delay
                                   : gap * random_.between(0, 40);
        passage.arrivals[passage.count++] = {at + later, frame};
        ++statistics_.duplicated;
        passage.fate = "duplicated";
        quiet_ = std::max(quiet_, at + later);
    }
    if (is(Kind::ForgeBeside)) {
        passage.arrivals[passage.count++] = {at, forge(frame, *script)};
        passage.fate = "forged beside";
    } else if (is(Kind::ForgeInstead)) {
        const FrameIndex whole = frame;
        frame = forge(whole, *script);
        frames_.release(whole);
        passage.fate = "forged";
    } else if (is(Kind::Corrupt) || (faults && random_.chance(config_.corrupt))) {
        frame = corrupt(frame);
        passage.fate = "corrupted";
    }
    passage.arrivals[passage.count++] = {at, frame};
    quiet_ = std::max(quiet_, at);
    return passage;
}

}  // namespace vrdma::sim
