#include "tests/e2e/verify/round_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/e2e/verify/random.h"

// Decides a round: who does what on which queue pair, with which memory. Every range of an arena is
// used once in a round, taken from a cursor with gaps of random size, so anything that writes
// beside its target hits a gap or a range with known contents. Exceptions test ordering and are
// known by name: a READ of what an earlier WRITE on the same QP wrote, a WRITE over such a range,
// and a send of what an earlier READ returned. The last two are fenced where a READ is involved,
// because READ data may arrive late (IBA 10.8.3.3).
//
// What unreliable transports need: a UC queue ends each side's part of a round with an operation
// that consumes a receive, because nothing else tells the target that earlier WRITEs have arrived.

namespace vrdma::verify {

namespace {

constexpr std::uint32_t kPage = 4096;
/// Room that gaps and alignment of one operation may need beyond its data.
constexpr std::uint32_t kSlack = 3 * (kMaxSegments + 1) * kPage;

std::uint32_t round_up(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

/// What earlier operations of one side on one QP offer to later ones.
struct History {
    std::uint32_t last_operation = kNone;
    std::uint32_t last_write = kNone;  ///< whose range nobody has overwritten
    std::uint32_t last_read = kNone;
    bool read_after_write = false;
};

class RoundBuilder {
  public:
    RoundBuilder(const EpochPlan& epoch, const Limits& limits, std::uint64_t seed, RoundPlan& plan)
        : epoch_(epoch), limits_(limits), random_(seed), plan_(plan) {
        plan_.operations.clear();
        plan_.receives.clear();
        plan_.pieces.clear();
        history_.resize(2 * epoch.queues.size());
        for (std::size_t side = 0; side < 2; ++side) {
            cursor_[side] = random_.between(kFirstWindow, kArenaBytes - kMaxWindow - kPage);
            plan_.windows[side].begin = cursor_[side];
        }
    }

    void build(std::uint32_t most) {
        const std::uint32_t wanted = random_.chance(1, 4)
                                         ? random_.log_uniform(1, kMaxRoundOperations)
                                         : random_.between(32, kMaxRoundOperations);
        const std::uint32_t count = std::min(wanted, most);
        bool room = true;
        while (room && plan_.operations.size() < count) {
            room = add_run(count - static_cast<std::uint32_t>(plan_.operations.size()));
        }
        end_queues();
        add_shared_receives();
        plan_.late_receives = random_.chance(1, 16) && only_reliable_receives();
        for (std::size_t side = 0; side < 2; ++side) {
            plan_.windows[side].end = cursor_[side];
        }
    }

  private:
    /// Operations of one side on one QP that are posted as one list. False when the window is full.
    bool add_run(std::uint32_t most) {
        const auto side = static_cast<std::uint8_t>(random_.below(2));
        const std::uint32_t queue = random_.below(static_cast<std::uint32_t>(epoch_.queues.size()));
        const std::uint32_t length = std::min(random_.log_uniform(1, 16), most);
        for (std::uint32_t i = 0; i < length; ++i) {
            if (!add_operation(side, queue)) {
                return false;
            }
            plan_.operations.back().chained = i + 1 < length;
        }
        return true;
    }

    bool add_operation(std::uint8_t side, std::uint32_t queue) {
        Operation operation;
        operation.initiator = side;
        operation.queue = queue;
        operation.opcode = choose_opcode(epoch_.queues[queue].type);
        operation.content = random_.next();
        operation.immediate = static_cast<std::uint32_t>(random_.next());
        operation.size = is_atomic(operation.opcode) ? 8 : choose_size(operation);
        if (!has_room(operation.size) && !plan_.operations.empty()) {
            return false;
        }
        const SidePlan& local = epoch_.sides[side];
        const SidePlan& remote = epoch_.sides[1U - side];
        operation.local_region = static_cast<std::uint8_t>(random_.below(local.regions));
        operation.remote_region = static_cast<std::uint8_t>(random_.below(remote.regions));
        const QueueSide& queue_side = epoch_.queues[queue].sides[side];
        operation.signaled = queue_side.signal_all || random_.chance(1, 2);
        operation.fence = epoch_.queues[queue].type == IBV_QPT_RC && random_.chance(1, 16);
        if (is_atomic(operation.opcode)) {
            place_atomic(operation);
        } else {
            place_data(operation, queue_side);
        }
        remember(operation);
        plan_.operations.push_back(operation);
        if (consumes_receive(operation.opcode)) {
            add_receive(plan_.operations.back());
        }
        return true;
    }

    [[nodiscard]] Opcode choose_opcode(ibv_qp_type type) {
        constexpr std::array kReliable = {
            Opcode::kSend,     Opcode::kSend,     Opcode::kSend,        Opcode::kSend,
            Opcode::kWrite,    Opcode::kWrite,    Opcode::kWrite,       Opcode::kWrite,
            Opcode::kWrite,    Opcode::kRead,     Opcode::kRead,        Opcode::kRead,
            Opcode::kRead,     Opcode::kRead,     Opcode::kSendImm,     Opcode::kSendImm,
            Opcode::kWriteImm, Opcode::kWriteImm, Opcode::kCompareSwap, Opcode::kFetchAdd};
        constexpr std::array kUnreliable = {Opcode::kSend, Opcode::kSendImm, Opcode::kWrite,
                                            Opcode::kWrite, Opcode::kWriteImm};
        if (type == IBV_QPT_UD) {
            return random_.chance(1, 3) ? Opcode::kSendImm : Opcode::kSend;
        }
        if (type == IBV_QPT_UC) {
            return kUnreliable[random_.below(kUnreliable.size())];
        }
        const Opcode opcode = kReliable[random_.below(kReliable.size())];
        return is_atomic(opcode) && !limits_.atomics ? Opcode::kRead : opcode;
    }

    /// Heavy on small messages, so that a run is made of many operations.
    [[nodiscard]] std::uint32_t choose_size(const Operation& operation) {
        const std::uint32_t kind = random_.below(1000);
        std::uint32_t size = 0;
        if (kind >= 990) {
            size = random_.log_uniform((64U << 10) + 1, kMaxMessage);
        } else if (kind >= 830) {
            size = random_.log_uniform(4097, 64U << 10);
        } else if (kind >= 30) {
            size = random_.log_uniform(1, 4096);
        }
        return std::min(size, size_limit(operation));
    }

    [[nodiscard]] std::uint32_t size_limit(const Operation& operation) const {
        const QueuePlan& queue = epoch_.queues[operation.queue];
        std::uint32_t limit = limits_.max_size;
        if (queue.type == IBV_QPT_UD) {
            limit = std::min(limit, limits_.mtu_bytes);
        }
        if (is_send(operation.opcode) && queue.sides[1U - operation.initiator].shared_receive) {
            limit = std::min(limit, kMaxSharedReceive);
        }
        return limit;
    }

    [[nodiscard]] bool has_room(std::uint32_t size) const {
        for (std::size_t side = 0; side < 2; ++side) {
            const std::uint32_t used = cursor_[side] - plan_.windows[side].begin;
            if (used + size + kSlack > kMaxWindow - kSharedReceiveBytes) {
                return false;
            }
        }
        return true;
    }

    std::uint32_t take(std::size_t side, std::uint32_t length, std::uint32_t alignment,
                       bool small_gap = false) {
        std::uint32_t& cursor = cursor_[side];
        const std::uint32_t kind = small_gap ? 2 + random_.below(14) : random_.below(16);
        if (kind == 0) {
            cursor = round_up(cursor, kPage);  // begins on a page
        } else if (kind == 1) {
            cursor = round_up(cursor + length, kPage) - length;  // ends on a page
        } else if (kind < 6) {
            cursor += random_.below(64);
        } else if (kind < 15) {
            cursor += random_.below(8);
        }
        cursor = round_up(cursor, alignment);
        const std::uint32_t offset = cursor;
        cursor += length;
        return offset;
    }

    /// Splits `size` bytes into at most `most` pieces of at least one byte.
    PieceRange take_pieces(std::size_t side, std::uint32_t size, std::uint32_t most,
                           bool small_gap = false) {
        PieceRange range;
        range.first = static_cast<std::uint32_t>(plan_.pieces.size());
        range.count = size == 0 ? 0 : std::min(random_.log_uniform(1, most), size);
        plan_.pieces.resize(range.first + range.count);
        std::uint32_t left = size;
        for (std::uint32_t i = 0; i < range.count; ++i) {
            const std::uint32_t still = range.count - 1 - i;
            Piece& piece = plan_.pieces[range.first + i];
            piece.length = still == 0 ? left : random_.between(1, left - still);
            left -= piece.length;
        }
        const bool backwards = random_.chance(1, 2);
        const std::uint32_t alignment = random_.chance(1, 4) ? 8 : 1;
        for (std::uint32_t i = 0; i < range.count; ++i) {
            const std::uint32_t index = backwards ? range.count - 1 - i : i;
            Piece& piece = plan_.pieces[range.first + index];
            piece.offset = take(side, piece.length, alignment, small_gap);
        }
        return range;
    }

    void place_atomic(Operation& operation) {
        const std::size_t side = operation.initiator;
        operation.local = take_pieces(side, 8, 1);
        operation.before = random_.next();
        operation.operand = random_.next();
        if (operation.opcode == Opcode::kCompareSwap) {
            const bool equal = random_.chance(1, 2);
            operation.compare = equal ? operation.before : random_.next();
            operation.after = equal ? operation.operand : operation.before;
        } else {
            operation.after = operation.before + operation.operand;
            operation.on_counter = random_.chance(1, 3);
        }
        if (operation.on_counter) {
            operation.operand = random_.between(1, 1U << 20);
            operation.remote_offset = kCounterOffset;
        } else {
            operation.remote_offset = take(1 - side, 8, 8);
        }
    }

    [[nodiscard]] History& history(const Operation& operation) {
        return history_[2 * operation.queue + operation.initiator];
    }

    void place_data(Operation& operation, const QueueSide& queue_side) {
        const std::size_t side = operation.initiator;
        const bool reliable = epoch_.queues[operation.queue].type == IBV_QPT_RC;
        if (reliable && send_what_was_read(operation)) {
            operation.fence = true;
        } else if (!(reliable && read_what_was_written(operation))) {
            place_remote(operation, reliable);
        }
        if (operation.sends_from == kNone) {
            operation.local = take_pieces(side, operation.size, queue_side.send_segments);
            operation.inline_data = operation.opcode != Opcode::kRead &&
                                    queue_side.max_inline != 0 &&
                                    operation.size <= queue_side.max_inline && random_.chance(1, 2);
        } else if (is_write(operation.opcode)) {
            operation.remote_offset = take(1 - side, operation.size, 1);
        }
    }

    bool read_what_was_written(Operation& operation) {
        const History& earlier = history(operation);
        if (operation.opcode != Opcode::kRead || earlier.last_write == kNone ||
            !random_.chance(1, 4) || !has_room(plan_.operations[earlier.last_write].size)) {
            return false;
        }
        const Operation& write = plan_.operations[earlier.last_write];
        operation.reads_from = earlier.last_write;
        operation.size = write.size;
        operation.content = write.content;
        operation.remote_offset = write.remote_offset;
        return true;
    }

    bool send_what_was_read(Operation& operation) {
        const History& earlier = history(operation);
        if (operation.opcode == Opcode::kRead || earlier.last_read == kNone ||
            !random_.chance(1, 8)) {
            return false;
        }
        const Operation& read = plan_.operations[earlier.last_read];
        if (read.size > size_limit(operation) || !has_room(read.size)) {
            return false;
        }
        operation.sends_from = earlier.last_read;
        operation.size = read.size;
        operation.content = read.content;
        operation.local = read.local;
        operation.local_region = read.local_region;
        return true;
    }

    void place_remote(Operation& operation, bool reliable) {
        if (is_send(operation.opcode)) {
            return;
        }
        const History& earlier = history(operation);
        if (is_write(operation.opcode) && reliable && earlier.last_write != kNone &&
            random_.chance(1, 12) && has_room(plan_.operations[earlier.last_write].size)) {
            Operation& write = plan_.operations[earlier.last_write];
            write.overwritten = true;
            operation.size = write.size;
            operation.remote_offset = write.remote_offset;
            operation.fence = operation.fence || earlier.read_after_write;
            return;
        }
        operation.remote_offset = take(1U - operation.initiator, operation.size, 1);
    }

    void remember(const Operation& operation) {
        History& now = history(operation);
        const auto index = static_cast<std::uint32_t>(plan_.operations.size());
        now.last_operation = index;
        if (is_write(operation.opcode)) {
            now.last_write = index;
            now.read_after_write = false;
        } else if (operation.opcode == Opcode::kRead) {
            now.last_read = index;
            now.read_after_write = true;
        }
    }

    /// For an operation that is already the last in the plan.
    void add_receive(Operation& operation) {
        const QueuePlan& queue = epoch_.queues[operation.queue];
        const std::uint8_t side = operation.initiator ^ 1U;
        const QueueSide& target = queue.sides[side];
        if (target.shared_receive) {
            return;
        }
        Receive receive;
        receive.side = side;
        receive.queue = operation.queue;
        receive.region = static_cast<std::uint8_t>(random_.below(epoch_.sides[side].regions));
        receive.operation = static_cast<std::uint32_t>(&operation - plan_.operations.data());
        const std::uint32_t spare = random_.chance(1, 2) ? 0 : random_.below(100);
        const std::uint32_t grh = queue.type == IBV_QPT_UD ? kGrhBytes : 0;
        const std::uint32_t bytes =
            is_send(operation.opcode) ? grh + operation.size + spare : spare;
        receive.pieces = take_pieces(side, bytes, target.recv_segments);
        operation.receive = static_cast<std::uint32_t>(plan_.receives.size());
        plan_.receives.push_back(receive);
    }

    /// The last operation of each side on each QP is signaled, and tells the target over UC.
    void end_queues() {
        for (const History& past : history_) {
            if (past.last_operation == kNone) {
                continue;
            }
            Operation& last = plan_.operations[past.last_operation];
            last.signaled = true;
            if (epoch_.queues[last.queue].type == IBV_QPT_UC && last.opcode == Opcode::kWrite) {
                last.opcode = Opcode::kWriteImm;
                add_receive(last);
            }
        }
        if (!plan_.operations.empty()) {
            plan_.operations.back().chained = false;
        }
    }

    /// As many buffers as messages, each large enough for any of them: which takes which is open.
    void add_shared_receives() {
        for (std::uint8_t side = 0; side < 2; ++side) {
            std::uint32_t count = 0;
            std::uint32_t largest = 0;
            for (const Operation& operation : plan_.operations) {
                if (operation.initiator != side && consumes_receive(operation.opcode) &&
                    epoch_.queues[operation.queue].sides[side].shared_receive) {
                    ++count;
                    largest =
                        is_send(operation.opcode) ? std::max(largest, operation.size) : largest;
                }
            }
            for (std::uint32_t i = 0; i < count; ++i) {
                Receive receive;
                receive.side = side;
                receive.shared = true;
                receive.region =
                    static_cast<std::uint8_t>(random_.below(epoch_.sides[side].regions));
                receive.pieces = take_pieces(side, kGrhBytes + largest + random_.below(100),
                                             epoch_.sides[side].shared_segments, true);
                plan_.receives.push_back(receive);
            }
        }
    }

    [[nodiscard]] bool only_reliable_receives() const {
        return std::all_of(plan_.operations.begin(), plan_.operations.end(),
                           [this](const Operation& operation) {
                               return !consumes_receive(operation.opcode) ||
                                      epoch_.queues[operation.queue].type == IBV_QPT_RC;
                           });
    }

    const EpochPlan& epoch_;
    const Limits& limits_;
    Random random_;
    RoundPlan& plan_;
    std::vector<History> history_;
    std::array<std::uint32_t, 2> cursor_{};
};

}  // namespace

void plan_round(const EpochPlan& epoch, const Limits& limits, std::uint64_t seed,
                std::uint32_t most, RoundPlan& plan) {
    RoundBuilder(epoch, limits, seed, plan).build(most);
}

std::string describe(const Operation& operation) {
    std::string text =
        fmt::format("{} of {} bytes in {} segments on QP {} posted by side {}",
                    opcode_name(operation.opcode), operation.size, operation.local.count,
                    operation.queue, operation.initiator == 0 ? "A" : "B");
    text += operation.signaled ? "" : ", unsignaled";
    text += operation.inline_data ? ", inline" : "";
    text += operation.fence ? ", fenced" : "";
    text += operation.on_counter ? ", on the counter" : "";
    if (operation.reads_from != kNone) {
        text += fmt::format(", reading what operation {} wrote", operation.reads_from);
    }
    if (operation.sends_from != kNone) {
        text += fmt::format(", sending what operation {} read", operation.sends_from);
    }
    return text;
}

}  // namespace vrdma::verify
