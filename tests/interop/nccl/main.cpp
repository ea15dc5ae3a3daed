// vrdma-nccl-net: NCCL's own network transport, from an installed libnccl.so.2 and without a GPU,
// between two processes. Started like perftest: the server first, the client with its host.
//
// data         messages both ways, every byte, size and tag checked
// until-error  the same without end; ends well when a call of NCCL fails, and says which and when
// bench        one way, beside NCCL's Socket transport
//
// NCCL's settings come from the environment (NCCL_IB_...), as for any program that uses NCCL.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <random>

#include "tests/interop/nccl/bench.h"
#include "tests/interop/nccl/channel.h"
#include "tests/interop/nccl/library.h"
#include "tests/interop/nccl/traffic.h"
#include "tests/interop/nccl/transport.h"
#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/meet.h"
#include "tools/verbs_util/sizes.h"
#include "tools/verbs_util/stream.h"

namespace {

using namespace vrdma::nccl_net;  // NOLINT(google-build-using-namespace): a program's main file
using vrdma::verbs_util::Error;
using vrdma::verbs_util::ErrorKind;
using vrdma::verbs_util::fail;
using vrdma::verbs_util::fail_errno;
using vrdma::verbs_util::Result;
using vrdma::verbs_util::Stream;
using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 30'000;
constexpr auto kErrorPatience = std::chrono::seconds(30);
constexpr auto kAskInterval = std::chrono::milliseconds(50);
constexpr const char* kIb = "ncclNetIb";
constexpr const char* kSocket = "ncclNetSocket";

struct Options {
    std::string library;
    std::string server;
    std::string mode = "data";
    std::string sizes = "0,1,4096,65537";
    std::uint16_t port = 18515;
    std::uint64_t groups = 100;
    std::uint64_t group = 1;
    std::uint64_t megabytes = 256;
    std::uint64_t messages = 50'000;
    std::uint64_t seed = 0;
    unsigned device_outlives_ms = 0;
    bool flush = false;

