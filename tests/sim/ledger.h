// What one direction of a queue pair owes: every message that was posted, how far it has been
// executed at the other side, and what its completion must be. The checkers are here; they see what
// both hosts do and share nothing with the code under test.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>

#include "dataplane/transport/inbound.h"
#include "dataplane/transport/message.h"
#include "dataplane/wire/opcode.h"
#include "tests/sim/judge.h"

namespace vrdma::sim {

// How a message must end.
enum class Fate : uint8_t {
    Success,
    WrongKey,         // the remote key does not exist
    WrongRange,       // the range leaves the remote region
    TooLong,          // longer than the receive entry
    MemoryGone,       // the responder finds its memory gone when it executes
    ResponseGone,     // ... when it sends the READ response
    LocalSourceGone,  // the requester finds its memory gone when it sends
    LocalTargetGone,  // ... when the response arrives
};

[[nodiscard]] transport::CompletionStatus status_of(Fate fate);

struct Posted {
    transport::Message message;
    Fate fate = Fate::Success;
    const std::byte* data = nullptr;  // what it carries; a READ: what it must bring
    uint64_t ring_begin = 0;          // a READ of what the message before wrote begins there
    uint64_t ring_end = 0;
    uint32_t offset = 0;  // in the ring: of a WRITE's target, of a READ's landing
    uint64_t expected_original = 0;

    uint32_t executed = 0;  // bytes
    uint32_t placed = 0;    // bytes, at the requester
    bool sent = false;
    bool begun = false;
    bool done = false;      // executed to its end
    bool answered = false;  // READ: placed to its end; atomic: its result arrived
};

// What may happen to a message besides its fate.
struct Circumstances {
    bool flushed = false;         // the host failed the queue pair
    bool retry_exceeded = false;  // the other side may be unreachable
    bool rnr_exceeded = false;
};

class Ledger {
  public:
    Ledger(wire::Service service, uint32_t max_rd_atomic, Judge& judge, std::string name)
        : service_(service), max_rd_atomic_(max_rd_atomic), judge_(judge), name_(std::move(name)) {}

    Posted& add(Posted posted);
    // Null when it is unknown or forgotten.
    [[nodiscard]] Posted* find(uint32_t id);
    // The message that must be executed next, or null.
    [[nodiscard]] Posted* next_to_execute();

    // At the requester.
    void on_sent(uint32_t id);
    void on_placed(uint32_t id, uint32_t offset, std::span<const std::byte> payload);
    // The end of a READ's data is kept until its turn: the READ is not under way any more.
    void on_response_held(wire::Opcode opcode, bool held);
    void on_original(uint32_t id, uint64_t original);
    // Its response came, and the memory for it is gone.
    void on_lost(uint32_t id);
    // Returns the message if it succeeded.
    const Posted* on_completion(const transport::Completion& completion,
                                const Circumstances& circumstances);
    // At the responder, which did it. Returns the message, or null after an accusation.
    Posted* on_executed(const transport::Inbound& in, std::span<const std::byte> payload);
    void on_reexecuted(const transport::Inbound& in);
    // A SEND or a WRITE with immediate data came to its end in `entry`.
    void on_received(const Posted& posted, const transport::Inbound& in,
                     std::span<const std::byte> entry);
    // The queue pair is made anew; what was not completed never will be.
    void abandon();
    // The requester's host died: nothing more is reported there, but what is under way may still be
    // executed.
    void bury();

    [[nodiscard]] uint64_t posted() const { return base_ + posted_.size(); }
    [[nodiscard]] uint64_t completed() const { return completing_; }
    [[nodiscard]] uint64_t executed() const { return executing_; }
    // Everything that was reported as done was done.
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] uint64_t succeeded() const { return succeeded_; }
    [[nodiscard]] uint64_t ring_floor(uint64_t otherwise) const;
    void accuse(Check check, const std::string& text) { judge_.accuse(check, name_ + ": " + text); }

  private:
    static constexpr size_t kRememberedRc = 256;
    static constexpr size_t kRememberedUc = 16384;  // nobody says that they arrived

    [[nodiscard]] Posted& at(uint64_t serial) { return posted_[serial - base_]; }
    [[nodiscard]] bool has(uint64_t serial) const {
        return serial >= base_ && serial < base_ + posted_.size();
    }
    [[nodiscard]] static bool same_shape(const Posted& posted, const transport::Inbound& in);
    [[nodiscard]] static bool same_bytes(const Posted& posted, uint32_t offset,
                                         std::span<const std::byte> payload);
    [[nodiscard]] static uint32_t offset_of(const Posted& posted, const transport::Inbound& in);
    bool skip_to_uc(const transport::Inbound& in, std::span<const std::byte> payload);
    void accuse_execution(const transport::Inbound& in, std::span<const std::byte> payload);
    // Checks that the first packet of a message may leave.
    void check_leaving(const Posted& posted, uint64_t serial);
    void check_success(const Posted& posted);
    void forget();

    wire::Service service_;
    uint32_t max_rd_atomic_;
    Judge& judge_;
    std::string name_;
    std::deque<Posted> posted_;
    uint64_t base_ = 0;        // serial of posted_[0]; a message's id is its serial
    uint64_t executing_ = 0;   // serial of the next to be executed
    uint64_t completing_ = 0;  // ... to be completed
    uint64_t succeeded_ = 0;
    uint32_t reads_held_ = 0;
    bool failed_ = false;  // a completion had an error: the rest is flushed
};

}  // namespace vrdma::sim
