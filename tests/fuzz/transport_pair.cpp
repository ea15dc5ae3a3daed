// Two queue pairs joined by a cable, in the world of tests/sim: requester, responder, UC sender and
// receiver, each to itself and to the reference peer.
//
// The bytes are a scenario: first what hosts, cable and queue pairs are like, then a list of what
// the programs post and of what happens to single frames (lost, twice, late, corrupted, marked,
// forged). The faults end, and from then on the judges of the simulator ask for everything: each
// message executed once, in order, with the right bytes, completed with a status that can be,
// nothing stuck. Where packets are forged they ask for what nobody can take away
// (Scenario::hostile).
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/tape.h"
#include "tests/sim/reference_end.h"
#include "tests/sim/world.h"

namespace {

using namespace vrdma;
using namespace vrdma::sim;
using fuzz::Tape;
using transport::Operation;

constexpr size_t kMaxMessages = 48;  // of each side
constexpr size_t kMaxFates = 160;    // of each direction
constexpr uint32_t kMaxLength = 9000;
constexpr uint64_t kMaxEvents = 250'000;

// Bits of the first byte.
enum Kind : uint8_t {
    kVrdma = 1 << 0,      // both speak it
    kLearn = 1 << 1,      // ... from some time on
    kHostile = 1 << 2,    // frames may be forged
    kReference = 1 << 3,  // host 1 is the reference peer
    kUc = 1 << 4,
    kMove = 1 << 5,
    kV6 = 1 << 6,
};

Duration micros(uint32_t count) {
    return Duration::microseconds(count);
}
Instant instant(Duration duration) {
    return Instant{duration.ns};
}

ConnectionConfig read_connection(Tape& tape, uint8_t kind) {
    const bool hostile = (kind & kHostile) != 0;
    ConnectionConfig c;
    c.service = (kind & kUc) != 0 ? wire::Service::Uc : wire::Service::Rc;
    c.move = (kind & kMove) != 0;
    c.path_mtu = 256U << tape.below(3);
    c.max_rd_atomic = static_cast<uint8_t>(1 + tape.below(16));
    const uint8_t timers = tape.byte();
    // Without a timeout nothing ends a connection that forged packets have thrown out of step.
    c.timeout = static_cast<uint8_t>(timers % 8 == 0 && !hostile ? 0 : 7 + timers % 8);
    c.rnr_timer = static_cast<uint8_t>(1 + (timers >> 4));
    const uint8_t retries = tape.byte();
    c.retry_count = retries & 7;
    c.rnr_retry = hostile ? retries >> 3 & 3 : retries >> 3 & 7;
    for (size_t side = 0; side < 2; ++side) {
        c.queue_depth[side] = 1 + tape.below(64);
        c.initial_psn[side] = (0U - tape.byte()) & transport::kPsnMask;
        c.messages[side] = 0;
        c.mix[side].reread = 0.5;
        c.mix[side].max_length = 1;
    }
    c.receives = 1 + tape.below(16);
    c.scarce = tape.byte() / 255.0;
    c.scarce_time = micros(1 + 10U * tape.byte());
    return c;
}

void read_network(Tape& tape, Scenario& s) {
    const uint8_t rate = tape.byte();
    const Duration delay{200 * (int64_t{tape.byte()} + 1)};
    for (LinkConfig& link : s.link) {
        link.bytes_per_second = 125'000'000ULL << rate % 7;
        link.bottleneck = link.bytes_per_second / (1 + (rate >> 6));
        link.delay = delay;
        const uint8_t queue = tape.byte();
        link.queue_bytes = queue == 0 ? 0 : 5000U * queue;
        const uint8_t mark = tape.byte();
        link.mark_bytes = 1000U * mark;
        link.loss = tape.byte() / 1024.0;
        link.jitter = Duration{100 * int64_t{tape.byte()}};
    }
    for (HostConfig& host : s.host) {
        host.turn = Duration{50 + 20 * int64_t{tape.byte()}};
        host.pause = tape.byte() / 4096.0;
        host.pause_time = micros(500);
    }
    s.management_delay = micros(20 * (1U + tape.byte()));
    s.faults_end = instant(micros(100 * (1U + tape.byte())));
    const uint8_t restart = tape.byte();
    const uint8_t at = tape.byte();
    if ((restart & 1) != 0) {
        s.restarts.push_back({static_cast<uint8_t>(restart >> 1 & 1), instant(micros(20U * at)),
                              micros(1 + 20U * (restart >> 2))});
    }
    s.seed = tape.byte();
}

uint32_t length_of(uint16_t word, uint32_t mtu) {
    if ((word & 0x8000) != 0) {  // at the border of a packet
        return std::min(kMaxLength, (word & 7U) * mtu + (word >> 3 & 3) - (word & 7 ? 1 : 0));
    }
    return word % (kMaxLength + 1);
}

void read_message(Tape& tape, uint8_t what, Scenario& s) {
    ConnectionConfig& c = s.connections[0];
    const size_t side = what >> 1 & 1;
    OperationMix& mix = c.mix[side];
    const size_t operations = c.service == wire::Service::Uc ? 4 : kOperations;
    ScriptedMessage message;
    message.operation = static_cast<Operation>((what >> 2 & 7) % operations);
    message.fence = (what & 0x20) != 0;
    message.solicited = (what & 0x40) != 0;
    message.failing = (what & 0x80) != 0;
    message.length = length_of(tape.word(), c.path_mtu);
    message.pause = micros(tape.byte());
    if (mix.script.size() < kMaxMessages) {
        mix.max_length = std::max(mix.max_length, message.length);
        mix.script.push_back(message);
        ++c.messages[side];
    }
}

void read_fate(Tape& tape, uint8_t what, Scenario& s) {
    std::vector<ScriptedFate>& script = s.link[what >> 1 & 1].script;
    using Fate = ScriptedFate::Kind;
    static constexpr std::array kKinds = {Fate::Drop,        Fate::Duplicate,   Fate::Delay,
                                          Fate::Corrupt,     Fate::Mark,        Fate::Drop,
                                          Fate::ForgeBeside, Fate::ForgeInstead};
    ScriptedFate fate;
    fate.kind = kKinds[what >> 2 & 7];
    fate.ordinal = (script.empty() ? 0 : script.back().ordinal + 1) + (what >> 5);
    if (fate.kind == Fate::Delay || fate.kind == Fate::Duplicate) {
        fate.delay = Duration{500 * int64_t{tape.byte()} + 1};
    } else if (fate.kind == Fate::ForgeBeside || fate.kind == Fate::ForgeInstead) {
        fate.at = tape.byte();
        fate.flips = tape.word();
        if (!s.hostile) {
            fate.kind = Fate::Drop;
        }
    }
    if (script.size() < kMaxFates) {
        script.push_back(fate);
    }
}

Scenario read_scenario(Tape& tape, bool& reference) {
    Scenario s;
    const uint8_t kind = tape.byte();
    s.hostile = (kind & kHostile) != 0;
    s.v6 = (kind & kV6) != 0;
    reference = (kind & kReference) != 0 && (kind & (kHostile | kUc)) == 0;
    for (Instant& from : s.vrdma_from) {
        const Instant late = instant(micros(2U * tape.byte()));
        from = (kind & kVrdma) == 0 || reference ? Instant::never()
               : (kind & kLearn) != 0            ? late
                                                 : Instant{0};
    }
    s.connections.push_back(read_connection(tape, kind));
    read_network(tape, s);
    s.event_limit = kMaxEvents;
    while (!tape.at_end()) {
        const uint8_t what = tape.byte();
        if ((what & 1) == 0) {
            read_message(tape, what, s);
        } else {
            read_fate(tape, what, s);
        }
    }
    return s;
}

void show(const Scenario& s) {
    fmt::print(stderr, "{}{}\n", s.hostile ? "hostile " : "", describe(s));
    for (size_t side = 0; side < 2; ++side) {
        for (const ScriptedMessage& m : s.connections[0].mix[side].script) {
            fmt::print(stderr, "host {} posts operation {} of {} bytes{}{}, then waits {} ns\n",
                       side, static_cast<int>(m.operation), m.length, m.fence ? ", fence" : "",
                       m.failing ? ", to fail" : "", m.pause.ns);
        }
        for (const ScriptedFate& f : s.link[side].script) {
            fmt::print(stderr, "link {} frame {}: fate {} delay {} ns, forged at {} by {:#x}\n",
                       side, f.ordinal, static_cast<int>(f.kind), f.delay.ns, f.at, f.flips);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Tape tape(data, size);
    bool reference = false;
    const Scenario scenario = read_scenario(tape, reference);
    // With VRDMA_FUZZ_TRACE in the environment: every packet, for an input that failed.
    static const bool with_trace = std::getenv("VRDMA_FUZZ_TRACE") != nullptr;
    Trace trace(stderr);
    if (with_trace) {
        show(scenario);
    }
    World world(scenario, reference ? make_end_or_reference : make_end,
                with_trace ? &trace : nullptr);
    const Report report = world.run();
    if (report.violation) {
        fmt::print(stderr, "VIOLATION of {}: {}\n", check_name(report.violation->check),
                   report.violation->text);
        show(scenario);
        std::abort();
    }
    return 0;
}
