// What a bad network does to a frame, in this order: it is lost; or changed, marked, doubled; then
// it waits its time, and then perhaps until others have overtaken it. A copy has a fate of its own
// from there on, so it may come long after the frame.
//
// Only IP packets are changed, behind the Ethernet header: their checksums and the ICRC are what
// the faults are to try. ARP has none, because Ethernet's own protects it; a wrong byte in it would
// be something that no network does.
//
// Frames wait in arrays of a fixed size. What a frame has been given to wait for always comes: its
// time, or as many frames as shall overtake it, or kMostHeldBack.
#include "dataplane/net/fault_port.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"

namespace vrdma::net {
namespace {

constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kTagBytes = 4;
constexpr uint32_t kLeastIpv4Bytes = 20;
constexpr uint32_t kIpv6Bytes = 40;
constexpr uint16_t kTypeVlan = 0x8100;
constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;

constexpr uint32_t kTosOffset = 1;
constexpr uint32_t kChecksumOffset = 10;
constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kNotCapable = 0;
constexpr uint8_t kExperienced = 3;

// Bursts that receive() takes from below in search of a frame that is not lost.
constexpr uint32_t kMostBursts = 8;

struct IpHeader {
    uint32_t at = 0;
    bool v6 = false;
};

// Nothing in a frame that is not IP, or shorter than its header: `at` is 0.
IpHeader find_ip(const PacketBuffer& frame) {
    uint32_t at = kEthernetBytes;
    if (frame.length < at) {
        return {};
    }
    uint16_t type = wire::load16(frame.data + at - 2);
    if (type == kTypeVlan && frame.length >= at + kTagBytes) {
        at += kTagBytes;
        type = wire::load16(frame.data + at - 2);
    }
    if (type == kTypeIpv4 && frame.length >= at + kLeastIpv4Bytes) {
        return {at, false};
    }
    if (type == kTypeIpv6 && frame.length >= at + kIpv6Bytes) {
        return {at, true};
    }
    return {};
}

bool later(const auto& a, const auto& b) {
    return a.due > b.due || (a.due == b.due && a.order > b.order);
}

}  // namespace

FaultCounterText fault_counter_text(FaultCounter counter) {
    switch (counter) {
        case FaultCounter::Dropped:
            return {"faults_dropped", "frames that fault injection dropped"};
        case FaultCounter::Duplicated:
            return {"faults_duplicated", "frames that fault injection doubled"};
        case FaultCounter::Corrupted:
            return {"faults_corrupted", "frames in which fault injection changed a byte"};
        case FaultCounter::Marked:
            return {"faults_marked", "frames that fault injection marked as having met congestion"};
        case FaultCounter::HeldBack:
            return {"faults_held_back", "frames that fault injection let others overtake"};
        case FaultCounter::Delayed:
            return {"faults_delayed", "frames that fault injection delayed"};
        case FaultCounter::Overflowed:
            return {"faults_overflowed",
                    "frames dropped because fault injection held as many as it can"};
        case FaultCounter::Count:
            break;
    }
    return {};
}

uint64_t FaultPort::Random::next() {
    state_ += 0x9e3779b97f4a7c15U;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint64_t FaultPort::Random::below(uint64_t end) {
    return end == 0 ? 0 : next() % end;
}

bool FaultPort::Random::happens(Share share) {
    return share.billionths != 0 && below(Share::kAll) < share.billionths;
}

void FaultPort::configure(const FaultSettings& sending, const FaultSettings& receiving,
                          uint64_t seed) {
    Random seeds(seed);
    sending_.settings = sending;
    sending_.random = Random(seeds.next());
    receiving_.settings = receiving;
    receiving_.random = Random(seeds.next());
}

void FaultPort::clear() {
    clear(sending_);
    clear(receiving_);
    more_waits_ = false;
}

void FaultPort::clear(Direction& direction) {
    const auto drop = [this](const PacketBuffer& frame) {
        PacketBuffer copy = frame;
        below_->release({&copy, 1});
        counters_.add(FaultCounter::Dropped);
    };
    for (size_t i = 0; i < direction.delayed_count; ++i) {
        drop(direction.delayed[i].frame);
    }
    for (size_t i = 0; i < direction.held_back_count; ++i) {
        drop(direction.held_back[i].frame);
    }
    for (size_t i = 0; i < direction.ready_count; ++i) {
        drop(direction.ready[(direction.ready_first + i) % direction.ready.size()]);
    }
    direction.delayed_count = direction.held_back_count = direction.ready_count = 0;
}

size_t FaultPort::receive(std::span<PacketBuffer> into, Instant now) {
    flush(now);
    advance(receiving_, now);
    more_waits_ = false;
    const size_t wanted = std::min(into.size(), kMaxBurst);
    for (uint32_t burst = 0; receiving_.ready_count < wanted; ++burst) {
        if (burst == kMostBursts) {
            more_waits_ = true;
            break;
        }
        std::array<PacketBuffer, kMaxBurst> frames;
        const size_t count = below_->receive(frames, now);
        for (const PacketBuffer& frame : std::span(frames).first(count)) {
            enter(receiving_, frame, now);
        }
        advance(receiving_, now);
        if (count < frames.size()) {
            break;
        }
    }
    const size_t count = std::min(wanted, receiving_.ready_count);
    for (PacketBuffer& frame : into.first(count)) {
        frame = receiving_.ready[receiving_.ready_first];
        receiving_.ready_first = (receiving_.ready_first + 1) % receiving_.ready.size();
    }
    receiving_.ready_count -= count;
    return count;
}

size_t FaultPort::send(std::span<PacketBuffer> packets, Instant now) {
    flush(now);
    size_t taken = 0;
    // What is ready and stays is what the port below has no room for.
    while (taken < packets.size() && sending_.ready_count < kMaxBurst) {
        enter(sending_, packets[taken++], now);
    }
    flush(now);
    return taken;
}

Instant FaultPort::next_deadline() const {
    Instant next = below_->next_deadline();
    if (more_waits_ || sending_.ready_count != 0 || receiving_.ready_count != 0) {
        next = Instant{0};  // at once
    }
    return std::min({next, deadline(sending_), deadline(receiving_)});
}

Instant FaultPort::deadline(const Direction& direction) {
    Instant next = Instant::never();
    if (direction.delayed_count != 0) {
        next = direction.delayed.front().due;
    }
    for (const Held& held : std::span(direction.held_back).first(direction.held_back_count)) {
        next = std::min(next, held.due);
    }
    return next;
}

void FaultPort::enter(Direction& direction, PacketBuffer frame, Instant now) {
    const FaultSettings& settings = direction.settings;
    if (direction.random.happens(settings.drop)) {
        counters_.add(FaultCounter::Dropped);
        below_->release({&frame, 1});
        return;
    }
    if (direction.random.happens(settings.corrupt)) {
        corrupt(direction, frame);
    }
    if (direction.random.happens(settings.mark)) {
        mark(frame);
    }
    PacketBuffer copy;
    const bool twice = direction.random.happens(settings.duplicate) && copy_of(frame, copy);
    delay(direction, frame, now);
    if (twice) {
        counters_.add(FaultCounter::Duplicated);
        delay(direction, copy, now);
    }
}

bool FaultPort::copy_of(const PacketBuffer& frame, PacketBuffer& copy) {
    if (below_->allocate({&copy, 1}) == 0) {
        return false;
    }
    if (copy.capacity < frame.length) {
        below_->release({&copy, 1});
        return false;
    }
    std::memcpy(copy.data, frame.data, frame.length);
    copy.length = frame.length;
    return true;
}

void FaultPort::delay(Direction& direction, const PacketBuffer& frame, Instant now) {
    const FaultSettings& settings = direction.settings;
    if (settings.delay.ns == 0 && settings.jitter.ns == 0) {
        hold_back(direction, frame, now);
        return;
    }
    if (direction.delayed_count == direction.delayed.size()) {
        PacketBuffer lost = frame;
        below_->release({&lost, 1});
        counters_.add(FaultCounter::Overflowed);
        return;
    }
    const auto more =
        static_cast<int64_t>(direction.random.below(static_cast<uint64_t>(settings.jitter.ns) + 1));
    direction.delayed[direction.delayed_count++] = {
        frame, now + settings.delay + Duration::nanoseconds(more), direction.order++};
    const auto end = direction.delayed.begin() + static_cast<ptrdiff_t>(direction.delayed_count);
    std::push_heap(direction.delayed.begin(), end, later<Held, Held>);
    counters_.add(FaultCounter::Delayed);
}

void FaultPort::hold_back(Direction& direction, const PacketBuffer& frame, Instant now) {
    const FaultSettings& settings = direction.settings;
    if (settings.behind == 0 || direction.held_back_count == direction.held_back.size() ||
        !direction.random.happens(settings.held_back)) {
        pass(direction, frame);
        ++direction.passed;
        overtaken(direction, now);
        return;
    }
    direction.held_back[direction.held_back_count++] = {
        frame, now + kMostHeldBack, direction.passed + 1 + direction.random.below(settings.behind)};
    counters_.add(FaultCounter::HeldBack);
}

void FaultPort::pass(Direction& direction, const PacketBuffer& frame) {
    VR_CHECK(direction.ready_count < direction.ready.size());
    direction.ready[(direction.ready_first + direction.ready_count++) % direction.ready.size()] =
        frame;
}

// Lets those go that enough others have overtaken, or that waited long enough.
void FaultPort::overtaken(Direction& direction, Instant now) {
    size_t kept = 0;
    for (size_t i = 0; i < direction.held_back_count; ++i) {
        const Held held = direction.held_back[i];
        if (held.order <= direction.passed || held.due <= now) {
            pass(direction, held.frame);
        } else {
            direction.held_back[kept++] = held;
        }
    }
    direction.held_back_count = kept;
}

void FaultPort::advance(Direction& direction, Instant now) {
    while (direction.delayed_count != 0 && direction.delayed.front().due <= now) {
        const auto end =
            direction.delayed.begin() + static_cast<ptrdiff_t>(direction.delayed_count);
        std::pop_heap(direction.delayed.begin(), end, later<Held, Held>);
        hold_back(direction, direction.delayed[--direction.delayed_count].frame, now);
    }
    if (direction.held_back_count != 0) {
        overtaken(direction, now);
    }
}

void FaultPort::corrupt(Direction& direction, PacketBuffer& frame) {
    const IpHeader ip = find_ip(frame);
    if (ip.at == 0) {
        return;
    }
    const uint64_t at = ip.at + direction.random.below(frame.length - ip.at);
    frame.data[at] ^= static_cast<std::byte>(1 + direction.random.below(UINT8_MAX));
    counters_.add(FaultCounter::Corrupted);
}

void FaultPort::mark(PacketBuffer& frame) {
    const IpHeader ip = find_ip(frame);
    if (ip.at == 0) {
        return;
    }
    std::byte* const header = frame.data + ip.at;
    // In IPv6 the traffic class begins in the middle of the first byte.
    const unsigned shift = ip.v6 ? 4 : 0;
    const uint8_t byte = wire::load8(header + kTosOffset);
    const auto ecn = static_cast<uint8_t>((byte >> shift) & kEcnMask);
    if (ecn == kNotCapable || ecn == kExperienced) {
        return;
    }
    wire::store8(header + kTosOffset, static_cast<uint8_t>(byte | (kExperienced << shift)));
    if (!ip.v6) {
        // By difference (RFC 1624, equation 3): a checksum that was wrong stays wrong.
        const uint32_t difference = static_cast<uint32_t>(kExperienced - ecn);
        const uint32_t sum = (~wire::load16(header + kChecksumOffset) & 0xffffU) + difference;
        wire::store16(header + kChecksumOffset, wire::checksum_finish(sum));
    }
    counters_.add(FaultCounter::Marked);
}

void FaultPort::flush(Instant now) {
    advance(sending_, now);
    while (sending_.ready_count != 0) {
        std::array<PacketBuffer, kMaxBurst> frames;
        const size_t most = std::min(frames.size(), sending_.ready_count);
        for (size_t i = 0; i < most; ++i) {
            frames[i] = sending_.ready[(sending_.ready_first + i) % sending_.ready.size()];
        }
        const size_t sent = below_->send(std::span(frames).first(most), now);
        sending_.ready_first = (sending_.ready_first + sent) % sending_.ready.size();
        sending_.ready_count -= sent;
        if (sent < most) {
            break;
        }
    }
}

}  // namespace vrdma::net
