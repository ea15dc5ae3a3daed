// A round of questions is short: queue pairs work as standard ones meanwhile, so nothing waits for
// the answer. A host that was silent is asked again now and then (it may have been updated, or the
// probes were lost), and at once when it asks itself. A host that once answered is not asked again:
// if its service starts anew, its first question shows another epoch.
#include "dataplane/transport/peer.h"

namespace vrdma::transport {
namespace {

constexpr uint8_t kQuestionsPerRound = 4;
constexpr Duration kQuestionInterval = Duration::milliseconds(5);
constexpr Duration kNextRound = Duration::milliseconds(30'000);

}  // namespace

void Peer::begin(PeerPolicy policy, const LocalHost& local, uint64_t token, Instant now) {
    *this = Peer{};
    policy_ = policy;
    local_ = local;
    token_ = token;
    switch (policy) {
        case PeerPolicy::Auto:
            ask(now);
            break;
        case PeerPolicy::Vrdma:
            kind_ = PeerKind::Vrdma;
            capabilities_ = local.capabilities;
            state_ = State::Settled;
            break;
        case PeerPolicy::Standard:
            state_ = State::Settled;
            break;
    }
}

void Peer::ask(Instant now) {
    state_ = State::Asking;
    questions_ = 0;
    question_due_ = true;
    deadline_ = now + kQuestionInterval;
}

std::optional<wire::ProbeEth> Peer::poll_transmit(Instant now) {
    if (!question_due_) {
        return std::nullopt;
    }
    question_due_ = false;
    ++questions_;
    deadline_ = now + kQuestionInterval;
    return wire::ProbeEth{.role = wire::ProbeEth::Role::Question,
                          .version = kProbeVersion,
                          .capabilities = local_.capabilities,
                          .epoch = local_.epoch,
                          .token = token_};
}

Peer::Reply Peer::receive(const wire::ProbeEth& probe, Instant now) {
    Reply reply;
    if (probe.role == wire::ProbeEth::Role::Question) {
        if (policy_ == PeerPolicy::Standard) {
            reply.ignored = true;  // by configuration we do not speak it
            return reply;
        }
        reply.answer = wire::ProbeEth{.role = wire::ProbeEth::Role::Answer,
                                      .version = kProbeVersion,
                                      .capabilities = local_.capabilities,
                                      .epoch = local_.epoch,
                                      .token = probe.token};
        const bool news = kind_ == PeerKind::Standard || probe.epoch != epoch_;
        if (policy_ == PeerPolicy::Auto && state_ == State::Settled && news) {
            ask(now);
        }
        return reply;
    }
    if (policy_ != PeerPolicy::Auto || probe.token != token_ || questions_ == 0) {
        reply.ignored = true;
        return reply;
    }
    reply.restarted = epoch_ != 0 && epoch_ != probe.epoch;
    epoch_ = probe.epoch;
    capabilities_ = probe.capabilities & local_.capabilities;
    const PeerKind kind =
        (capabilities_ & kCapabilitySack) != 0 ? PeerKind::Vrdma : PeerKind::Standard;
    reply.changed = kind != kind_;
    kind_ = kind;
    state_ = State::Settled;
    question_due_ = false;
    deadline_ = Instant::never();
    return reply;
}

void Peer::on_deadline(Instant now) {
    if (now < deadline_) {
        return;
    }
    if (state_ == State::Settled) {
        ask(now);  // it was silent the last time
        return;
    }
    if (questions_ < kQuestionsPerRound) {
        question_due_ = true;
        deadline_ = now + kQuestionInterval;
        return;
    }
    // What was known of it stays: a host that answered before has only lost these probes.
    state_ = State::Settled;
    deadline_ = kind_ == PeerKind::Vrdma ? Instant::never() : now + kNextRound;
}

}  // namespace vrdma::transport
