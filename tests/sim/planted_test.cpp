// One faulty end for each check: whatever the check claims to find, it is made to find once.
#include <gtest/gtest.h>

#include <optional>

#include "tests/sim/world.h"

namespace vrdma::sim {
namespace {

using transport::Completion;
using transport::CompletionStatus;
using transport::Inbound;
using transport::Message;
using transport::PacketPlan;

constexpr uint32_t kTrigger = 20;  // the fault shows itself at the n-th occasion

Scenario busy_scenario() {
    Scenario s;
    s.seed = 7;
    s.faults_end = Instant{500'000};
    s.patience = Duration::milliseconds(500);
    for (LinkConfig& link : s.link) {
        link.loss = 0.02;
        link.duplicate = 0.1;
        link.reorder = 0.1;
        link.reorder_frames = 8;
    }
    ConnectionConfig c;
    c.path_mtu = 256;
    c.max_rd_atomic = 2;
    c.messages = {300, 300};
    c.timeout = 0;
    c.mix[0].fence = c.mix[1].fence = 0.2;
    c.mix[0].max_length = c.mix[1].max_length = 1500;
    s.connections.push_back(c);
    return s;
}

template <class Faulty>
std::unique_ptr<End> make_faulty(wire::Service, size_t) {
    return std::make_unique<Faulty>();
}

template <class Faulty>
std::string found() {
    const Report report = World(busy_scenario(), make_faulty<Faulty>).run();
    return report.violation ? std::string(check_name(report.violation->check)) : "nothing";
}

TEST(PlantedTest, sound_end_shows_nothing) {
    EXPECT_EQ(found<RcEnd>(), "nothing");
}

// Executes a duplicate again.
class RepeatingEnd : public RcEnd {
  public:
    Inbound receive_request(const wire::Packet& packet, Instant now) override {
        Inbound in = RcEnd::receive_request(packet, now);
        if (in.action == Inbound::Action::Execute && packet.bth.opcode == kOpcode) {
            psn_ = packet.bth.psn;
            before_ = in;
        } else if (in.action == Inbound::Action::Drop && before_ && packet.bth.psn == psn_) {
            in = *before_;
            ours_ = true;
        }
        return in;
    }
    void executed(const transport::ExecuteResult& result) override {
        if (!ours_) {
            RcEnd::executed(result);
        }
        ours_ = false;
    }

  private:
    static constexpr wire::Opcode kOpcode = wire::Opcode::RcWriteOnly;
    uint32_t psn_ = 0;
    std::optional<Inbound> before_;
    bool ours_ = false;
};
TEST(PlantedTest, duplicate_executed_again_is_found) {
    EXPECT_EQ(found<RepeatingEnd>(), "exactly once");
}

// Says that a packet is executed, and forgets it.
class ForgetfulEnd : public RcEnd {
  public:
    Inbound receive_request(const wire::Packet& packet, Instant now) override {
        Inbound in = RcEnd::receive_request(packet, now);
        if (in.action == Inbound::Action::Execute && !in.first && ++seen_ == kTrigger) {
            executed({});
            in.action = Inbound::Action::Nothing;
        }
        return in;
    }

  private:
    uint32_t seen_ = 0;
};
TEST(PlantedTest, packet_left_out_is_found) {
    EXPECT_EQ(found<ForgetfulEnd>(), "in order");
}

// Sends the wrong part of a message.
class MisplacingEnd : public RcEnd {
  public:
    std::optional<PacketPlan> poll_request(Instant now) override {
        auto plan = RcEnd::poll_request(now);
        if (plan && plan->offset > 0 && ++seen_ == kTrigger) {
            plan->offset -= 1;
        }
        return plan;
    }

  private:
    uint32_t seen_ = 0;
};
TEST(PlantedTest, wrong_part_of_message_is_found) {
    EXPECT_EQ(found<MisplacingEnd>(), "right bytes");
}

// Places the data of a READ at the wrong place of the message.
class MisreadingEnd : public RcEnd {
  public:
    transport::Answer receive_answer(const wire::Packet& packet, Instant now) override {
        transport::Answer answer = RcEnd::receive_answer(packet, now);
        if (answer.action == transport::Answer::Action::Place && answer.offset > 0 &&
            ++seen_ == kTrigger) {
            answer.offset = 0;
        }
        return answer;
    }

  private:
    uint32_t seen_ = 0;
};
TEST(PlantedTest, read_data_placed_again_is_found) {
    EXPECT_EQ(found<MisreadingEnd>(), "exactly once");
}

class WrongAtomicEnd : public RcEnd {
  public:
    transport::Answer receive_answer(const wire::Packet& packet, Instant now) override {
        transport::Answer answer = RcEnd::receive_answer(packet, now);
        answer.original += answer.action == transport::Answer::Action::Original ? 1 : 0;
        return answer;
    }
};
TEST(PlantedTest, wrong_atomic_result_is_found) {
    EXPECT_EQ(found<WrongAtomicEnd>(), "right bytes");
}

class WrongStatusEnd : public RcEnd {
  public:
    std::optional<Completion> poll_completion() override {
        auto completion = RcEnd::poll_completion();
        if (completion && ++seen_ == kTrigger) {
            completion->status = CompletionStatus::RemoteAccess;
        }
        return completion;
    }

  private:
    uint32_t seen_ = 0;
};
TEST(PlantedTest, wrong_status_is_found) {
    EXPECT_EQ(found<WrongStatusEnd>(), "right status");
}

// Reports the younger of two first.
class SwappingEnd : public RcEnd {
  public:
    std::optional<Completion> poll_completion() override {
        if (const auto kept = std::exchange(kept_, std::nullopt)) {
            return kept;
        }
        auto completion = RcEnd::poll_completion();
        if (completion && ++seen_ > kTrigger) {
            if (const auto next = RcEnd::poll_completion()) {
                kept_ = completion;
                return next;
            }
        }
        return completion;
    }

  private:
    uint32_t seen_ = 0;
    std::optional<Completion> kept_;
};
TEST(PlantedTest, completions_out_of_order_are_found) {
    EXPECT_EQ(found<SwappingEnd>(), "completion order");
}

// Reports success when a message is posted.
class HastyEnd : public RcEnd {
  public:
    void post(const Message& message) override {
        RcEnd::post(message);
        if (!posted_) {
            posted_ = message.id;
        }
    }
    std::optional<Completion> poll_completion() override {
        if (posted_ && !told_) {
            told_ = true;
            return Completion{*posted_, CompletionStatus::Success};
        }
        return RcEnd::poll_completion();
    }

  private:
    std::optional<uint32_t> posted_;
    bool told_ = false;
};
TEST(PlantedTest, completion_before_its_data_is_found) {
    EXPECT_EQ(found<HastyEnd>(), "data before completion");
}

class WrongImmediateEnd : public RcEnd {
  public:
    Inbound receive_request(const wire::Packet& packet, Instant now) override {
        Inbound in = RcEnd::receive_request(packet, now);
        in.imm ^= 1;
        return in;
    }
};
TEST(PlantedTest, wrong_immediate_is_found) {
    EXPECT_EQ(found<WrongImmediateEnd>(), "right receive completion");
}

class WrongWindowEnd : public RcEnd {
  public:
    Inbound receive_request(const wire::Packet& packet, Instant now) override {
        Inbound in = RcEnd::receive_request(packet, now);
        // Another window that exists: the next one.
        in.rkey += in.operation == transport::Operation::SendInvalidate ? 8 : 0;
        return in;
    }
};
TEST(PlantedTest, wrong_window_ended_is_found) {
    EXPECT_EQ(found<WrongWindowEnd>(), "in order");
}

// Executes the end of a SEND with invalidate again when its packet comes again.
class EndingTwiceEnd : public RcEnd {
  public:
    Inbound receive_request(const wire::Packet& packet, Instant now) override {
        Inbound in = RcEnd::receive_request(packet, now);
        if (in.action == Inbound::Action::Execute &&
            packet.bth.opcode == wire::Opcode::RcSendOnlyInvalidate) {
            before_ = in;
            psn_ = packet.bth.psn;
        } else if (in.action == Inbound::Action::Drop && before_ && packet.bth.psn == psn_) {
            ours_ = true;
            return *before_;
        }
        return in;
    }
    void executed(const transport::ExecuteResult& result) override {
        if (!std::exchange(ours_, false)) {
            RcEnd::executed(result);
        }
    }

  private:
    std::optional<Inbound> before_;
    uint32_t psn_ = 0;
    bool ours_ = false;
};
TEST(PlantedTest, window_ended_twice_is_found) {
    EXPECT_EQ(found<EndingTwiceEnd>(), "exactly once");
}

class FencelessEnd : public RcEnd {
  public:
    void post(const Message& message) override {
        Message changed = message;
        changed.fence = false;
        RcEnd::post(changed);
    }
};
TEST(PlantedTest, ignored_fence_is_found) {
    EXPECT_EQ(found<FencelessEnd>(), "fence");
}

class GreedyEnd : public RcEnd {
  public:
    void reset(const EndConfig& config, Instant now) override {
        EndConfig changed = config;
        changed.max_rd_atomic = transport::kMaxRdAtomic;
        RcEnd::reset(changed, now);
    }
};
TEST(PlantedTest, too_many_reads_are_found) {
    EXPECT_EQ(found<GreedyEnd>(), "max_rd_atomic");
}

// Its timer does not run any more, and its answers do not leave.
class DeadEnd : public RcEnd {
  public:
    std::optional<PacketPlan> poll_answer(Instant now) override {
        return ++seen_ > kTrigger ? std::nullopt : RcEnd::poll_answer(now);
    }
    [[nodiscard]] Instant next_deadline() const override {
        return seen_ > kTrigger ? Instant::never() : RcEnd::next_deadline();
    }

  private:
    uint32_t seen_ = 0;
};
TEST(PlantedTest, standstill_is_found) {
    EXPECT_EQ(found<DeadEnd>(), "liveness");
}

// Works for ever and gets nowhere.
class BusyEnd : public RcEnd {
  public:
    std::optional<PacketPlan> poll_answer(Instant) override { return std::nullopt; }
};
TEST(PlantedTest, work_without_progress_is_found) {
    EXPECT_EQ(found<BusyEnd>(), "liveness");
}

class LeakingEnd : public RcEnd {
  public:
    void hold_request(transport::Sequence, transport::HeldPacket) override {}
};
TEST(PlantedTest, held_packet_never_given_back_is_found) {
    EXPECT_EQ(found<LeakingEnd>(), "held frames");
}

class GivingTwiceEnd : public RcEnd {
  public:
    std::optional<transport::HeldPacket> discard_held() override {
        if (last_) {
            return std::exchange(last_, std::nullopt);
        }
        return RcEnd::discard_held();
    }
    void hold_request(transport::Sequence sequence, transport::HeldPacket packet) override {
        last_ = packet;
        RcEnd::hold_request(sequence, packet);
    }

  private:
    std::optional<transport::HeldPacket> last_;
};
TEST(PlantedTest, held_packet_given_back_twice_is_found) {
    EXPECT_EQ(found<GivingTwiceEnd>(), "held frames");
}

}  // namespace
}  // namespace vrdma::sim
