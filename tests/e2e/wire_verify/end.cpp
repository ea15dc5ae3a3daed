#include "tests/e2e/wire_verify/end.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/tsc.h"

// A side's part of a round. All requests of both sides are in flight together, on all queue pairs;
// each must complete once, with its own status, length and immediate value, before the time is up.
// The memory is compared as a whole: what lies between two messages must not have changed either.
// A datagram's first 40 bytes go to a place of their own behind the region. On UC, where messages
// may be lost, SENDs go to buffers behind the region, too, and UcRound judges what has come.

namespace vrdma::wire_verify {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

constexpr std::uint32_t kGrhBytes = 40;
constexpr std::uint64_t kPatienceNs = 60'000'000'000;  // retries of a slow peer included
constexpr std::uint64_t kQuietNs = 1'000'000'000;      // what has not come by then is lost
constexpr std::uint64_t kReceive = 1U << 16U;          // in a work request's id

std::uint64_t word_at(std::span<const std::byte> memory, std::size_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, memory.data() + offset, sizeof(value));
    return value;
}

std::string name_of(const Operation& operation, std::uint64_t round) {
    return fmt::format("round {}, opcode {}, {} bytes at {} on queue pair {} from side {}", round,
                       static_cast<int>(operation.opcode), operation.size, operation.offset,
                       operation.queue_pair, operation.initiator);
}

}  // namespace

Result<End> End::create(const verbs_util::DeviceOptions& device, const PlanOptions& options,
                        std::uint32_t side) {
    End end;
    end.options_ = options;
    end.side_ = side;
    auto opened = verbs_util::Device::open(device);
    if (!opened) {
        return tl::make_unexpected(opened.error());
    }
    end.device_ = std::move(*opened);
    const std::size_t slots =
        end.uc() ? std::size_t{options.queue_pairs} * kMaxOperations * options.max_size : 0;
    auto memory = verbs_util::Buffer::allocate(verbs_util::MemoryKind::kMmap,
                                               kRegionBytes + kMaxOperations * kGrhBytes + slots);
    auto pd = verbs_util::allocate_pd(*end.device_);
    if (!memory || !pd) {
        return tl::make_unexpected(!memory ? memory.error() : pd.error());
    }
    end.memory_ = std::move(*memory);
    end.pd_ = std::move(*pd);
    auto mr = verbs_util::register_memory(*end.device_, end.pd_.get(), end.memory_.data(),
                                          end.memory_.size());
    auto queue = verbs_util::CompletionQueue::create(*end.device_, 2 * kMaxOperations, false);
    if (!mr || !queue) {
        return tl::make_unexpected(!mr ? mr.error() : queue.error());
    }
    end.mr_ = std::move(*mr);
    end.queue_ = std::move(*queue);
    for (std::uint32_t index = 0; index < options.queue_pairs; ++index) {
        verbs_util::QueuePairOptions wanted;
        wanted.type = options.type;
        wanted.send_cq = wanted.recv_cq = end.queue_.get();
        wanted.max_send_wr = wanted.max_recv_wr = kMaxOperations;
        wanted.max_recv_sge = 2;
        wanted.signal_all = true;
        auto queue_pair = verbs_util::QueuePair::create(*end.device_, end.pd_.get(), wanted);
        if (!queue_pair) {
            return tl::make_unexpected(queue_pair.error());
        }
        end.queue_pairs_.push_back(std::move(*queue_pair));
    }
    return end;
}

std::vector<verbs_util::QueuePairAddress> End::addresses() const {
    std::vector<verbs_util::QueuePairAddress> found;
    for (const auto& queue_pair : queue_pairs_) {
        found.push_back(queue_pair.address());
    }
    return found;
}

Target End::memory() const {
    return {reinterpret_cast<std::uintptr_t>(memory_.data()), mr_->rkey};
}

Result<void> End::connect(const std::vector<verbs_util::QueuePairAddress>& remote,
                          const Target& target) {
    if (remote.size() != queue_pairs_.size()) {
        return fail(ErrorKind::kPartner, "the other side has another number of queue pairs");
    }
    target_ = target;
    for (std::size_t index = 0; index < remote.size(); ++index) {
        if (auto done = queue_pairs_[index].connect(remote[index]); !done) {
            return done;
        }
    }
    for (std::size_t number = 0; uc() && number < queue_pairs_.size() * kMaxOperations; ++number) {
        if (auto done = post_slot(number); !done) {
            return done;
        }
    }
    return {};
}

Result<void> End::prepare(std::uint64_t round) {
    round_ = round;
    operations_ = plan_round(options_, round);
    for (std::uint32_t side = 0; side < 2; ++side) {
        expected_[side].resize(kRegionBytes);
        fill(expected_[side], options_, round, side);
    }
    std::ranges::copy(expected_[side_], region().begin());
    if (uc()) {
        uc_round_ = UcRound(operations_, side_, {expected_[0], expected_[1]});
        for (std::size_t number = 0; number < queue_pairs_.size() * kMaxOperations; ++number) {
            std::ranges::fill(slot(number), kUntouched);  // nothing is on its way
        }
        return {};
    }
    apply(operations_, {expected_[0], expected_[1]});
    for (std::size_t index = 0; index < operations_.size(); ++index) {
        if (operations_[index].initiator != side_ && takes_receive(operations_[index].opcode)) {
            if (auto done = post_receive(index); !done) {
                return done;
            }
        }
    }
    return {};
}

