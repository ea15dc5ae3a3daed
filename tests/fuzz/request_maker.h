// Turns a fuzzer's bytes into the packets of a peer: nearly right ones, so that they get past the
// first checks, and wrong ones in every field. The ICRC is always right.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/wire/build.h"
#include "tests/fuzz/tape.h"

namespace vrdma::fuzz {

// Memory that the peer was told of.
struct Target {
    uint64_t address = 0;
    uint32_t key = 0;
    uint32_t length = 0;
};

struct Peer {
    bool uc = false;
    bool ud = false;
    uint32_t qkey = 0;
    uint32_t path_mtu = 1024;
    uint32_t dqpn = 0;
    wire::FlowTemplate flow;
    std::vector<Target> targets;
};

class RequestMaker {
  public:
    explicit RequestMaker(const Peer& peer) : peer_(peer) {}

    // The next frame; `expected` is the PSN that the receiver waits for. Valid until the next call.
    [[nodiscard]] std::span<const std::byte> make(Tape& tape, uint32_t expected);

  private:
    void begin(Tape& tape, wire::HeaderFields& fields, size_t& payload);
    void go_on(wire::HeaderFields& fields, size_t& payload, bool last);
    void flip(Tape& tape, size_t size);

    const Peer& peer_;
    // The message that the frames before began.
    bool write_ = false;
    bool invalidate_ = false;
    uint32_t left_ = 0;
    std::array<std::byte, 5000> frame_{};
    std::array<std::byte, wire::kMaxPayloadBytes> payload_{};
};

}  // namespace vrdma::fuzz
