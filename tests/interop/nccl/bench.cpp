// Sixteen messages are under way, half of what NCCL keeps for one connection. A run of the same
// kind that is not timed goes first: it touches the memory and lets both sides find each other.
#include "tests/interop/nccl/bench.h"

#include <algorithm>
#include <chrono>

#include "tests/interop/nccl/traffic.h"

namespace vrdma::nccl_net {

using verbs_util::Result;

namespace {

constexpr std::uint64_t kWindow = 16;
constexpr int kPatienceMs = 60'000;

Result<void> in_step(verbs_util::Stream& partner) {
    if (auto sent = partner.send({{"ready", true}}); !sent) {
        return sent;
    }
    const auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    return {};
}

Result<double> timed(const Channel& channel, verbs_util::Stream& partner, std::uint64_t size,
                     std::uint64_t messages, bool sends) {
    TrafficOptions options{.sizes = {size}, .window = kWindow, .check = false};
    options.sends = sends ? messages : 0;
    options.receives = sends ? 0 : messages;
    auto traffic = Traffic::prepare(channel, options);
    if (!traffic) {
        return tl::make_unexpected(traffic.error());
    }
    Result<void> done = in_step(partner);
    const auto start = std::chrono::steady_clock::now();
    done = done ? traffic->run() : done;
    done = done ? in_step(partner) : done;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    done = done ? traffic->release() : done;
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return elapsed.count();
}

}  // namespace

Result<Rate> measure(const Channel& channel, verbs_util::Stream& partner, std::uint64_t size,
                     std::uint64_t messages, bool sends) {
    const auto warm = timed(channel, partner, size, std::min(messages, 2 * kWindow), sends);
    if (!warm) {
        return tl::make_unexpected(warm.error());
    }
    const auto seconds = timed(channel, partner, size, messages, sends);
    if (!seconds) {
        return tl::make_unexpected(seconds.error());
    }
    const double rate = static_cast<double>(messages) / *seconds;
    return Rate{.gigabytes_per_second = rate * static_cast<double>(size) / 1e9,
                .messages_per_second = rate};
}

}  // namespace vrdma::nccl_net