Result<void> End::post_receive(std::size_t index) {
    const Operation& operation = operations_[index];
    const auto at = [this](std::size_t offset) {
        return reinterpret_cast<std::uintptr_t>(memory_.data()) + offset;
    };
    std::array<ibv_sge, 2> parts{};
    int count = 0;
    if (options_.type == IBV_QPT_UD) {
        parts[0] = {at(kRegionBytes + index * kGrhBytes), kGrhBytes, mr_->lkey};
        count = 1;
    }
    if (operation.opcode != IBV_WR_RDMA_WRITE_WITH_IMM) {
        parts[static_cast<std::size_t>(count++)] = {at(operation.offset), operation.size,
                                                    mr_->lkey};
    }
    ibv_recv_wr request{};
    request.wr_id = index | kReceive;
    request.sg_list = parts.data();
    request.num_sge = count;
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_recv(queue_pairs_[operation.queue_pair].get(), &request, &bad);
    return error == 0 ? Result<void>{}
                      : fail_errno(ErrorKind::kTransfer,
                                   "ibv_post_recv for " + name_of(operation, round_), error);
}

Result<void> End::post_send(std::size_t index) {
    const Operation& operation = operations_[index];
    const verbs_util::QueuePair& queue_pair = queue_pairs_[operation.queue_pair];
    ibv_sge part{reinterpret_cast<std::uintptr_t>(memory_.data()) + operation.offset,
                 operation.size, mr_->lkey};
    ibv_send_wr request{};
    request.wr_id = index;
    request.sg_list = &part;
    request.num_sge = 1;
    request.opcode = operation.opcode;
    if (has_immediate(operation.opcode)) {
        request.imm_data = htonl(operation.immediate);
    }
    const std::uint64_t there = target_.address + operation.offset;
    if (options_.type == IBV_QPT_UD) {
        request.wr.ud = {queue_pair.address_handle(), queue_pair.remote().qpn,
                         queue_pair.remote().qkey};
    } else if (is_atomic(operation.opcode)) {
        request.wr.atomic = {there, operation.add_or_compare, operation.swap, target_.rkey};
    } else {
        request.wr.rdma = {there, target_.rkey};
    }
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(queue_pair.get(), &request, &bad);
    return error == 0 ? Result<void>{}
                      : fail_errno(ErrorKind::kTransfer,
                                   "ibv_post_send of " + name_of(operation, round_), error);
}

Result<void> End::transfer() {
    std::size_t missing = 0;
    for (std::size_t index = 0; index < operations_.size(); ++index) {
        if (operations_[index].initiator == side_) {
            if (auto done = post_send(index); !done) {
                return done;
            }
            ++missing;
        } else if (takes_receive(operations_[index].opcode) && !uc()) {
            ++missing;
        }
    }
    const std::uint64_t deadline = verbs_util::monotonic_ns() + kPatienceNs;
    verbs_util::Spinner spinner;
    std::uint64_t seen = 0;  // one bit for each request, one for each receive
    while (missing > 0) {
        ibv_wc completion{};
        const int found = ibv_poll_cq(queue_.get(), 1, &completion);
        if (found < 0) {
            return fail(ErrorKind::kTransfer, "ibv_poll_cq failed");
        }
        if (found == 0) {
            if (verbs_util::monotonic_ns() > deadline) {
                return fail(ErrorKind::kTransfer,
                            fmt::format("round {}: {} completions are missing", round_, missing));
            }
            spinner.idle();
            continue;
        }
        if (uc() && (completion.wr_id & kReceive) != 0) {
            if (auto right = take_arrival(completion); !right) {
                return right;
            }
            continue;
        }
        if (auto right = check(completion); !right) {
            return right;
        }
        const std::uint64_t bit = std::uint64_t{1}
                                  << ((completion.wr_id & (kReceive - 1)) +
                                      ((completion.wr_id & kReceive) != 0 ? kMaxOperations : 0));
        if ((seen & bit) != 0) {
            return fail(
                ErrorKind::kVerification,
                fmt::format("round {}: work request {} completed twice", round_, completion.wr_id));
        }
        seen |= bit;
        --missing;
    }
    operations_done_ += operations_.size();
    return {};
}

