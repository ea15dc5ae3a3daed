#include "tests/e2e/wire_verify/plan.h"

#include <algorithm>
#include <cstring>

// The plan of a round is a function of the seed and the round's number, so that two programs on two
// hosts agree on it without a word. Sizes are spread evenly over their logarithms: small messages,
// messages around the path MTU and long ones are equally frequent. Offsets are odd as often as not;
// only atomics are aligned, as they must be.
//
// The memory before a round differs from that of any other round, side and place, so that data from
// elsewhere or from before is never right by accident.

namespace vrdma::wire_verify {

namespace {

constexpr std::uint32_t kAtomicBytes = 8;
constexpr std::uint32_t kMaxGap = 100;

/// SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111eb;
    return value ^ (value >> 31U);
}

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return mix(state_++); }
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(next() % bound); }

  private:
    std::uint64_t state_;
};

std::uint64_t round_seed(const PlanOptions& options, std::uint64_t round) {
    return mix(mix(options.seed) ^ round);
}

std::uint64_t word(std::uint64_t seed, std::uint32_t side, std::size_t index) {
    return mix(seed ^ (static_cast<std::uint64_t>(side + 1) << 56U) ^ index);
}

ibv_wr_opcode choose_opcode(Random& random, ibv_qp_type type) {
    static constexpr ibv_wr_opcode kOpcodes[] = {IBV_WR_SEND,
                                                 IBV_WR_SEND_WITH_IMM,
                                                 IBV_WR_RDMA_WRITE,
                                                 IBV_WR_RDMA_READ,
                                                 IBV_WR_RDMA_WRITE_WITH_IMM,
                                                 IBV_WR_ATOMIC_FETCH_AND_ADD,
                                                 IBV_WR_ATOMIC_CMP_AND_SWP};
    static constexpr ibv_wr_opcode kUnreliable[] = {IBV_WR_SEND, IBV_WR_SEND_WITH_IMM,
                                                    IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM};
    if (type == IBV_QPT_RC) {
        return kOpcodes[random.below(std::size(kOpcodes))];
    }
    return kUnreliable[random.below(type == IBV_QPT_UC ? 4 : 2)];
}

std::uint32_t choose_size(Random& random, std::uint32_t most) {
    std::uint32_t bits = 0;
    while (bits < 31 && (most >> (bits + 1)) != 0) {
        ++bits;
    }
    const std::uint32_t ceiling = 1U << random.below(bits + 1);
    return std::min(ceiling + random.below(ceiling), most);
}

}  // namespace

bool is_atomic(ibv_wr_opcode opcode) {
    return opcode == IBV_WR_ATOMIC_FETCH_AND_ADD || opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
}

bool takes_receive(ibv_wr_opcode opcode) {
    return opcode == IBV_WR_SEND || has_immediate(opcode);
}

bool has_immediate(ibv_wr_opcode opcode) {
    return opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

std::vector<Operation> plan_round(const PlanOptions& options, std::uint64_t round) {
    const std::uint64_t seed = round_seed(options, round);
    Random random(seed);
    std::vector<Operation> operations;
    std::uint32_t end = 0;
    while (operations.size() < kMaxOperations) {
        Operation operation;
        operation.opcode = choose_opcode(random, options.type);
        operation.initiator = random.below(2);
        if ((options.initiators >> operation.initiator & 1U) == 0) {
            operation.initiator = 1 - operation.initiator;
        }
        operation.queue_pair = random.below(options.queue_pairs);
        operation.immediate = static_cast<std::uint32_t>(random.next());
        operation.size =
            is_atomic(operation.opcode) ? kAtomicBytes : choose_size(random, options.max_size);
        operation.offset = end + random.below(kMaxGap);
        if (is_atomic(operation.opcode)) {
            operation.offset = (operation.offset + kAtomicBytes - 1) / kAtomicBytes * kAtomicBytes;
            const std::uint64_t there =
                word(seed, 1 - operation.initiator, operation.offset / kAtomicBytes);
            // Half of the comparisons find what they ask for.
            operation.add_or_compare = random.below(2) == 0 ? random.next() : there;
            operation.swap = random.next();
        }
        if (operation.offset + operation.size > kRegionBytes) {
            break;
        }
        end = operation.offset + operation.size;
        operations.push_back(operation);
    }
    return operations;
}

void fill(std::span<std::byte> region, const PlanOptions& options, std::uint64_t round,
          std::uint32_t side) {
    const std::uint64_t seed = round_seed(options, round);
    for (std::size_t index = 0; index < region.size() / sizeof(std::uint64_t); ++index) {
        const std::uint64_t value = word(seed, side, index);
        std::memcpy(region.data() + index * sizeof(value), &value, sizeof(value));
    }
}

void apply(const std::vector<Operation>& operations,
           const std::array<std::span<std::byte>, 2>& regions) {
    for (const Operation& operation : operations) {
        std::byte* const near = regions[operation.initiator].data() + operation.offset;
        std::byte* const far = regions[1 - operation.initiator].data() + operation.offset;
        if (is_atomic(operation.opcode)) {
            std::uint64_t value = 0;
            std::memcpy(&value, far, sizeof(value));
            std::memcpy(near, &value, sizeof(value));
            if (operation.opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
                value += operation.add_or_compare;
            } else if (value == operation.add_or_compare) {
                value = operation.swap;
            }
            std::memcpy(far, &value, sizeof(value));
        } else if (operation.opcode == IBV_WR_RDMA_READ) {
            std::memcpy(near, far, operation.size);
        } else {
            std::memcpy(far, near, operation.size);
        }
    }
}

}  // namespace vrdma::wire_verify
