// One message each way: the client says who it is and where its queue pair is, the server answers
// the same, with the place of its memory. Then the client writes into that memory and hangs up.
// What arrives is a stranger's: fields are checked by those who read them, waiting has an end.
//
// Which path the data take is not told by any verb. It follows from who the two are: another device
// than ours is a standard peer; two of ours are on one host when the kernel's boot id is the same
// and both see one process behind their sockets, or cannot see it (containers).
#include "tools/vrdma-doctor/peer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/stream.h"
#include "tools/verbs_util/unique_fd.h"
#include "tools/vrdma-doctor/transfer.h"

namespace vrdma::doctor {
namespace {

using nlohmann::json;
using verbs_util::Result;
using verbs_util::Stream;

constexpr int kMeetMs = 1500;
constexpr int kAnswerMs = 5000;
constexpr int kMeasureMs = 60000;
constexpr std::uint32_t kNobodysQueuePair = 0xfffffe;
constexpr std::uint8_t kProbeRetries = 1;
constexpr std::uint64_t kMax32 = 0xffffffff;

std::string line_of(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::uint64_t process_behind(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return 0;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const verbs_util::UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ucred peer{};
    socklen_t length = sizeof peer;
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid < 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(peer.pid);
}

Identity identity_of(const verbs_util::Device& device) {
    Identity identity;
    const std::string socket =
        line_of(std::string(device.context()->device->ibdev_path) + "/vrdma_socket");
    identity.vrdma = !socket.empty();
    identity.device = device.name();
    identity.service = device.attributes().fw_ver;
    identity.machine = line_of("/proc/sys/kernel/random/boot_id");
    identity.process = process_behind(socket);
    return identity;
}

json introduce(const Endpoint& endpoint) {
    const Target target = endpoint.target();
    return {{"doctor", 1},
            {"identity", to_json(identity_of(endpoint.device()))},
            {"qp", verbs_util::address_to_json(endpoint.address())},
            {"address", target.address},
            {"rkey", target.rkey}};
}

Result<Target> target_in(const json& message) {
    const auto address = verbs_util::number_field(message, "address", UINT64_MAX);
    const auto rkey = verbs_util::number_field(message, "rkey", kMax32);
    if (!address || !rkey) {
        return tl::make_unexpected(!address ? address.error() : rkey.error());
    }
    return Target{.address = *address, .rkey = static_cast<std::uint32_t>(*rkey)};
}

Result<void> serve_one(Stream& client, const std::string& device) {
    const auto hello = client.receive(kAnswerMs);
    if (!hello) {
        return tl::make_unexpected(hello.error());
    }
    const auto remote = verbs_util::address_from_json(verbs_util::object_field(*hello, "qp"));
    auto endpoint = Endpoint::create(device);
    if (!remote || !endpoint) {
        return tl::make_unexpected(!remote ? remote.error() : endpoint.error());
    }
    auto connected =
        endpoint->connect(*remote).and_then([&] { return client.send(introduce(*endpoint)); });
    if (!connected) {
        return connected;
    }
    // Its end: the client has measured.
    (void)client.receive(kMeasureMs);
    return {};
}

// Meets and measures; what went wrong in meeting is the result's error.
Result<void> measure_with(Stream& stream, Endpoint& endpoint, double seconds, Facts& facts) {
    Peer& peer = *facts.peer;
    if (auto sent = stream.send(introduce(endpoint)); !sent) {
        return sent;
    }
    const auto answer = stream.receive(kAnswerMs);
    if (!answer) {
        return tl::make_unexpected(answer.error());
    }
    const auto remote = verbs_util::address_from_json(verbs_util::object_field(*answer, "qp"));
    const auto target = target_in(*answer);
    if (!remote || !target) {
        return tl::make_unexpected(!remote ? remote.error() : target.error());
    }
    const Identity there = identity_from(verbs_util::object_field(*answer, "identity"));
    peer.met = true;
    peer.path = path_between(identity_of(endpoint.device()), there);
    peer.described =
        fmt::format("{} serves on its {}, version {}", peer.address, there.device, there.service);
    Transfer& transfer = facts.transfer;
    transfer.tried = true;
    const auto speed =
        endpoint.connect(*remote).and_then([&] { return endpoint.measure(*target, seconds); });
    if (speed) {
        transfer.speed = *speed;
    } else {
        transfer.problem = speed.error().message();
    }
    return {};
}

bool read_gid(const std::string& text, ibv_gid& gid) {
    in6_addr address{};
    if (inet_pton(AF_INET6, text.c_str(), &address) != 1 &&
        inet_pton(AF_INET6, ("::ffff:" + text).c_str(), &address) != 1) {
        return false;
    }
    std::memcpy(gid.raw, &address, sizeof gid.raw);
    return true;
}

// A queue pair towards one that is not there: how the WRITE fails tells whether the address is.
void probe(Endpoint& endpoint, Peer& peer) {
    verbs_util::QueuePairAddress nobody = endpoint.address();
    nobody.qpn = kNobodysQueuePair;
    if (!read_gid(peer.address, nobody.gid)) {
        return;
    }
    const auto reason =
        endpoint.connect(nobody, kProbeRetries).and_then([&] { return endpoint.probe(); });
    if (reason) {
        peer.probed = true;
        peer.reason = *reason;
    } else {
        peer.problem += ", and over the device: " + reason.error().message();
    }
}

std::string with_port(const std::string& host, std::uint16_t port) {
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                               : fmt::format("[{}]:{}", host, port);
}

}  // namespace

json to_json(const Identity& identity) {
    return {{"vrdma", identity.vrdma},
            {"device", identity.device},
            {"service", identity.service},
            {"machine", identity.machine},
            {"process", identity.process}};
}

Identity identity_from(const json& message) {
    Identity identity;
    const auto vrdma = message.find("vrdma");
    identity.vrdma = vrdma != message.end() && vrdma->is_boolean() && vrdma->get<bool>();
    identity.device = verbs_util::text_field(message, "device");
    identity.service = verbs_util::text_field(message, "service");
    identity.machine = verbs_util::text_field(message, "machine");
    identity.process = verbs_util::number_field(message, "process", UINT64_MAX).value_or(0);
    return identity;
}

Path path_between(const Identity& here, const Identity& there) {
    if (!here.vrdma || !there.vrdma) {
        return Path::standard_peer;
    }
    const bool one_service =
        here.process == there.process || here.process == 0 || there.process == 0;
    return here.machine == there.machine && !here.machine.empty() && one_service ? Path::same_host
                                                                                 : Path::vrdma_peer;
}

verbs_util::Error serve(const std::string& device, std::uint16_t port) {
    auto listener = verbs_util::Listener::listen(fmt::format(":{}", port));
    if (!listener) {
        return listener.error();
    }
    std::printf("vrdma-doctor: serving %s on port %u\n", device.c_str(), listener->port());
    (void)std::fflush(stdout);
    for (;;) {
        auto client = listener->accept();
        if (!client) {
            return client.error();
        }
        if (const auto served = serve_one(*client, device); !served) {
            std::fprintf(stderr, "vrdma-doctor: %s\n", served.error().message().c_str());
        }
    }
}

void meet(const std::string& device, const std::string& address, std::uint16_t port, double seconds,
          Facts& facts) {
    facts.peer = Peer{};
    Peer& peer = *facts.peer;
    peer.address = address;
    auto endpoint = Endpoint::create(device);
    if (!endpoint) {
        peer.problem = endpoint.error().message();
        return;
    }
    auto stream = Stream::connect(with_port(address, port), kMeetMs);
    const auto met = stream ? measure_with(*stream, *endpoint, seconds, facts)
                            : Result<void>(tl::make_unexpected(stream.error()));
    if (!met) {
        peer.problem = met.error().message();
        probe(*endpoint, peer);
    }
}

}  // namespace vrdma::doctor
