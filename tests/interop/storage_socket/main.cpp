// vrdma-storage-socket: makes the verbs calls that the network layer of DeepSeek's 3FS makes, in
// the same order and with the same numbers, and checks every byte. Started like perftest: the
// server first, the client with its host.
//
// One reliable connection. Requests and answers are messages of up to 16 KiB, through a ring of
// receive buffers with credits in immediate data; files move by lists of READs and WRITEs that the
// server starts, each with up to 16 pieces of local memory. Both sides sleep in one epoll. At the
// end the client closes, both move their queue pair to the error state, and every receive that is
// still posted must be flushed, once.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <random>

#include "tests/interop/storage_socket/client.h"
#include "tests/interop/storage_socket/event_loop.h"
#include "tests/interop/storage_socket/server.h"
#include "tests/interop/storage_socket/socket.h"
#include "tests/interop/storage_socket/storage_device.h"
#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/meet.h"
#include "tools/verbs_util/stream.h"

namespace {

using namespace vrdma::storage_socket;  // NOLINT(google-build-using-namespace): a main file
using vrdma::verbs_util::ErrorKind;
using vrdma::verbs_util::fail;
using vrdma::verbs_util::Result;
using vrdma::verbs_util::Stream;

struct Options {
    std::string server;
    std::uint16_t port = 18515;
    std::uint32_t requests = 600;
    std::uint64_t seed = 0;
    bool solicited = false;

    [[nodiscard]] bool client() const { return !server.empty(); }
};

Result<PeerAddress> receive_address(Stream& partner) {
    const auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const auto address =
        vrdma::verbs_util::address_from_json(vrdma::verbs_util::object_field(*message, "address"));
    if (!address) {
        return tl::make_unexpected(address.error());
    }
    return PeerAddress{
        .qpn = address->qpn, .mtu = static_cast<ibv_mtu>(address->mtu), .gid = address->gid};
}

Result<void> send_address(Stream& partner, const StorageDevice& device, const Socket& socket) {
    const vrdma::verbs_util::QueuePairAddress address{
        .qpn = socket.qpn(),
        .mtu = static_cast<std::uint8_t>(device.port().active_mtu),
        .gid = device.gid()};
    return partner.send({{"address", vrdma::verbs_util::address_to_json(address)}});
}

/// The client gives its address, and the server its own when it is ready to receive.
Result<void> connect(Stream& partner, const Options& options, const StorageDevice& device,
                     Socket& socket) {
    if (options.client()) {
        if (auto done = send_address(partner, device, socket); !done) {
            return done;
        }
    }
    const auto peer = receive_address(partner);
    if (!peer) {
        return tl::make_unexpected(peer.error());
    }
    if (options.client()) {
        return socket.connect(*peer);
    }
    auto done = socket.accept(*peer);
    return done ? send_address(partner, device, socket) : done;
}

Result<void> close_as_client(Socket& socket, EventLoop& loop) {
    auto done = socket.close();
    while (done && socket.state() != Socket::State::kClosed) {
        done = loop.wait();
    }
    return done;
}

Result<void> run(const Options& options) {
    auto partner = vrdma::verbs_util::meet(options.server, options.port, kPatienceMs);
    if (!partner) {
        return tl::make_unexpected(partner.error());
    }
    const auto device = StorageDevice::open();
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    auto memory = Region::create(*device, kSlots * kSlotBytes);
    if (!memory) {
        return tl::make_unexpected(memory.error());
    }
    SocketOptions wanted;
    wanted.solicited = options.solicited;
    auto socket = Socket::create(*device, wanted);
    if (!socket) {
        return tl::make_unexpected(socket.error());
    }
    auto loop = EventLoop::create(*device, *socket);
    if (!loop) {
        return tl::make_unexpected(loop.error());
    }
    auto done = device->take_async_events();
    done = done ? connect(*partner, options, *device, *socket) : done;
    if (done && options.client()) {
        done = Client(*socket, *loop, *memory, options.seed).run(options.requests);
        done = done ? close_as_client(*socket, *loop) : done;
    } else if (done) {
        done = Server(*socket, *loop, *memory, wanted.max_sge).run();
    }
    if (!done) {
        return done;
    }
    const auto flushed = socket->drain(loop->epoll(), kPatienceMs);
    if (!flushed) {
        return tl::make_unexpected(flushed.error());
    }
    if (*flushed < wanted.send_buffers) {
        return fail(ErrorKind::kVerification,
                    fmt::format("{} of {} receives were flushed", *flushed, wanted.max_recv_wr()));
    }
    fmt::print(
        "{} messages sent, {} received ({} inline), {} RDMA requests, {} waits for credit, "
        "{} checks, {} events, {} receives flushed, every byte right\n",
        socket->messages_sent(), socket->messages_received(), socket->inlined(),
        socket->rdma_requests(), socket->waits_for_credit(), socket->checks(), socket->events(),
        *flushed);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    options.seed = std::random_device{}();
    CLI::App app{"vrdma-storage-socket: connections in the manner of 3FS between two processes"};
    app.add_option("server", options.server, "host of the server; without it this is the server");
    app.add_option("-p,--port", options.port, "TCP port of the server");
    app.add_option("-n,--requests", options.requests, "of the client");
    app.add_option("-s,--seed", options.seed, "of the client's requests");
    app.add_flag("--solicited", options.solicited,
                 "inline control messages, and receives that only solicited events announce");
    CLI11_PARSE(app, argc, argv);
    fmt::print("seed {}\n", options.seed);
    (void)std::fflush(stdout);
    const auto done = run(options);
    if (!done) {
        fmt::print(stderr, "vrdma-storage-socket: FAILED: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return 0;
}
