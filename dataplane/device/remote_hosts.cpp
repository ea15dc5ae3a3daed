// Who speaks what is found out once for each host, by the first queue pair toward it, and forgotten
// with the last one. Only hosts that a queue pair here is connected to are asked or answered, so
// that forged questions make nothing.
//
// A question goes to a queue pair number of the other host, so that it reaches the shard that talks
// to us; the answer finds its way back by the low 24 bits of the token, which are a number of ours.
#include "dataplane/device/remote_hosts.h"

#include <algorithm>

namespace vrdma {
namespace {

constexpr size_t kMaxHosts = 1024;  // of one shard
constexpr uint32_t kQpnMask = 0xffffff;

}  // namespace

RemoteHosts::RemoteHosts(uint64_t secret) : tokens_(secret) {
    hosts_.reserve(kMaxHosts);
}

std::optional<uint32_t> RemoteHosts::find(uint32_t link, const wire::Address& address) const {
    for (uint32_t i = 0; i < hosts_.size(); ++i) {
        if (hosts_[i].present && hosts_[i].link == link && hosts_[i].address == address) {
            return i;
        }
    }
    return std::nullopt;
}

std::optional<uint32_t> RemoteHosts::acquire(const Wanted& wanted, Instant now) {
    if (const std::optional<uint32_t> known = find(wanted.link, wanted.address)) {
        ++hosts_[*known].users;
        hosts_[*known].remote_qpn = wanted.remote_qpn;
        return known;
    }
    const auto free = std::find_if(hosts_.begin(), hosts_.end(),
                                   [](const RemoteHost& host) { return !host.present; });
    if (free == hosts_.end() && hosts_.size() == kMaxHosts) {
        return std::nullopt;
    }
    RemoteHost& host = free == hosts_.end() ? hosts_.emplace_back() : *free;
    host = RemoteHost{.present = true,
                      .link = wanted.link,
                      .users = 1,
                      .remote_qpn = wanted.remote_qpn,
                      .hop = wanted.hop,
                      .own = wanted.own,
                      .address = wanted.address,
                      .peer = {}};
    const transport::LocalHost local{.capabilities = transport::kCapabilitySack,
                                     .epoch = tokens_.encrypt(0)};
    ++drawn_;
    const uint64_t token = uint64_t{tokens_.encrypt(drawn_)} << 32 |
                           uint64_t{tokens_.encrypt(~drawn_) & 0xffU} << 24 |
                           (wanted.local_qpn & kQpnMask);
    host.peer.begin(wanted.policy, local, token, now);
    set_deadline();
    next_deadline_ = std::min(next_deadline_, now);  // its question is due
    return static_cast<uint32_t>(&host - hosts_.data());
}

void RemoteHosts::release(uint32_t host) {
    if (--hosts_[host].users == 0) {
        hosts_[host].present = false;
        set_deadline();
    }
}

RemoteHosts::Heard RemoteHosts::receive(uint32_t link, const wire::Packet& packet, Instant now) {
    Heard heard;
    const std::optional<uint32_t> index = find(link, packet.network.source);
    if (!index) {
        heard.ignored = true;
        return heard;
    }
    RemoteHost& host = hosts_[*index];
    const transport::Peer::Reply reply = host.peer.receive(packet.probe, now);
    heard.ignored = reply.ignored;
    if (reply.answer) {
        heard.answer = ProbeToSend{*index, static_cast<uint32_t>(reply.answer->token & kQpnMask),
                                   *reply.answer};
    }
    if (reply.changed) {
        heard.changed = index;
    }
    set_deadline();
    if (host.peer.next_deadline() != Instant::never()) {
        next_deadline_ = std::min(next_deadline_, now);  // it may ask back at once
    }
    return heard;
}

std::optional<ProbeToSend> RemoteHosts::poll_transmit(Instant now) {
    if (now < next_deadline_) {
        return std::nullopt;
    }
    for (uint32_t i = 0; i < hosts_.size(); ++i) {
        RemoteHost& host = hosts_[i];
        if (!host.present) {
            continue;
        }
        host.peer.on_deadline(now);
        if (const std::optional<wire::ProbeEth> probe = host.peer.poll_transmit(now)) {
            return ProbeToSend{i, host.remote_qpn, *probe};
        }
    }
    set_deadline();
    return std::nullopt;
}

void RemoteHosts::set_deadline() {
    next_deadline_ = Instant::never();
    for (const RemoteHost& host : hosts_) {
        if (host.present) {
            next_deadline_ = std::min(next_deadline_, host.peer.next_deadline());
        }
    }
}

}  // namespace vrdma
