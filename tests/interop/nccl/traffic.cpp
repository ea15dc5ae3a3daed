// What message number n of a side is follows from the seed, so both sides know sizes, tags and data
// without telling each other. A receive is posted larger than its message: the reported size has to
// be the sender's, and the bytes behind the message must stay as they were. Members of a group are
// sent in reverse order, so that tags and not positions decide where they go.
#include "tests/interop/nccl/traffic.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <array>

namespace vrdma::nccl_net {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Pattern;
using verbs_util::Result;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kRoom = 64;  // behind each message
constexpr auto kUntouched = std::byte{0xa5};
constexpr std::uint64_t kArenaBytes = 160U << 20;
constexpr auto kPatience = std::chrono::seconds(40);
constexpr int kFirstTag = 1000;

}  // namespace

Traffic::Group Traffic::make_group(std::uint64_t sender, std::uint64_t index, Arena& arena) const {
    Group group{.index = index, .parts = {}, .requests = {}, .slot = nullptr};
    const std::uint64_t count = options_.group == 0 ? index % kMaxGroup + 1 : options_.group;
    std::uint64_t offset = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t number = index * count + i;
        const std::uint64_t size = options_.sizes[number % options_.sizes.size()];
        group.parts.push_back({.offset = offset,
                               .size = size,
                               .tag = kFirstTag + static_cast<int>(i),
                               .seed = verbs_util::mix(options_.seed ^ (number << 1 | sender))});
        offset += size + kRoom;
    }
    group.slot = arena.bytes.data() + index % options_.window * slot_bytes_;
    return group;
}

Result<Traffic> Traffic::prepare(const Channel& channel, TrafficOptions options) {
    Traffic traffic(channel, std::move(options));
    TrafficOptions& plan = traffic.options_;
    const std::uint64_t largest = *std::ranges::max_element(plan.sizes);
    traffic.slot_bytes_ = (largest + kRoom) * (plan.group == 0 ? kMaxGroup : plan.group);
    plan.window = std::clamp(kArenaBytes / traffic.slot_bytes_, std::uint64_t{1}, plan.window);
    const Transport& transport = channel.transport();
    for (const bool sending : {true, false}) {
        Arena& arena = sending ? traffic.send_arena_ : traffic.receive_arena_;
        arena.bytes.assign((plan.window + 1) * traffic.slot_bytes_, kUntouched);
        const auto memory =
            transport.register_memory(sending ? channel.send_comm() : channel.receive_comm(),
                                      arena.bytes.data(), arena.bytes.size());
        if (!memory) {
            return tl::make_unexpected(memory.error());
        }
        arena.memory = *memory;
    }
    return traffic;
}

std::vector<Receive> Traffic::receives_of(const Group& group) const {
    std::vector<Receive> receives;
    for (const Part& part : group.parts) {
        receives.push_back({.data = group.slot + part.offset,
                            .size = part.size + kRoom,
                            .tag = part.tag,
                            .memory = receive_arena_.memory});
    }
    return receives;
}

Result<bool> Traffic::post_receives() {
    bool moved = false;
    while (receives_posted_ < options_.receives &&
           receives_posted_ - received_ < options_.window + extra_) {
        Group group = make_group(1 - options_.side, receives_posted_, receive_arena_);
        if (receives_posted_ - received_ >= options_.window) {
            // Never filled. The other slots may still be: of what the partner has posted in time.
            group.slot = receive_arena_.bytes.data() + options_.window * slot_bytes_;
        }
        if (options_.check) {
            const Part& last = group.parts.back();
            std::fill_n(group.slot, last.offset + last.size + kRoom, kUntouched);
        }
        const auto request =
            channel_->transport().irecv(channel_->receive_comm(), receives_of(group));
        if (!request) {
            return tl::make_unexpected(request.error());
        }
        if (*request == nullptr) {
            break;
        }
        group.requests.push_back(*request);
        receiving_.push_back(std::move(group));
        ++receives_posted_;
        moved = true;
    }
    return moved;
}

Result<bool> Traffic::post_sends() {
    bool moved = false;
    while (true) {
        if (sending_.empty() || sending_.back().requests.size() == sending_.back().parts.size()) {
            if (sends_posted_ == options_.sends || sends_posted_ - sent_ >= options_.window) {
                return moved;
            }
            Group group = make_group(options_.side, sends_posted_, send_arena_);
            for (const Part& part : group.parts) {
                if (options_.check) {
                    Pattern(part.seed).fill(group.slot + part.offset, part.size);
                }
            }
            sending_.push_back(std::move(group));
            ++sends_posted_;
        }
        Group& group = sending_.back();
        const Part& part = group.parts[group.parts.size() - 1 - group.requests.size()];
        const auto request =
            channel_->transport().isend(channel_->send_comm(), group.slot + part.offset, part.size,
                                        part.tag, send_arena_.memory);
        if (!request) {
            return tl::make_unexpected(request.error());
        }
        if (*request == nullptr) {
            return moved;
        }
        group.requests.push_back(*request);
        moved = true;
    }
}

