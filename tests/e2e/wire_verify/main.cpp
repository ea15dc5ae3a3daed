#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/e2e/wire_verify/end.h"
#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/stream.h"

// vrdma-wire-verify: random operations between two hosts, every byte and every completion checked.
// vrdma-verify does more, but its two sides must share memory. Both ends are ordinary libibverbs
// programs, so that one of them may run over a device that is not ours.
//
// The server is side 0 and takes all options of the run from the client. Rounds are in step: both
// have prepared, transfer; both have transferred, verify. A failure is replayed with the seed.

namespace {

using vrdma::verbs_util::ErrorKind;
using vrdma::verbs_util::fail;
using vrdma::verbs_util::Result;
using vrdma::verbs_util::Stream;
using vrdma::wire_verify::End;
using vrdma::wire_verify::PlanOptions;

constexpr int kPatienceMs = 90'000;
constexpr std::uint64_t kMaxRounds = 1'000'000;

struct Options {
    vrdma::verbs_util::DeviceOptions device;
    PlanOptions plan;
    std::uint64_t rounds = 100;
    std::uint32_t mtu = 4096;  ///< bytes
    std::uint16_t port = 18515;
    std::string transport = "rc";
    std::string from = "both";
    std::string server;
};

ibv_qp_type type_of(const std::string& transport) {
    return transport == "rc" ? IBV_QPT_RC : transport == "uc" ? IBV_QPT_UC : IBV_QPT_UD;
}

std::uint32_t sides_of(const std::string& from) {
    return from == "server" ? 0b01U : from == "client" ? 0b10U : 0b11U;
}

std::uint8_t mtu_code(std::uint32_t bytes) {
    std::uint8_t code = IBV_MTU_256;
    while (code < IBV_MTU_4096 && (128U << code) < bytes) {
        ++code;
    }
    return code;
}

Result<Stream> meet(const Options& options) {
    if (!options.server.empty()) {
        return Stream::connect(fmt::format("{}:{}", options.server, options.port), kPatienceMs);
    }
    auto listener = vrdma::verbs_util::Listener::listen(fmt::format(":{}", options.port));
    if (!listener) {
        return tl::make_unexpected(listener.error());
    }
    return listener->accept(kPatienceMs);
}

/// The client's options become the server's.
Result<void> agree(Options& options, Stream& partner) {
    if (!options.server.empty()) {
        return partner.send({{"seed", options.plan.seed},
                             {"rounds", options.rounds},
                             {"transport", options.transport},
                             {"queue_pairs", options.plan.queue_pairs},
                             {"max_size", options.plan.max_size},
                             {"initiators", options.plan.initiators},
                             {"mtu", options.mtu}});
    }
    auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const auto field = [&](const char* name, std::uint64_t limit) {
        return vrdma::verbs_util::number_field(*message, name, limit);
    };
    const auto seed = field("seed", UINT64_MAX);
    const auto rounds = field("rounds", kMaxRounds);
    const auto queue_pairs = field("queue_pairs", 64);
    const auto max_size = field("max_size", vrdma::wire_verify::kRegionBytes / 4);
    const auto initiators = field("initiators", 0b11);
    const auto mtu = field("mtu", 4096);
    for (const auto* number : {&seed, &rounds, &queue_pairs, &max_size, &initiators, &mtu}) {
        if (!*number) {
            return tl::make_unexpected(number->error());
        }
    }
    options.transport = vrdma::verbs_util::text_field(*message, "transport");
    options.rounds = *rounds;
    options.mtu = static_cast<std::uint32_t>(*mtu);
    options.plan = {*seed, type_of(options.transport), static_cast<std::uint32_t>(*queue_pairs),
                    static_cast<std::uint32_t>(*max_size), static_cast<std::uint32_t>(*initiators)};
    return {};
}

Result<void> connect(const Options& options, End& end, Stream& partner) {
    nlohmann::json addresses = nlohmann::json::array();
    for (auto address : end.addresses()) {
        address.mtu = std::min(address.mtu, mtu_code(options.mtu));
        addresses.push_back(vrdma::verbs_util::address_to_json(address));
    }
    const auto memory = end.memory();
    if (auto sent = partner.send(
            {{"addresses", addresses}, {"memory", memory.address}, {"rkey", memory.rkey}});
        !sent) {
        return sent;
    }
    auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    std::vector<vrdma::verbs_util::QueuePairAddress> remote;
    for (const auto& entry : message->value("addresses", nlohmann::json::array())) {
        auto address = vrdma::verbs_util::address_from_json(entry);
        if (!address) {
            return tl::make_unexpected(address.error());
        }
        address->mtu = std::min(address->mtu, mtu_code(options.mtu));
        remote.push_back(*address);
    }
    const auto there = vrdma::verbs_util::number_field(*message, "memory", UINT64_MAX);
    const auto rkey = vrdma::verbs_util::number_field(*message, "rkey", UINT32_MAX);
    if (!there || !rkey) {
        return tl::make_unexpected(!there ? there.error() : rkey.error());
    }
    return end.connect(remote, {*there, static_cast<std::uint32_t>(*rkey)});
}

/// Both sides have come as far.
Result<void> in_step(Stream& partner, const char* what, std::uint64_t round) {
    if (auto sent = partner.send({{what, round}}); !sent) {
        return sent;
    }
    auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const auto theirs = vrdma::verbs_util::number_field(*message, what, kMaxRounds);
    if (!theirs || *theirs != round) {
        return fail(ErrorKind::kPartner, fmt::format("the other side is not in round {}", round));
    }
    return {};
}

Result<void> run(Options options) {
    options.plan.type = type_of(options.transport);
    options.plan.initiators = sides_of(options.from);
    auto partner = meet(options);
    if (!partner) {
        return tl::make_unexpected(partner.error());
    }
    if (auto done = agree(options, *partner); !done) {
        return done;
    }
    if (options.plan.type == IBV_QPT_UD) {
        options.plan.max_size = std::min(options.plan.max_size, options.mtu);
    }
    fmt::print("seed {}\n", options.plan.seed);
    auto end = End::create(options.device, options.plan, options.server.empty() ? 0 : 1);
    if (!end) {
        return tl::make_unexpected(end.error());
    }
    if (auto done = connect(options, *end, *partner); !done) {
        return done;
    }
    for (std::uint64_t round = 0; round < options.rounds; ++round) {
        Result<void> done = end->prepare(round);
        done = done ? in_step(*partner, "prepared", round) : done;
        done = done ? end->transfer() : done;
        done = done ? in_step(*partner, "transferred", round) : done;
        if (done && options.plan.type == IBV_QPT_UC) {
            done = end->collect();
            done = done ? in_step(*partner, "collected", round) : done;
        }
        done = done ? end->verify() : done;
        if (!done) {
            return done;
        }
    }
    if (auto done = in_step(*partner, "verified", options.rounds); !done) {
        return done;
    }
    fmt::print("{} rounds, {} operations, every byte right\n", options.rounds, end->operations());
    if (options.plan.type == IBV_QPT_UC) {
        fmt::print("{} of {} messages to this side were lost\n", end->lost(), end->messages());
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    options.plan.seed = std::random_device{}();
    CLI::App app{"vrdma-wire-verify: random RDMA operations between two hosts, every byte checked"};
    app.add_option("server", options.server, "host of the server; without it this is the server");
    app.add_option("-p,--port", options.port, "TCP port of the server");
    app.add_option("-d,--device", options.device.name, "default: the first");
    app.add_option("-x,--gid-index", options.device.gid_index, "default: RoCE v2 over IPv4");
    app.add_option("-n,--rounds", options.rounds)->check(CLI::Range(std::uint64_t{1}, kMaxRounds));
    app.add_option("-s,--seed", options.plan.seed);
    app.add_option("-t,--transport", options.transport)->check(CLI::IsMember({"rc", "uc", "ud"}));
    app.add_option("-q,--queue-pairs", options.plan.queue_pairs)->check(CLI::Range(1, 64));
    app.add_option("--from", options.from, "who starts operations")
        ->check(CLI::IsMember({"both", "server", "client"}));
    app.add_option("-m,--mtu", options.mtu, "path MTU in bytes")->check(CLI::Range(256, 4096));
    app.add_option("--max-size", options.plan.max_size)
        ->check(CLI::Range(std::size_t{1}, vrdma::wire_verify::kRegionBytes / 4));
    CLI11_PARSE(app, argc, argv);
    const auto done = run(options);
    if (!done) {
        fmt::print(stderr, "vrdma-wire-verify: FAILED: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return 0;
}
