#include "tests/e2e/fault_client/bystander.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>

#include "tests/e2e/fault_client/async_events.h"
#include "tests/e2e/fault_client/link.h"
#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/pattern.h"
#include "tools/verbs_util/tsc.h"

// Two ends in one process, each with a device context of its own, so that nothing but the service
// stands between them. WRITE, READ and SEND take turns in both directions, one at a time; each
// carries data of its own, the target is overwritten beforehand, and source and target are compared
// byte by byte. Besides errors the longest wait for a completion is reported: a neighbour's death
// must not stall anybody.

namespace vrdma::fault {

namespace {

using verbs_util::Device;
using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::monotonic_ns;
using verbs_util::Pattern;
using verbs_util::Result;

constexpr std::uint64_t kPatienceNs = 20'000'000'000;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kBackgroundSeed = 0x6261636b;

std::atomic<bool> stop_requested{false};

void request_stop(int /*signal*/) {
    stop_requested.store(true);
}

class Bystander {
  public:
    Bystander(const BystanderOptions& options, EventLog& log) : options_(options), log_(log) {}

    Result<void> run() {
        if (auto ready = set_up(); !ready) {
            return ready;
        }
        (void)log_.write("transferring", {{"size", options_.size}});
        const std::uint64_t stop =
            options_.seconds == 0 ? UINT64_MAX : monotonic_ns() + options_.seconds * kNsPerSecond;
        std::uint64_t next_report = monotonic_ns() + options_.report_ms * kNsPerMs;
        while (!stop_requested.load(std::memory_order_relaxed)) {
            if (auto done = transfer(); !done) {
                report("summary", 1);
                return done;
            }
            ++operations_;
            const std::uint64_t now = monotonic_ns();
            if (now >= next_report) {
                report("progress", 0);
                longest_since_report_ = 0;
                next_report = now + options_.report_ms * kNsPerMs;
            }
            if (now >= stop) {
                break;
            }
        }
        report("summary", 0);
        return {};
    }

  private:
    /// Opens a device of its own for end `end`.
    Result<void> set_up_end(std::size_t end) {
        verbs_util::DeviceOptions wanted = options_.device;
        if (end == 1 && !options_.peer_device.empty()) {
            wanted.name = options_.peer_device;
        }
        auto device = Device::open(wanted);
        if (!device) {
            return tl::make_unexpected(device.error());
        }
        LinkOptions link;
        link.size = options_.size;
        link.memory = options_.memory;
        auto made = Link::create(std::move(*device), link);
        if (!made) {
            return tl::make_unexpected(made.error());
        }
        links_[end] = std::move(*made);
        auto events = AsyncEvents::watch(links_[end]->device());
        if (!events) {
            return tl::make_unexpected(events.error());
        }
        events_[end] = *events;
        return {};
    }

    Result<void> set_up() {
        auto done = set_up_end(0);
        if (done) {
            done = set_up_end(1);
        }
        if (done) {
            done = links_[0]->connect(links_[1]->describe());
        }
        return done ? links_[1]->connect(links_[0]->describe()) : done;
    }

    std::byte* at(std::size_t end, Link::Part part) const {
        return static_cast<std::byte*>(links_[end]->region(0).addr) + links_[end]->offset_of(part);
    }

    Result<void> transfer() {
        constexpr std::array kOpcodes = {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_SEND};
        const ibv_wr_opcode opcode = kOpcodes[operations_ % kOpcodes.size()];
        const std::size_t poster = operations_ / kOpcodes.size() % 2;
        const std::size_t other = 1 - poster;
        const Pattern content(operations_);
        const Pattern background(kBackgroundSeed ^ operations_);
        // A READ takes from the shared part of the other end; a WRITE goes there.
        std::byte* source = at(poster, Link::Part::kSource);
        std::byte* target = at(other, Link::Part::kShared);
        if (opcode == IBV_WR_RDMA_READ) {
            std::swap(source, target);
        } else if (opcode == IBV_WR_SEND) {
            target = at(other, Link::Part::kReceive);
        }
        content.fill(source, options_.size);
        background.fill(target, options_.size);
        auto done = post(opcode, poster);
        if (done) {
            done = wait(opcode, poster);
        }
        if (done) {
            done = check(opcode, "source", content, source);
        }
        if (done) {
            done = check(opcode, "target", content, target);
        }
        return done ? check_events() : done;
    }

