#include <arpa/inet.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/queue_pair.h"
#include "tools/verbs_util/registration.h"
#include "tools/verbs_util/stream.h"
#include "tools/verbs_util/tsc.h"

// vrdma-wire-error: one RC queue pair between two hosts, and something that must go wrong there in
// the way the specification says. The client starts the operations and prints what came of them:
//
//     key-write, key-read, key-atomic   an rkey that names nothing: REM_ACCESS_ERR, and both queue
//                                       pairs are in the error state
//     window                            a memory window of the server is written, read and ended by
//                                       SEND with invalidate; its key gives nothing from then on:
//                                       REM_ACCESS_ERR
//     not-ready                         no receive is posted: RNR_RETRY_EXC_ERR
//     late                              the receive is posted when the request already waits:
//                                       success
//     silence                           operations without end, until the other side has gone:
//                                       RETRY_EXC_ERR; who runs us takes it away
//
// The server takes the scenario from the client.

namespace {

using vrdma::verbs_util::ErrorKind;
using vrdma::verbs_util::fail;
using vrdma::verbs_util::fail_errno;
using vrdma::verbs_util::Result;
using vrdma::verbs_util::Stream;

constexpr int kPatienceMs = 20'000;
constexpr std::size_t kBytes = 4096;
constexpr std::uint32_t kWrongKeyBits = 0x00ffff00;
constexpr std::uint8_t kRnrTimer = 14;  // 1 ms
constexpr std::byte kWritten{0x5a};

struct Options {
    vrdma::verbs_util::DeviceOptions device;
    std::string server;
    std::uint16_t port = 18515;
    std::string scenario = "key-write";
    int timeout = 14;
    int retries = 7;
};

class End {
  public:
    [[nodiscard]] Result<void> create(const Options& options);
    [[nodiscard]] Result<void> connect(const Options& options, Stream& partner);
    [[nodiscard]] Result<void> post(ibv_wr_opcode opcode, std::uint32_t key_bits);
    [[nodiscard]] Result<void> post_receive();
    /// The server: a window over its memory, bound, and its key for the client.
    [[nodiscard]] Result<std::uint32_t> open_window();
    void use_key(std::uint32_t rkey) { rkey_ = rkey; }
    [[nodiscard]] bool memory_is(std::byte value) const { return memory_.data()[17] == value; }
    void fill(std::byte value) { std::fill_n(memory_.data(), memory_.size(), value); }
    [[nodiscard]] Result<ibv_wc> completion();
    /// Waits until the queue pair is in the error state.
    [[nodiscard]] Result<void> broken();

  private:
    std::shared_ptr<vrdma::verbs_util::Device> device_;
    vrdma::verbs_util::Buffer memory_;
    vrdma::verbs_util::Owned<ibv_pd> pd_;
    vrdma::verbs_util::Owned<ibv_mr> mr_;
    vrdma::verbs_util::Owned<ibv_mr> window_mr_;
    std::unique_ptr<ibv_mw, int (*)(ibv_mw*)> window_{nullptr, ibv_dealloc_mw};
    vrdma::verbs_util::CompletionQueue queue_;
    std::optional<vrdma::verbs_util::QueuePair> queue_pair_;
    std::uint64_t address_ = 0;
    std::uint32_t rkey_ = 0;
};

Result<void> End::create(const Options& options) {
    auto device = vrdma::verbs_util::Device::open(options.device);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    device_ = std::move(*device);
    auto memory = vrdma::verbs_util::Buffer::allocate(vrdma::verbs_util::MemoryKind::kMmap, kBytes);
    auto pd = vrdma::verbs_util::allocate_pd(*device_);
    if (!memory || !pd) {
        return tl::make_unexpected(!memory ? memory.error() : pd.error());
    }
    memory_ = std::move(*memory);
    pd_ = std::move(*pd);
    auto mr =
        vrdma::verbs_util::register_memory(*device_, pd_.get(), memory_.data(), memory_.size());
    auto queue = vrdma::verbs_util::CompletionQueue::create(*device_, 16, false);
    if (!mr || !queue) {
        return tl::make_unexpected(!mr ? mr.error() : queue.error());
    }
    mr_ = std::move(*mr);
    queue_ = std::move(*queue);
    vrdma::verbs_util::QueuePairOptions wanted;
    wanted.send_cq = wanted.recv_cq = queue_.get();
    wanted.signal_all = true;
    auto queue_pair = vrdma::verbs_util::QueuePair::create(*device_, pd_.get(), wanted);
    if (!queue_pair) {
        return tl::make_unexpected(queue_pair.error());
    }
    queue_pair_.emplace(std::move(*queue_pair));
    return {};
}

Result<void> End::connect(const Options& options, Stream& partner) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    const auto sent =
        partner.send({{"queue_pair", vrdma::verbs_util::address_to_json(queue_pair_->address())},
                      {"memory", address},
                      {"rkey", mr_->rkey}});
    const auto message = sent ? partner.receive(kPatienceMs) : tl::make_unexpected(sent.error());
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    const auto remote = vrdma::verbs_util::address_from_json(message->at("queue_pair"));
    const auto there = vrdma::verbs_util::number_field(*message, "memory", UINT64_MAX);
    const auto rkey = vrdma::verbs_util::number_field(*message, "rkey", UINT32_MAX);
    if (!remote || !there || !rkey) {
        return fail(ErrorKind::kPartner, "the other side's addresses are not what they must be");
    }
    address_ = *there;
    rkey_ = static_cast<std::uint32_t>(*rkey);
    vrdma::verbs_util::ConnectOptions how;
    how.timeout = static_cast<std::uint8_t>(options.timeout);
    how.retry_count = static_cast<std::uint8_t>(options.retries);
    how.rnr_retry = options.scenario == "late" ? 7 : 2;
    how.min_rnr_timer = kRnrTimer;
    return queue_pair_->connect(*remote, how);
}

