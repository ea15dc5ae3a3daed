// Which multicast groups the vNICs behind a link belong to, and what routers and snooping switches
// have to be told of it. Knows no formats: poll_transmit() says what is to be sent.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/wire/membership.h"

namespace vrdma::net {

// What routers and switches know of a membership.
enum class MembershipState : uint8_t {
    None,        // there is none
    Unreported,  // nothing: nobody is told of such a group (wire::is_reported)
    Joining,     // they are being told, unasked
    Joined,      // they have been told, and are again when they ask
};

class GroupMemberships {
  public:
    GroupMemberships();

    // A vNIC, which has the address `source` of the group's family, belongs to the group from now
    // on. False, and nothing changed: there is no room. Nobody joins twice.
    [[nodiscard]] bool join(const wire::Address& group, const wire::Address& source, Instant now);
    // Nothing happens if it does not belong to it.
    void leave(const wire::Address& group, const wire::Address& source);
    [[nodiscard]] bool has(const wire::Address& group) const;
    [[nodiscard]] MembershipState state(const wire::Address& group,
                                        const wire::Address& source) const;

    // Somebody asks.
    void queried(const wire::MembershipQuery& query, Instant now);

    // One message to send, without its MAC address.
    [[nodiscard]] std::optional<wire::MembershipMessage> poll_transmit(Instant now);
    [[nodiscard]] Instant next_deadline() const { return next_deadline_; }
    [[nodiscard]] size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        wire::Address group;
        wire::Address source;
        Instant due = Instant::never();
        uint8_t unasked = 0;  // reports still to be sent although nobody asks
    };
    // Where it stands, or would.
    template <class Entries>
    [[nodiscard]] static auto place(Entries& entries, const wire::Address& group,
                                    const wire::Address& source);
    [[nodiscard]] static bool is(const Entry& entry, const wire::Address& group,
                                 const wire::Address& source) {
        return entry.group == group && entry.source == source;
    }
    [[nodiscard]] Duration within(Duration time);

    std::vector<Entry> entries_;  // sorted
    std::vector<wire::MembershipMessage> leaves_;
    Instant next_deadline_ = Instant::never();
    uint64_t random_ = 0;
};

}  // namespace vrdma::net