    Result<void> post(ibv_wr_opcode opcode, std::size_t poster) {
        Link& near = *links_[poster];
        Link& far = *links_[1 - poster];
        if (opcode == IBV_WR_SEND) {
            ibv_sge segment{reinterpret_cast<std::uintptr_t>(at(1 - poster, Link::Part::kReceive)),
                            options_.size, far.region(0).lkey};
            ibv_recv_wr request{};
            request.sg_list = &segment;
            request.num_sge = 1;
            ibv_recv_wr* bad = nullptr;
            if (const int rc = ibv_post_recv(far.qp(0).get(), &request, &bad); rc != 0) {
                return verbs_util::fail_errno(ErrorKind::kTransfer, "ibv_post_recv", rc);
            }
        }
        ibv_sge segment{reinterpret_cast<std::uintptr_t>(at(poster, Link::Part::kSource)),
                        options_.size, near.region(0).lkey};
        ibv_send_wr request{};
        request.wr_id = operations_;
        request.sg_list = &segment;
        request.num_sge = 1;
        request.opcode = opcode;
        request.send_flags = IBV_SEND_SIGNALED;
        request.wr.rdma.remote_addr = near.remote(0).address + near.offset_of(Link::Part::kShared);
        request.wr.rdma.rkey = near.remote(0).rkey;
        ibv_send_wr* bad = nullptr;
        if (const int rc = ibv_post_send(near.qp(0).get(), &request, &bad); rc != 0) {
            return verbs_util::fail_errno(ErrorKind::kTransfer, "ibv_post_send", rc);
        }
        return {};
    }

    Result<void> wait(ibv_wr_opcode opcode, std::size_t poster) {
        const std::uint64_t start = monotonic_ns();
        auto done = wait_one(poster, start);
        if (done && opcode == IBV_WR_SEND) {
            done = wait_one(1 - poster, start);
        }
        const std::uint64_t waited = monotonic_ns() - start;
        longest_ = std::max(longest_, waited);
        longest_since_report_ = std::max(longest_since_report_, waited);
        return done;
    }

    Result<void> wait_one(std::size_t end, std::uint64_t start) {
        ibv_wc completion{};
        verbs_util::Spinner spinner;
        while (ibv_poll_cq(links_[end]->cqs()[0].get(), 1, &completion) == 0) {
            if (monotonic_ns() - start > kPatienceNs) {
                return fail(ErrorKind::kTransfer,
                            fmt::format("operation {} did not complete for 20 s", operations_));
            }
            spinner.idle();
        }
        if (completion.status != IBV_WC_SUCCESS) {
            return fail(ErrorKind::kTransfer,
                        fmt::format("operation {}: {}", operations_,
                                    verbs_util::describe_completion(completion)),
                        verbs_util::remedy_for_status(completion.status));
        }
        return {};
    }

    Result<void> check(ibv_wr_opcode opcode, const char* what, const Pattern& content,
                       const std::byte* memory) const {
        const auto mismatch = content.check(memory, options_.size);
        if (!mismatch) {
            return {};
        }
        return fail(ErrorKind::kVerification,
                    fmt::format("operation {} ({}): {} is wrong: {}", operations_,
                                verbs_util::opcode_name(opcode), what, mismatch->describe()));
    }

    Result<void> check_events() {
        constexpr std::uint64_t kOperationsPerLook = 64;
        if (operations_ % kOperationsPerLook != 0) {
            return {};
        }
        for (const AsyncEvents& events : events_) {
            if (const auto event = events.take()) {
                return fail(ErrorKind::kTransfer,
                            fmt::format("unexpected event: {}", ibv_event_type_str(event->type)));
            }
        }
        return {};
    }

    void report(const char* event, int errors) {
        (void)log_.write(event, {{"operations", operations_},
                                 {"errors", errors},
                                 {"longest_wait_ns", longest_},
                                 {"longest_wait_since_report_ns", longest_since_report_}});
    }

    const BystanderOptions& options_;
    EventLog& log_;
    std::array<std::unique_ptr<Link>, 2> links_;
    std::array<AsyncEvents, 2> events_;
    std::uint64_t operations_ = 0;
    std::uint64_t longest_ = 0;
    std::uint64_t longest_since_report_ = 0;
};

}  // namespace

Result<void> run_bystander(const BystanderOptions& options, EventLog& log) {
    struct sigaction action {};
    action.sa_handler = request_stop;
    (void)sigaction(SIGTERM, &action, nullptr);
    (void)sigaction(SIGINT, &action, nullptr);
    return Bystander(options, log).run();
}

}  // namespace vrdma::fault