Result<void> End::post(ibv_wr_opcode opcode, std::uint32_t key_bits) {
    const bool atomic = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
    ibv_sge part{reinterpret_cast<std::uintptr_t>(memory_.data()), atomic ? 8U : 1024U, mr_->lkey};
    ibv_send_wr request{};
    request.sg_list = &part;
    request.num_sge = 1;
    request.opcode = opcode;
    if (atomic) {
        request.wr.atomic = {address_, 1, 0, rkey_ ^ key_bits};
    } else {
        request.wr.rdma = {address_, rkey_ ^ key_bits};
    }
    if (opcode == IBV_WR_SEND_WITH_INV) {
        request.invalidate_rkey = rkey_;
        request.send_flags = IBV_SEND_FENCE;
    }
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(queue_pair_->get(), &request, &bad);
    return error == 0 ? Result<void>{} : fail_errno(ErrorKind::kTransfer, "ibv_post_send", error);
}

Result<void> End::post_receive() {
    ibv_sge part{reinterpret_cast<std::uintptr_t>(memory_.data()), kBytes, mr_->lkey};
    ibv_recv_wr request{};
    request.sg_list = &part;
    request.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_recv(queue_pair_->get(), &request, &bad);
    return error == 0 ? Result<void>{} : fail_errno(ErrorKind::kTransfer, "ibv_post_recv", error);
}

Result<std::uint32_t> End::open_window() {
    window_mr_.reset(ibv_reg_mr(pd_.get(), memory_.data(), memory_.size(),
                                IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND));
    window_.reset(ibv_alloc_mw(pd_.get(), IBV_MW_TYPE_2));
    if (window_mr_ == nullptr || window_ == nullptr) {
        return fail_errno(ErrorKind::kSetup, "ibv_reg_mr or ibv_alloc_mw", errno);
    }
    ibv_send_wr request{};
    request.opcode = IBV_WR_BIND_MW;
    request.bind_mw = {
        .mw = window_.get(),
        .rkey = ibv_inc_rkey(window_->rkey),
        .bind_info = {.mr = window_mr_.get(),
                      .addr = reinterpret_cast<std::uintptr_t>(memory_.data()),
                      .length = kBytes,
                      .mw_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ}};
    ibv_send_wr* bad = nullptr;
    const int error = ibv_post_send(queue_pair_->get(), &request, &bad);
    if (error != 0) {
        return fail_errno(ErrorKind::kTransfer, "ibv_post_send", error);
    }
    const auto bound = completion();
    if (!bound || bound->status != IBV_WC_SUCCESS || bound->opcode != IBV_WC_BIND_MW) {
        return fail(ErrorKind::kVerification, "the bind did not complete as one");
    }
    return request.bind_mw.rkey;
}