    [[nodiscard]] bool client() const { return !server.empty(); }
};

/// Both have the same NCCL, whose connections refuse another one's; the seed is the client's.
Result<void> agree(Options& options, const Library& library, Stream& partner) {
    if (auto sent = partner.send({{"nccl", library.version()}, {"seed", options.seed}}); !sent) {
        return sent;
    }
    const auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const std::string theirs = vrdma::verbs_util::text_field(*message, "nccl");
    if (theirs != library.version()) {
        return fail(ErrorKind::kPartner, fmt::format("the partner has NCCL {}, this side {}",
                                                     theirs, library.version()));
    }
    const auto seed = vrdma::verbs_util::number_field(*message, "seed", UINT64_MAX);
    if (!seed) {
        return tl::make_unexpected(seed.error());
    }
    options.seed = options.client() ? options.seed : *seed;
    fmt::print("seed {}\n", options.seed);
    return {};
}

Result<void> describe(const Transport& transport) {
    const auto properties = transport.properties(0);
    if (!properties) {
        return tl::make_unexpected(properties.error());
    }
    fmt::print("transport {}: {} device(s), {} at {} Mb/s, memory{}{}{}, {} grouped receives\n",
               transport.name(), transport.devices(), properties->name, properties->speed,
               (properties->pointer_support & kPointerHost) != 0 ? " host" : "",
               (properties->pointer_support & kPointerCuda) != 0 ? " CUDA" : "",
               (properties->pointer_support & kPointerDmabuf) != 0 ? " dma-buf" : "",
               properties->max_receives);
    return {};
}

TrafficOptions traffic_of(const Options& options, std::vector<std::uint64_t> sizes) {
    return {.sizes = std::move(sizes),
            .group = options.group,
            .seed = options.seed,
            .side = options.client() ? 1U : 0U,
            .sends = options.groups,
            .receives = options.groups,
            .flush = options.flush};
}

Result<void> run_data(Channel& channel, Stream& partner, TrafficOptions plan) {
    auto traffic = Traffic::prepare(channel, std::move(plan));
    if (!traffic) {
        return tl::make_unexpected(traffic.error());
    }
    Result<void> done = traffic->run();
    // Neither side goes while the other one still waits for a completion.
    done = done ? partner.send({{"done", true}}) : done;
    if (done) {
        const auto message = partner.receive(kPatienceMs);
        done = message ? done : Result<void>(tl::make_unexpected(message.error()));
    }
    done = done ? traffic->release() : done;
    if (!done) {
        return done;
    }
    fmt::print("{} messages, {} bytes, every byte right, {} flushes\n", traffic->messages(),
               traffic->bytes(), traffic->flushes());
    return {};
}

/// A child keeps the device open for a while after this process has ended, but not the connection
/// to the partner: as when the kernel takes a killed process apart slowly.
Result<void> keep_device_beyond_the_end(Stream& partner, unsigned milliseconds) {
    int alive[2];
    if (pipe2(alive, O_CLOEXEC) != 0) {
        return fail_errno(ErrorKind::kSetup, "pipe2", errno);
    }
    const pid_t child = _Fork();  // without the handlers that make a fork the provider's business
    if (child < 0) {
        return fail_errno(ErrorKind::kSetup, "fork", errno);
    }
    if (child == 0) {
        (void)close(alive[1]);
        (void)close(partner.fd());
        char nothing = 0;
        (void)!read(alive[0], &nothing, 1);  // until the other end closes with its process
        const timespec pause{.tv_sec = static_cast<time_t>(milliseconds / 1000),
                             .tv_nsec = static_cast<long>(milliseconds % 1000) * 1'000'000};
        (void)nanosleep(&pause, nullptr);
        _exit(0);
    }
    (void)close(alive[0]);
    return {};
}

Result<void> run_until_error(Channel& channel, Stream& partner, TrafficOptions plan) {
    plan.sends = plan.receives = UINT64_MAX;
    auto traffic = Traffic::prepare(channel, std::move(plan));
    if (!traffic) {
        return tl::make_unexpected(traffic.error());
    }
    auto last = Clock::now();  // when a group was completed
    auto asked = last;
    std::uint64_t completed = 0;
    bool told = false;
    while (Clock::now() - last < kErrorPatience) {
        const auto moved = traffic->step();
        const auto now = Clock::now();
        if (!moved) {
            const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - last);
            fmt::print("{} ms after the last success: {}\n", elapsed.count(),
                       moved.error().message());
            // Whatever these say: they must come back.
            (void)traffic->release();
            (void)channel.close();
            fmt::print("closed\n");
            return {};
        }
        if (!told && traffic->messages() > 0) {
            fmt::print("transferring\n");
            (void)std::fflush(stdout);
            told = true;
        }
        if (traffic->groups_completed() != completed) {
            completed = traffic->groups_completed();
            last = now;
        } else if (!*moved && now - asked > kAskInterval && partner.readable()) {
            // Not all at once. The partner's device may outlive the partner, which the kernel takes
            // apart piece by piece: it acknowledges what arrives meanwhile, and who then waits
            // without asking again is never told.
            traffic->allow_another_receive();
            asked = now;
        }
        sched_yield();
    }
    return fail(ErrorKind::kTransfer, "no error, although nothing moves: " + traffic->progress());
}

Result<std::vector<Rate>> rates(const Options& options, const Transport& transport, Stream& partner,
                                const std::vector<std::uint64_t>& sizes) {
    constexpr std::uint64_t kFewest = 64;
    auto channel = Channel::establish(transport, 0, partner);
    if (!channel) {
        return tl::make_unexpected(channel.error());
    }
    std::vector<Rate> found;
    for (const std::uint64_t size : sizes) {
        const std::uint64_t messages =
            std::clamp((options.megabytes << 20) / std::max(size, std::uint64_t{1}), kFewest,
                       options.messages);
        const auto rate = measure(*channel, partner, size, messages, options.client());
        if (!rate) {
            return tl::make_unexpected(rate.error());
        }
        found.push_back(*rate);
    }
    if (auto closed = channel->close(); !closed) {
        return tl::make_unexpected(closed.error());
    }
    return found;
}

