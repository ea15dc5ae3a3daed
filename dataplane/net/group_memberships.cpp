// Each vNIC is a host of its own: it reports itself, with its own address, whatever others report.
// Reports are repeated once because they may be lost, and are sent again when somebody asks, spread
// over the time that the question grants. A host may keep quiet when it hears another's report; we
// never do, so that a switch learns every port that a member is behind (RFC 3376 does the same).
//
// A sorted array, as for local addresses: looked into for every packet to a group, written when a
// queue pair is attached. The spreading needs no good randomness, only different times.
#include "dataplane/net/group_memberships.h"

#include <algorithm>
#include <tuple>

#include "dataplane/net/limits.h"

namespace vrdma::net {
namespace {

constexpr uint8_t kUnaskedReports = 2;  // RFC 2236 8.10: the first may be lost
constexpr Duration kUnaskedInterval = Duration::milliseconds(1000);
// Whoever asks all the time gets no more than ten answers a second, or so.
constexpr Duration kShortestSpread = Duration::milliseconds(100);
constexpr uint64_t kStep = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio: every value in turn

}  // namespace

GroupMemberships::GroupMemberships() {
    entries_.reserve(kMaxMemberships);
    leaves_.reserve(kMaxLeaves);
}

template <class Entries>
auto GroupMemberships::place(Entries& entries, const wire::Address& group,
                             const wire::Address& source) {
    return std::lower_bound(entries.begin(), entries.end(), std::tie(group, source),
                            [](const Entry& entry, const auto& key) {
                                return std::tie(entry.group, entry.source) < key;
                            });
}

Duration GroupMemberships::within(Duration time) {
    random_ += kStep;
    constexpr int kBits = 16;
    return {(time.ns >> kBits) * static_cast<int64_t>(random_ >> (64 - kBits))};
}

bool GroupMemberships::join(const wire::Address& group, const wire::Address& source, Instant now) {
    if (entries_.size() == kMaxMemberships) {
        return false;
    }
    Entry entry{group, source, Instant::never(), 0};
    if (wire::is_reported(group)) {
        entry.due = now;
        entry.unasked = kUnaskedReports;
        next_deadline_ = std::min(next_deadline_, now);
    }
    entries_.insert(place(entries_, group, source), entry);
    return true;
}

void GroupMemberships::leave(const wire::Address& group, const wire::Address& source) {
    const auto found = place(entries_, group, source);
    if (found == entries_.end() || !is(*found, group, source)) {
        return;
    }
    entries_.erase(found);
    if (wire::is_reported(group) && leaves_.size() < kMaxLeaves) {
        leaves_.push_back({wire::MembershipMessage::Kind::Leave, {}, source, group});
        next_deadline_ = Instant{};
    }
}

bool GroupMemberships::has(const wire::Address& group) const {
    const auto found =
        std::lower_bound(entries_.begin(), entries_.end(), group,
                         [](const Entry& entry, const auto& key) { return entry.group < key; });
    return found != entries_.end() && found->group == group;
}

MembershipState GroupMemberships::state(const wire::Address& group,
                                        const wire::Address& source) const {
    const auto found = place(entries_, group, source);
    if (found == entries_.end() || !is(*found, group, source)) {
        return MembershipState::None;
    }
    if (!wire::is_reported(group)) {
        return MembershipState::Unreported;
    }
    return found->unasked != 0 ? MembershipState::Joining : MembershipState::Joined;
}

void GroupMemberships::queried(const wire::MembershipQuery& query, Instant now) {
    for (Entry& entry : entries_) {
        const bool asked =
            query.group ? entry.group == *query.group : entry.group.is_v4() != query.v6;
        if (asked && wire::is_reported(entry.group)) {
            entry.due = std::min(entry.due, now + within(std::max(query.within, kShortestSpread)));
            next_deadline_ = std::min(next_deadline_, entry.due);
        }
    }
}

std::optional<wire::MembershipMessage> GroupMemberships::poll_transmit(Instant now) {
    if (now < next_deadline_) [[likely]] {
        return std::nullopt;
    }
    if (!leaves_.empty()) {
        const wire::MembershipMessage message = leaves_.front();
        leaves_.erase(leaves_.begin());
        return message;
    }
    Entry* first = nullptr;
    next_deadline_ = Instant::never();
    for (Entry& entry : entries_) {
        if (first == nullptr && entry.due <= now) {
            first = &entry;
            entry.unasked -= entry.unasked == 0 ? 0 : 1;
            entry.due = entry.unasked == 0 ? Instant::never() : now + kUnaskedInterval;
        }
        next_deadline_ = std::min(next_deadline_, entry.due);
    }
    if (first == nullptr) {
        return std::nullopt;
    }
    return wire::MembershipMessage{
        wire::MembershipMessage::Kind::Report, {}, first->source, first->group};
}

}  // namespace vrdma::net
