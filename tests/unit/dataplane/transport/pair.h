// Two queue pairs and the network between them, small and deterministic: what one polls is put on a
// line that loses, repeats, delays and turns around as the test says. Memory is two arrays; a
// message's id is the place of its bytes in them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "dataplane/transport/rc_requester.h"
#include "dataplane/transport/rc_responder.h"
#include "wire_side.h"

namespace vrdma::transport {

struct Frame {
    wire::Packet packet;
    std::vector<std::byte> payload;
    Instant due{};
};

// One side: a requester, a responder, and memory.
class Side {
  public:
    static constexpr size_t kMemory = 3 << 17;

    RcRequester requester;
    RcResponder responder;
    std::vector<std::byte> local = std::vector<std::byte>(kMemory);   // of our messages
    std::vector<std::byte> remote = std::vector<std::byte>(kMemory);  // what the peer reaches
    std::map<uint32_t, uint32_t> place;                               // message id: offset in local
    std::vector<Completion> completions;
    std::vector<uint32_t> receive_lengths;  // of SENDs, in order
    std::vector<std::byte> inbox;           // their bytes
    int receives = 1 << 30;                 // receive entries left
    uint32_t executed = 0;
    uint32_t dropped = 0;
    bool hold = true;
};

struct NetworkRules {
    double loss = 0;
    double duplicate = 0;
    double reorder = 0;  // delayed by up to reorder_by more
    Duration reorder_by = Duration::microseconds(20);
    Duration delay = Duration::microseconds(10);
    Duration per_packet = Duration::nanoseconds(300);  // the line's rate
};

class Pair {
  public:
    Pair(PeerKind peer, uint32_t psn, uint32_t seed, uint32_t mtu = 1024,
         uint8_t max_rd_atomic = 4);

    void post(Side& side, Message message);
    // Until nothing is posted any more or the time is up. True: nothing is.
    bool run(Duration limit);

    Side a;
    Side b;
    NetworkRules rules;
    Instant now{1'000'000};
    // Decides about the n-th packet of a direction instead of the rules; empty: the rules.
    std::function<bool(bool from_a, uint64_t n)> drop;
    // Called before each turn, to post more.
    std::function<void()> refill;
    uint64_t packets = 0;

  private:
    void turn(Side& from, Side& to, std::deque<Frame>& line, bool is_a);
    void put(std::deque<Frame>& line, const PacketPlan& plan, Side& from, bool is_a);
    void receive(Side& side, const Frame& frame);
    void give_request(Side& side, const Frame& frame, std::map<uint32_t, Frame>& held);
    void give_answer(Side& side, const Frame& frame);
    ExecuteResult execute(Side& side, const Inbound& inbound, const Frame& frame);

    std::mt19937 random_;
    std::deque<Frame> to_a_;
    std::deque<Frame> to_b_;
    Instant free_a_{};
    Instant free_b_{};
    uint64_t count_a_ = 0;
    uint64_t count_b_ = 0;
    uint32_t next_handle_ = 0;
    std::map<uint32_t, Frame> held_;
};

}  // namespace vrdma::transport
