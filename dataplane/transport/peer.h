// What one remote host speaks: it is asked by a probe, and silence means standard RoCEv2.
//
//     peer.begin(policy, now, token);            the first queue pair toward the host
//     while (auto probe = peer.poll_transmit(now)) send it (opcode Probe, QPN 0)
//     reply = peer.receive(probe, now)           send *reply.answer; look at kind() again
//     at next_deadline(): peer.on_deadline(now)
//
// Only an answer that carries our token is believed. A question alone makes us answer and ask back:
// its source address may be forged, and SACKs would be noise to a standard peer.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/time.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/wire/packet.h"

namespace vrdma::transport {

// Bits of the capability word.
inline constexpr uint32_t kCapabilitySack = 1U << 0;

inline constexpr uint8_t kProbeVersion = 1;

enum class PeerPolicy : uint8_t { Auto, Vrdma, Standard };

// Who we are, for questions and answers.
struct LocalHost {
    uint32_t capabilities = kCapabilitySack;
    uint64_t epoch = 0;  // another one at each start of the service
};

class Peer {
  public:
    Peer() = default;
    // `token`: unpredictable, another one for each peer.
    void begin(PeerPolicy policy, const LocalHost& local, uint64_t token, Instant now);

    [[nodiscard]] std::optional<wire::ProbeEth> poll_transmit(Instant now);

    struct Reply {
        std::optional<wire::ProbeEth> answer;
        bool changed = false;    // kind() is another one
        bool restarted = false;  // the host's service is another one than before
        bool ignored = false;    // not an answer to a question of ours
    };
    [[nodiscard]] Reply receive(const wire::ProbeEth& probe, Instant now);

    [[nodiscard]] Instant next_deadline() const { return deadline_; }
    void on_deadline(Instant now);

    // Standard until the host has said otherwise.
    [[nodiscard]] PeerKind kind() const { return kind_; }
    // It has answered, or was silent long enough.
    [[nodiscard]] bool settled() const { return state_ == State::Settled; }
    [[nodiscard]] uint32_t capabilities() const { return capabilities_; }

  private:
    enum class State : uint8_t { Idle, Asking, Settled };

    void ask(Instant now);

    LocalHost local_;
    uint64_t token_ = 0;
    uint64_t epoch_ = 0;  // the host's
    Instant deadline_ = Instant::never();
    uint32_t capabilities_ = 0;
    uint8_t questions_ = 0;  // sent in this round
    bool question_due_ = false;
    PeerPolicy policy_ = PeerPolicy::Auto;
    PeerKind kind_ = PeerKind::Standard;
    State state_ = State::Idle;
};

}  // namespace vrdma::transport