Result<bool> Traffic::complete_receive() {
    if (receiving_.empty()) {
        return false;
    }
    std::array<int, kMaxGroup> sizes{};
    const auto done = channel_->transport().test(receiving_.front().requests.front(), sizes);
    if (!done || !*done) {
        return done;
    }
    const Group group = std::move(receiving_.front());
    receiving_.pop_front();
    ++received_;
    if (options_.flush) {
        if (auto flushed = flush(group, sizes); !flushed) {
            return tl::make_unexpected(flushed.error());
        }
    }
    if (auto right = verify(group, sizes); !right) {
        return tl::make_unexpected(right.error());
    }
    return true;
}

Result<void> Traffic::flush(const Group& group, std::span<const int> sizes) {
    const auto request =
        channel_->transport().iflush(channel_->receive_comm(), receives_of(group), sizes);
    if (!request) {
        return tl::make_unexpected(request.error());
    }
    if (*request == nullptr) {
        return {};
    }
    ++flushes_;
    const auto deadline = Clock::now() + kPatience;
    while (true) {
        const auto done = channel_->transport().test(*request, {});
        if (!done) {
            return tl::make_unexpected(done.error());
        }
        if (*done) {
            return {};
        }
        if (Clock::now() > deadline) {
            return fail(ErrorKind::kTransfer, "a flush did not complete");
        }
        sched_yield();
    }
}

Result<void> Traffic::verify(const Group& group, std::span<const int> sizes) {
    for (std::size_t i = 0; i < group.parts.size(); ++i) {
        const Part& part = group.parts[i];
        const auto where = [&] {
            return fmt::format("message {} of group {} ({} bytes)", i, group.index, part.size);
        };
        ++messages_;
        bytes_ += part.size;
        if (static_cast<std::uint64_t>(sizes[i]) != part.size) {
            return fail(ErrorKind::kVerification,
                        fmt::format("{} is reported with {} bytes", where(), sizes[i]));
        }
        if (!options_.check) {
            continue;
        }
        const std::byte* start = group.slot + part.offset;
        if (const auto wrong = Pattern(part.seed).check(start, part.size)) {
            return fail(ErrorKind::kVerification, where() + ": " + wrong->describe());
        }
        if (!std::all_of(start + part.size, start + part.size + kRoom,
                         [](std::byte byte) { return byte == kUntouched; })) {
            return fail(ErrorKind::kVerification, where() + ": bytes behind it were written");
        }
    }
    return {};
}

Result<bool> Traffic::complete_send() {
    if (sending_.empty() || sending_.front().requests.size() != sending_.front().parts.size()) {
        return false;
    }
    Group& group = sending_.front();
    bool moved = false;
    for (void*& request : group.requests) {
        if (request == nullptr) {
            continue;
        }
        std::array<int, kMaxGroup> sizes{};
        const auto done = channel_->transport().test(request, sizes);
        if (!done) {
            return done;
        }
        if (!*done) {
            return moved;
        }
        request = nullptr;
        moved = true;
    }
    sending_.pop_front();
    ++sent_;
    return true;
}

Result<bool> Traffic::step() {
    bool moved = false;
    for (auto part : {&Traffic::post_receives, &Traffic::post_sends, &Traffic::complete_receive,
                      &Traffic::complete_send}) {
        const auto one = (this->*part)();
        if (!one) {
            return one;
        }
        moved = moved || *one;
    }
    return moved;
}

bool Traffic::done() const {
    return sent_ == options_.sends && received_ == options_.receives;
}

Result<void> Traffic::run() {
    auto last = Clock::now();
    while (!done()) {
        const auto moved = step();
        if (!moved) {
            return tl::make_unexpected(moved.error());
        }
        if (*moved) {
            last = Clock::now();
            continue;
        }
        if (Clock::now() - last > kPatience) {
            return fail(ErrorKind::kTransfer, "nothing moves any more: " + progress());
        }
        sched_yield();
    }
    return {};
}

std::string Traffic::progress() const {
    return fmt::format("{} groups posted for sending, {} sent, {} receives posted, {} received",
                       sends_posted_, sent_, receives_posted_, received_);
}

Result<void> Traffic::release() {
    const Transport& transport = channel_->transport();
    Result<void> done = transport.deregister_memory(channel_->send_comm(), send_arena_.memory);
    const auto other = transport.deregister_memory(channel_->receive_comm(), receive_arena_.memory);
    return done ? other : done;
}

}  // namespace vrdma::nccl_net
