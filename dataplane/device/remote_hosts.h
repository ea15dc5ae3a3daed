// The hosts that queue pairs of this shard talk to, and what each of them speaks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/permutation.h"
#include "dataplane/net/link.h"
#include "dataplane/transport/peer.h"

namespace vrdma {

// A probe to be sent, or an answer.
struct ProbeToSend {
    uint32_t host;
    uint32_t dqpn;
    wire::ProbeEth probe;
};

struct RemoteHost {
    bool present = false;
    uint32_t link = 0;
    uint32_t users = 0;       // queue pairs
    uint32_t remote_qpn = 0;  // one of its queue pairs: questions go there
    net::HopId hop = 0;
    wire::Address own;
    wire::Address address;
    transport::Peer peer;
};

class RemoteHosts {
  public:
    // `secret` is from the OS generator: tokens cannot be guessed.
    explicit RemoteHosts(uint64_t secret);

    // A queue pair is about to talk to (link, address). Nothing: the table is full, and the host is
    // taken for a standard one.
    struct Wanted {
        uint32_t link;
        transport::PeerPolicy policy;
        net::HopId hop;  // held as long as the queue pair
        uint32_t local_qpn;
        uint32_t remote_qpn;
        wire::Address own;
        wire::Address address;
    };
    [[nodiscard]] std::optional<uint32_t> acquire(const Wanted& wanted, Instant now);
    void release(uint32_t host);

    [[nodiscard]] const RemoteHost& operator[](uint32_t host) const { return hosts_[host]; }

    struct Heard {
        std::optional<ProbeToSend> answer;
        std::optional<uint32_t> changed;  // the host speaks something else than before
        bool ignored = false;
    };
    [[nodiscard]] Heard receive(uint32_t link, const wire::Packet& packet, Instant now);

    // Asks whoever is to be asked now.
    [[nodiscard]] std::optional<ProbeToSend> poll_transmit(Instant now);
    [[nodiscard]] Instant next_deadline() const { return next_deadline_; }

  private:
    [[nodiscard]] std::optional<uint32_t> find(uint32_t link, const wire::Address& address) const;
    void set_deadline();

    const Permutation32 tokens_;
    uint32_t drawn_ = 0;
    Instant next_deadline_ = Instant::never();
    std::vector<RemoteHost> hosts_;
};

}  // namespace vrdma
