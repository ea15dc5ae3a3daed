#pragma once

// Messages over a channel, both ways at once, each with its own size, tag and data.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/interop/nccl/channel.h"
#include "tools/verbs_util/pattern.h"

namespace vrdma::nccl_net {

struct TrafficOptions {
    std::vector<std::uint64_t> sizes;  ///< of messages, in turns
    std::uint64_t group = 1;           ///< messages of one irecv at most; 0: 1 to 8, in turns
    std::uint64_t seed = 0;
    std::uint64_t side = 0;                 ///< 0 or 1, the partner the other one
    std::uint64_t sends = 0, receives = 0;  ///< groups
    std::uint64_t window = 8;               ///< groups under way at once, fewer when they are large
    bool check = true;                      ///< fill what is sent, verify what is received
    bool flush = false;                     ///< iflush() after each receive
};

class Traffic {
  public:
    /// Registers the memory. Refers to `channel`.
    [[nodiscard]] static verbs_util::Result<Traffic> prepare(const Channel& channel,
                                                             TrafficOptions options);

    /// Something was posted or completed.
    [[nodiscard]] verbs_util::Result<bool> step();
    [[nodiscard]] bool done() const;
    /// step() until done(); an error when nothing moves for a while.
    [[nodiscard]] verbs_util::Result<void> run();
    /// step() may have one more receive under way than the partner can ever fill. A receive tells
    /// its sender by a WRITE, which is how a side that only waits meets the loss of its partner.
    void allow_another_receive() { extra_ = std::min(extra_ + 1, kMostExtraReceives); }

    [[nodiscard]] std::uint64_t groups_completed() const { return sent_ + received_; }

    [[nodiscard]] std::uint64_t messages() const { return messages_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t flushes() const { return flushes_; }
    [[nodiscard]] std::string progress() const;

    [[nodiscard]] verbs_util::Result<void> release();

  private:
    static constexpr std::uint64_t kMostExtraReceives = 200;  // NCCL has 256 for a connection

    struct Part {
        std::uint64_t offset = 0;  ///< in its slot
        std::uint64_t size = 0;
        int tag = 0;
        std::uint64_t seed = 0;
    };
    struct Group {
        std::uint64_t index = 0;
        std::vector<Part> parts;
        std::vector<void*> requests;  ///< one for each part of a send, one for a whole receive
        std::byte* slot = nullptr;
    };
    /// Memory for as many groups as may be under way, and for the receives beyond them.
    struct Arena {
        std::vector<std::byte> bytes;
        void* memory = nullptr;
    };

    Traffic(const Channel& channel, TrafficOptions options)
        : channel_(&channel), options_(std::move(options)) {}

    [[nodiscard]] Group make_group(std::uint64_t sender, std::uint64_t index, Arena& arena) const;
    [[nodiscard]] verbs_util::Result<bool> post_receives();
    [[nodiscard]] verbs_util::Result<bool> post_sends();
    [[nodiscard]] verbs_util::Result<bool> complete_receive();
    [[nodiscard]] verbs_util::Result<bool> complete_send();
    [[nodiscard]] verbs_util::Result<void> flush(const Group& group, std::span<const int> sizes);
    [[nodiscard]] verbs_util::Result<void> verify(const Group& group, std::span<const int> sizes);
    [[nodiscard]] std::vector<Receive> receives_of(const Group& group) const;

    const Channel* channel_;
    TrafficOptions options_;
    std::uint64_t slot_bytes_ = 0;
    Arena send_arena_, receive_arena_;
    std::deque<Group> sending_, receiving_;
    std::uint64_t sent_ = 0, received_ = 0;                 ///< groups completed
    std::uint64_t sends_posted_ = 0, receives_posted_ = 0;  ///< groups
    std::uint64_t extra_ = 0;
    std::uint64_t messages_ = 0, bytes_ = 0, flushes_ = 0;
};

}  // namespace vrdma::nccl_net