Result<void> run_bench(const Library& library, const Transport& ib, Stream& partner,
                       const Options& options, const std::vector<std::uint64_t>& sizes) {
    if (auto changed = library.pretend_a_gpu(); !changed) {
        return changed;
    }
    const auto socket = Transport::open(library, kSocket);
    if (!socket) {
        return tl::make_unexpected(socket.error());
    }
    const auto ours = rates(options, ib, partner, sizes);
    if (!ours) {
        return tl::make_unexpected(ours.error());
    }
    const auto theirs = rates(options, *socket, partner, sizes);
    if (!theirs) {
        return tl::make_unexpected(theirs.error());
    }
    if (auto ended = socket->finalize(); !ended) {
        return ended;
    }
    fmt::print("{:>10} {:>12} {:>12} {:>12} {:>12} {:>8}\n", "bytes", "IB msg/s", "IB GB/s",
               "Socket msg/s", "Socket GB/s", "ratio");
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        const Rate& a = (*ours)[i];
        const Rate& b = (*theirs)[i];
        fmt::print("{:>10} {:>12.0f} {:>12.3f} {:>12.0f} {:>12.3f} {:>8.1f}\n", sizes[i],
                   a.messages_per_second, a.gigabytes_per_second, b.messages_per_second,
                   b.gigabytes_per_second, a.messages_per_second / b.messages_per_second);
    }
    return {};
}

Result<void> run_mode(const Options& options, const Library& library, const Transport& transport,
                      Stream& partner, const std::vector<std::uint64_t>& sizes) {
    if (options.mode == "bench") {
        return run_bench(library, transport, partner, options, sizes);
    }
    auto channel = Channel::establish(transport, 0, partner);
    if (!channel) {
        return tl::make_unexpected(channel.error());
    }
    const TrafficOptions plan = traffic_of(options, sizes);
    if (options.mode == "until-error") {
        if (options.device_outlives_ms != 0) {
            if (auto done = keep_device_beyond_the_end(partner, options.device_outlives_ms);
                !done) {
                return done;
            }
        }
        return run_until_error(*channel, partner, plan);
    }
    const Result<void> done = run_data(*channel, partner, plan);
    return done ? channel->close() : done;
}

Result<void> run(Options options, const Library& library) {
    const auto sizes = vrdma::verbs_util::parse_sizes(options.sizes);
    if (!sizes) {
        return tl::make_unexpected(sizes.error());
    }
    auto partner = vrdma::verbs_util::meet(options.server, options.port, kPatienceMs);
    if (!partner) {
        return tl::make_unexpected(partner.error());
    }
    if (auto done = agree(options, library, *partner); !done) {
        return done;
    }
    const auto transport = Transport::open(library, kIb);
    if (!transport) {
        return tl::make_unexpected(transport.error());
    }
    if (auto done = describe(*transport); !done) {
        return done;
    }
    const Result<void> done = run_mode(options, library, *transport, *partner, *sizes);
    const Result<void> ended = transport->finalize();
    return done ? ended : done;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    options.seed = std::random_device{}();
    CLI::App app{"vrdma-nccl-net: NCCL's own network transport between two processes"};
    app.add_option("server", options.server, "host of the server; without it this is the server");
    app.add_option("--library", options.library, "libnccl.so.2")->required();
    app.add_option("-p,--port", options.port, "TCP port of the server");
    app.add_option("--mode", options.mode)->check(CLI::IsMember({"data", "until-error", "bench"}));
    app.add_option("--sizes", options.sizes, "of messages, such as 0,1,64K,64M");
    app.add_option("-n,--groups", options.groups, "receives of each side");
    app.add_option("-g,--group", options.group, "messages of a receive; 0: 1 to 8 in turns")
        ->check(CLI::Range(std::size_t{0}, kMaxGroup));
    app.add_option("--megabytes", options.megabytes, "bench: data for each size");
    app.add_option("--messages", options.messages, "bench: at most so many for each size")
        ->check(CLI::Range(64, 10'000'000));
    app.add_option("-s,--seed", options.seed);
    app.add_option("--device-outlives-ms", options.device_outlives_ms,
                   "until-error: the device stays open for so long after this process has ended");
    app.add_flag("--flush", options.flush, "flush after each receive");
    CLI11_PARSE(app, argc, argv);

    const auto library = Library::load(options.library);
    if (!library) {
        fmt::print(stderr, "vrdma-nccl-net: UNUSABLE: {}\n", library.error().message());
        return kExitUnusable;
    }
    fmt::print("NCCL {}, network interface version {}\n", library->version(),
               library->interface_version());
    for (const char* symbol : {kIb, kSocket}) {
        if (const auto table = library->transport(symbol); !table) {
            fmt::print(stderr, "vrdma-nccl-net: UNUSABLE: {}\n", table.error().message());
            return kExitUnusable;
        }
    }
    const auto done = run(options, *library);
    if (!done) {
        fmt::print(stderr, "vrdma-nccl-net: FAILED: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return 0;
}