Result<ibv_wc> End::completion() {
    const std::uint64_t deadline =
        vrdma::verbs_util::monotonic_ns() + std::uint64_t{kPatienceMs} * 1'000'000;
    ibv_wc found{};
    int count = 0;
    while ((count = ibv_poll_cq(queue_.get(), 1, &found)) == 0) {
        if (vrdma::verbs_util::monotonic_ns() > deadline) {
            return fail(ErrorKind::kTransfer, "no completion came");
        }
        std::this_thread::yield();
    }
    return count > 0 ? Result<ibv_wc>{found} : fail(ErrorKind::kTransfer, "ibv_poll_cq failed");
}

Result<void> End::broken() {
    const std::uint64_t deadline =
        vrdma::verbs_util::monotonic_ns() + std::uint64_t{kPatienceMs} * 1'000'000;
    while (vrdma::verbs_util::monotonic_ns() < deadline) {
        ibv_qp_attr attributes{};
        ibv_qp_init_attr init{};
        if (ibv_query_qp(queue_pair_->get(), &attributes, IBV_QP_STATE, &init) != 0) {
            return fail(ErrorKind::kSetup, "ibv_query_qp failed");
        }
        if (attributes.qp_state == IBV_QPS_ERR) {
            return {};
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return fail(ErrorKind::kVerification, "the queue pair is not in the error state");
}

Result<void> expect(Result<ibv_wc> found, ibv_wc_status wanted) {
    if (!found) {
        return tl::make_unexpected(found.error());
    }
    if (found->status != wanted) {
        return fail(ErrorKind::kVerification,
                    fmt::format("{}, expected {}", vrdma::verbs_util::describe_completion(*found),
                                ibv_wc_status_str(wanted)));
    }
    fmt::print("completed with {}\n", ibv_wc_status_str(wanted));
    return {};
}

// Until the other side has gone; says how long the silence took to become an error.
Result<void> until_silence(End& end) {
    std::uint64_t last = vrdma::verbs_util::monotonic_ns();
    for (std::uint64_t count = 0;; ++count) {
        if (auto posted = end.post(IBV_WR_RDMA_WRITE, 0); !posted) {
            return posted;
        }
        auto done = end.completion();
        if (!done || done->status != IBV_WC_SUCCESS) {
            auto right = expect(std::move(done), IBV_WC_RETRY_EXC_ERR);
            fmt::print("{} ms after the last success\n",
                       (vrdma::verbs_util::monotonic_ns() - last) / 1'000'000);
            return right ? end.broken() : right;
        }
        last = vrdma::verbs_util::monotonic_ns();
        if (count == 0) {
            fmt::print("transferring\n");
            std::fflush(stdout);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

// The window is used, ended, and used again.
Result<void> use_window(End& end, Stream& partner) {
    const auto message = partner.receive(kPatienceMs);
    const auto key = message ? vrdma::verbs_util::number_field(*message, "window", UINT32_MAX)
                             : tl::make_unexpected(message.error());
    if (!key) {
        return tl::make_unexpected(key.error());
    }
    end.use_key(static_cast<std::uint32_t>(*key));
    end.fill(kWritten);
    Result<void> done;
    for (const auto opcode : {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_SEND_WITH_INV}) {
        done = done ? end.post(opcode, 0) : done;
        done = done ? expect(end.completion(), IBV_WC_SUCCESS) : done;
    }
    done = done ? end.post(IBV_WR_RDMA_WRITE, 0) : done;
    done = done ? expect(end.completion(), IBV_WC_REM_ACCESS_ERR) : done;
    done = done ? end.broken() : done;
    return done ? partner.send({{"failed", true}}) : done;
}

Result<void> offer_window(End& end, Stream& partner) {
    const auto key = end.open_window();
    if (!key) {
        return tl::make_unexpected(key.error());
    }
    auto done = end.post_receive();
    done = done ? partner.send({{"window", *key}}) : done;
    const auto received = done ? end.completion() : tl::make_unexpected(done.error());
    if (!received) {
        return tl::make_unexpected(received.error());
    }
    if (received->status != IBV_WC_SUCCESS || (received->wc_flags & IBV_WC_WITH_INV) == 0 ||
        received->invalidated_rkey != *key || !end.memory_is(kWritten)) {
        return fail(ErrorKind::kVerification, "the receive does not tell of the window's end");
    }
    const auto failed = partner.receive(kPatienceMs);
    return failed ? end.broken() : tl::make_unexpected(failed.error());
}

Result<void> run_client(const std::string& scenario, End& end, Stream& partner) {
    if (scenario == "window") {
        return use_window(end, partner);
    }
    if (scenario == "silence") {
        return until_silence(end);
    }
    const bool key = scenario.starts_with("key-");
    const auto opcode = scenario == "key-write"    ? IBV_WR_RDMA_WRITE
                        : scenario == "key-read"   ? IBV_WR_RDMA_READ
                        : scenario == "key-atomic" ? IBV_WR_ATOMIC_FETCH_AND_ADD
                                                   : IBV_WR_SEND;
    auto done = end.post(opcode, key ? kWrongKeyBits : 0);
    done = done ? partner.send({{"posted", true}}) : done;
    if (scenario == "late") {
        return done ? expect(end.completion(), IBV_WC_SUCCESS) : done;
    }
    done = done ? expect(end.completion(), key ? IBV_WC_REM_ACCESS_ERR : IBV_WC_RNR_RETRY_EXC_ERR)
                : done;
    done = done ? end.broken() : done;
    return done ? partner.send({{"failed", true}}) : done;
}

Result<void> run_server(const std::string& scenario, End& end, Stream& partner) {
    if (scenario == "window") {
        return offer_window(end, partner);
    }
    if (scenario == "silence") {
        // Ended by a signal, or by the client's end.
        return partner.receive(-1).map([](const auto&) {});
    }
    if (auto posted = partner.receive(kPatienceMs); !posted) {
        return tl::make_unexpected(posted.error());
    }
    if (scenario == "late") {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        const auto done = end.post_receive();
        return done ? expect(end.completion(), IBV_WC_SUCCESS) : done;
    }
    if (auto failed = partner.receive(kPatienceMs); !failed) {
        return tl::make_unexpected(failed.error());
    }
    return scenario.starts_with("key-") ? end.broken() : Result<void>{};
}

Result<Stream> meet(const Options& options) {
    if (!options.server.empty()) {
        return Stream::connect(fmt::format("{}:{}", options.server, options.port), kPatienceMs);
    }
    auto listener = vrdma::verbs_util::Listener::listen(fmt::format(":{}", options.port));
    return listener ? listener->accept(kPatienceMs) : tl::make_unexpected(listener.error());
}

Result<void> run(Options options) {
    auto partner = meet(options);
    if (!partner) {
        return tl::make_unexpected(partner.error());
    }
    const bool client = !options.server.empty();
    if (client) {
        if (auto sent = partner->send({{"scenario", options.scenario}}); !sent) {
            return sent;
        }
    } else {
        const auto message = partner->receive(kPatienceMs);
        if (!message) {
            return tl::make_unexpected(message.error());
        }
        options.scenario = vrdma::verbs_util::text_field(*message, "scenario");
    }
    End end;
    auto done = end.create(options);
    done = done ? end.connect(options, *partner) : done;
    if (!done) {
        return done;
    }
    // Neither starts before the other can receive.
    done = partner->send({{"connected", true}});
    const auto ready = done ? partner->receive(kPatienceMs) : tl::make_unexpected(done.error());
    if (!ready) {
        return tl::make_unexpected(ready.error());
    }
    return client ? run_client(options.scenario, end, *partner)
                  : run_server(options.scenario, end, *partner);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{"vrdma-wire-error: what fails between two hosts fails as it must"};
    app.add_option("server", options.server, "host of the server; without it this is the server");
    app.add_option("-p,--port", options.port, "TCP port of the server");
    app.add_option("-x,--gid-index", options.device.gid_index, "default: RoCE v2 over IPv4");
    app.add_option("--scenario", options.scenario)
        ->check(CLI::IsMember(
            {"key-write", "key-read", "key-atomic", "window", "not-ready", "late", "silence"}));
    app.add_option("--timeout", options.timeout, "code of the local ACK timeout")
        ->check(CLI::Range(1, 31));
    app.add_option("--retries", options.retries, "repetitions after silence")
        ->check(CLI::Range(0, 7));
    CLI11_PARSE(app, argc, argv);
    const auto done = run(options);
    if (!done) {
        fmt::print(stderr, "vrdma-wire-error: FAILED: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return 0;
}