Result<void> End::check(const ibv_wc& completion) {
    const std::size_t index = completion.wr_id & (kReceive - 1);
    if (index >= operations_.size()) {
        return fail(ErrorKind::kVerification,
                    fmt::format("round {}: a completion of an unknown request {}", round_,
                                completion.wr_id));
    }
    const Operation& operation = operations_[index];
    if (completion.status != IBV_WC_SUCCESS) {
        return fail(ErrorKind::kTransfer, name_of(operation, round_) + ": " +
                                              verbs_util::describe_completion(completion));
    }
    if ((completion.wr_id & kReceive) == 0) {
        return {};
    }
    const std::uint32_t length = operation.size + (options_.type == IBV_QPT_UD ? kGrhBytes : 0U);
    if (completion.byte_len != length) {
        return fail(ErrorKind::kVerification,
                    fmt::format("{}: the completion says {} bytes, expected {}",
                                name_of(operation, round_), completion.byte_len, length));
    }
    const bool immediate = (completion.wc_flags & IBV_WC_WITH_IMM) != 0;
    if (immediate != has_immediate(operation.opcode) ||
        (immediate && ntohl(completion.imm_data) != operation.immediate)) {
        return fail(ErrorKind::kVerification,
                    name_of(operation, round_) + ": the immediate value is wrong");
    }
    return {};
}

std::span<std::byte> End::slot(std::size_t number) const {
    std::byte* const first = memory_.data() + kRegionBytes + kMaxOperations * kGrhBytes;
    return {first + number * options_.max_size, options_.max_size};
}

Result<void> End::post_slot(std::size_t number) {
    const auto bytes = slot(number);
    std::ranges::fill(bytes, kUntouched);
    ibv_sge part{reinterpret_cast<std::uintptr_t>(bytes.data()), options_.max_size, mr_->lkey};
    ibv_recv_wr request{};
    request.wr_id = number | kReceive;
    request.sg_list = &part;
    request.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_recv(queue_pairs_[number / kMaxOperations].get(), &request, &bad);
    return error == 0 ? Result<void>{} : fail_errno(ErrorKind::kTransfer, "ibv_post_recv", error);
}

Result<void> End::take_arrival(const ibv_wc& completion) {
    const std::size_t number = completion.wr_id & (kReceive - 1);
    if (completion.status != IBV_WC_SUCCESS) {
        return fail(ErrorKind::kTransfer, fmt::format("round {}: a receive: {}", round_,
                                                      verbs_util::describe_completion(completion)));
    }
    Arrival arrival;
    arrival.queue_pair = static_cast<std::uint32_t>(number / kMaxOperations);
    arrival.write = completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM;
    arrival.bytes = completion.byte_len;
    arrival.buffer = slot(number);
    if ((completion.wc_flags & IBV_WC_WITH_IMM) != 0) {
        arrival.immediate = ntohl(completion.imm_data);
    }
    if (const auto wrong = uc_round_.take(arrival)) {
        return fail(ErrorKind::kVerification, fmt::format("round {}: {}", round_, *wrong));
    }
    return post_slot(number);
}

Result<void> End::collect() {
    std::uint64_t last = verbs_util::monotonic_ns();
    verbs_util::Spinner spinner;
    while (!uc_round_.complete() && verbs_util::monotonic_ns() - last < kQuietNs) {
        ibv_wc completion{};
        const int found = ibv_poll_cq(queue_.get(), 1, &completion);
        if (found < 0) {
            return fail(ErrorKind::kTransfer, "ibv_poll_cq failed");
        }
        if (found == 0) {
            spinner.idle();
            continue;
        }
        last = verbs_util::monotonic_ns();
        if (auto right = take_arrival(completion); !right) {
            return right;
        }
    }
    return {};
}

Result<void> End::verify_uc() {
    if (const auto wrong = uc_round_.check(region())) {
        return fail(ErrorKind::kVerification, fmt::format("round {}: {}", round_, *wrong));
    }
    messages_ += uc_round_.told() + uc_round_.silent();
    lost_ += uc_round_.told() - uc_round_.arrived() + uc_round_.silent() - uc_round_.found();
    return {};
}

Result<void> End::verify() {
    if (uc()) {
        return verify_uc();
    }
    const auto now = region();
    const auto& wanted = expected_[side_];
    if (std::memcmp(now.data(), wanted.data(), kRegionBytes) == 0) {
        return {};
    }
    const auto wrong =
        static_cast<std::uint32_t>(std::ranges::mismatch(now, wanted).in1 - now.begin());
    std::string where = "between messages";
    for (const Operation& operation : operations_) {
        if (wrong >= operation.offset && wrong - operation.offset < operation.size) {
            where = "in " + name_of(operation, round_);
            if (is_atomic(operation.opcode)) {
                where +=
                    fmt::format(": {:016x} instead of {:016x}, {:016x} and {:016x} were given",
                                word_at(now, operation.offset), word_at(wanted, operation.offset),
                                operation.add_or_compare, operation.swap);
            }
        }
    }
    return fail(ErrorKind::kVerification,
                fmt::format("round {}: side {}'s byte {} is {:#04x}, expected {:#04x}, {}", round_,
                            side_, wrong, std::to_integer<unsigned>(now[wrong]),
                            std::to_integer<unsigned>(wanted[wrong]), where));
}

}  // namespace vrdma::wire_verify
