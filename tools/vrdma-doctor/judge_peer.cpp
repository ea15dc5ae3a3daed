// Judges the way to a peer and what was measured. The number of the completion's reason comes from
// the device (docs/operations.md, "The way to the peer"); without a doctor on the other side it is
// all that tells an address that nobody has from one where merely no queue pair waits.
#include <fmt/format.h>

#include "tools/vrdma-doctor/judge.h"

namespace vrdma::doctor {
namespace {

constexpr std::uint32_t kPeerUnreachable = 48;
constexpr std::uint32_t kPeerSilent = 49;

const char* explain(Path path) {
    switch (path) {
        case Path::same_host:
            return "same host: one copy of memory, no packet";
        case Path::vrdma_peer:
            return "vRDMA peer: packets between two vRDMA services";
        case Path::standard_peer:
            return "standard peer: RoCE v2 as any RDMA device speaks it";
    }
    __builtin_unreachable();
}

void judge_probe(const Peer& peer, Findings& findings) {
    if (peer.reason == kPeerSilent) {
        findings.push_back({"peer-no-doctor", Level::note,
                            peer.address + " has a place in this network, but no vrdma-doctor to "
                                           "measure with",
                            "run vrdma-doctor --serve there and give the address of its host"});
    } else if (peer.reason == kPeerUnreachable) {
        findings.push_back({"peer-unreachable", Level::error,
                            "nobody in this vNIC's network has the address " + peer.address +
                                ", and no vrdma-doctor --serve answers there: " + peer.problem,
                            "check the address and that the peer's vNIC is in the same network "
                            "and up"});
    } else {
        findings.push_back(
            {"peer-failed", Level::error,
             fmt::format("the way to {} fails (reason {})", peer.address, peer.reason),
             "docs/operations.md explains the reason"});
    }
}

}  // namespace

void judge_peer(const Facts& facts, Findings& findings) {
    if (facts.peer && facts.peer->probed) {
        judge_probe(*facts.peer, findings);
    } else if (facts.peer && !facts.peer->met) {
        findings.push_back({"peer-not-met", Level::error,
                            "no vrdma-doctor --serve answers at " + facts.peer->address + ": " +
                                facts.peer->problem,
                            "start it there; the address is one of its host's network, over which "
                            "the two doctors meet by TCP"});
    } else if (facts.peer) {
        findings.push_back({"peer", Level::ok,
                            facts.peer->described + ". Path: " + explain(facts.peer->path), ""});
    }
    const Transfer& transfer = facts.transfer;
    if (!transfer.tried) {
        return;
    }
    const char* with = facts.peer && facts.peer->met ? "with the peer" : "on the own device";
    if (!transfer.problem.empty()) {
        findings.push_back({"transfer-failed", Level::error,
                            fmt::format("a transfer {} failed: {}", with, transfer.problem),
                            "vrdmactl counters --vnic NAME says where it failed"});
        return;
    }
    findings.push_back(
        {"transfer", Level::ok,
         fmt::format("{}: {:.2f} GB/s with WRITEs of 64 KiB, {:.1f} us for one of 8 bytes", with,
                     transfer.speed.gigabytes_per_second, transfer.speed.microseconds),
         ""});
}

}  // namespace vrdma::doctor
