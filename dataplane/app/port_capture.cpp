// A session is a capture and its memory. Workers get it into their paths by a job and lose it by
// another one. Whatever has to see the session holds a share of it, the jobs too, so its memory
// goes when the last worker has let go, and the next capture can start before that: jobs of one
// worker keep their order.
//
// The client fetches what has been recorded, and that is the sign that it lives. A client that
// stopped asking loses the capture, because a forgotten one costs the workers time and everybody
// memory.
//
// Identities are drawn, so that a client that missed the end of its capture, or of the service,
// does not take the next one for its own.
#include "dataplane/app/port_capture.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "dataplane/app/inspection.h"
#include "dataplane/base/check.h"
#include "dataplane/platform/clock.h"

namespace vrdma::app {
namespace {

using control::CaptureInfo;
using control::CapturePiece;
using control::ModelError;
using control::Refusal;

constexpr char kApplication[] = "vrdmad " VRDMA_VERSION;
constexpr size_t kChunk = 65536;
static_assert(kChunk >= net::Capture::kLeastRead);

// Pages that are there when a worker first writes to them.
class Pages {
  public:
    explicit Pages(size_t bytes)
        : bytes_(bytes),
          at_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)) {}
    ~Pages() {
        if (good()) {
            munmap(at_, bytes_);
        }
    }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    [[nodiscard]] bool good() const { return at_ != MAP_FAILED; }
    [[nodiscard]] std::span<std::byte> bytes() const {
        return {static_cast<std::byte*>(at_), bytes_};
    }

  private:
    const size_t bytes_;
    void* const at_;
};

Duration clock_since_1970() {
    timespec time{};
    clock_gettime(CLOCK_REALTIME, &time);
    const Instant wall{time.tv_sec * 1'000'000'000 + time.tv_nsec};
    return wall - platform::now();
}

uint32_t draw_id() {
    uint32_t id = 0;
    VR_CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
    return id;
}

struct Nothing {};

}  // namespace

struct PortCapture::Session {
    enum class State : uint8_t { Running, Leaving, Stopped };

    explicit Session(net::CaptureOptions options) : capture(std::move(options)) {}

    std::vector<std::unique_ptr<Pages>> memory;  // by worker; outlives the rings in it
    net::Capture capture;
    uint32_t id = draw_id();
    size_t memory_bytes = 0;
    State state = State::Running;
    Instant asked = platform::now();
    std::vector<std::function<void()>> when_stopped;

    [[nodiscard]] CaptureInfo info() const {
        return {.id = id,
                .snap_length = capture.options().settings.snap_length,
                .running = state == State::Running,
                .captured = capture.captured(),
                .missed = capture.missed(),
                .memory = memory_bytes};
    }
};

void PortCapture::start(const Workers& workers, const CaptureOrder& order,
                        control::Done<CaptureInfo> done) {
    if (session_) {
        done(tl::unexpected(
            ModelError{Refusal::kConflict,
                       fmt::format("port {} is captured already (capture {})", port_, session_->id),
                       "one capture of a port at a time",
                       fmt::format("end the other one; it ends by itself {} s after its client did",
                                   kPatience.ns / 1'000'000'000)}));
        return;
    }
    workers_ = &workers;
    auto session =
        std::make_shared<Session>(net::CaptureOptions{.application = kApplication,
                                                      .interface = port_,
                                                      .settings = {.snap_length = order.snap_length,
                                                                   .filter = order.filter,
                                                                   .shared_on = order.worker,
                                                                   .clock = platform::now},
                                                      .count = order.count,
                                                      .since_1970 = clock_since_1970()});
    const size_t share =
        std::max(std::bit_floor(kMemory / paths_.size()), net::CaptureRing::kLeastBytes);
    for (const auto& path : paths_) {
        session->memory.push_back(std::make_unique<Pages>(share));
        if (!session->memory.back()->good()) {
            done(tl::unexpected(ModelError{
                Refusal::kExhausted,
                fmt::format("no memory for a capture: {}", std::strerror(errno)),
                fmt::format("{} MiB", kMemory >> 20), "free memory on the host, or limit less"}));
            return;
        }
        session->memory_bytes += share;
        session->capture.add_worker(path->device(), session->memory.back()->bytes(), steering_);
    }
    session_ = session;
    spdlog::info("port {}: capture {} started", port_, session->id);
    gather<Nothing>(
        workers,
        [this, session](Shard& shard, Nothing&) {
            const uint32_t worker = shard.state().config.shard;
            session->capture.port(worker).ask(shard.multicast());
            paths_[worker]->set_capture(&session->capture.port(worker));
            return true;
        },
        [session, done = std::move(done)](std::vector<Nothing>&) { done(session->info()); });
}

void PortCapture::read(uint32_t id, const control::Done<CapturePiece>& done) {
    const auto session = find(id);
    if (!session) {
        done(tl::unexpected(none(id)));
        return;
    }
    CapturePiece piece;
    size_t got = 1;
    while (got != 0 && piece.bytes.size() + kChunk <= kMostPiece) {
        const size_t at = piece.bytes.size();
        piece.bytes.resize(at + kChunk);
        got = session->capture.read(std::as_writable_bytes(std::span(piece.bytes).subspan(at)));
        piece.bytes.resize(at + got);
    }
    piece.over = session->capture.over() && piece.bytes.empty();
    if (session->capture.over()) {
        leave(session, [] {});
    }
    done(std::move(piece));
}

void PortCapture::stop(uint32_t id, control::Done<CaptureInfo> done) {
    const auto session = find(id);
    if (!session) {
        done(tl::unexpected(none(id)));
        return;
    }
    leave(session, [session, done = std::move(done)] { done(session->info()); });
}

void PortCapture::end(uint32_t id, control::Done<CaptureInfo> done) {
    if (!find(id)) {
        done(tl::unexpected(none(id)));
        return;
    }
    forget([done = std::move(done)](const CaptureInfo& info) { done(info); }, "by its client");
}

void PortCapture::expire(Instant now) {
    if (session_ && now - session_->asked > kPatience) {
        forget([](const CaptureInfo&) {}, "because its client does not fetch it any more");
    }
}

std::optional<CaptureInfo> PortCapture::info() const {
    return session_ ? std::optional(session_->info()) : std::nullopt;
}

std::shared_ptr<PortCapture::Session> PortCapture::find(uint32_t id) {
    if (!session_ || session_->id != id) {
        return nullptr;
    }
    session_->asked = platform::now();
    return session_;
}

ModelError PortCapture::none(uint32_t id) const {
    return {Refusal::kNotFound, fmt::format("port {} has no capture {}", port_, id),
            session_ ? fmt::format("the one that runs: {}", session_->id) : "none runs",
            fmt::format("start one; a capture that nobody fetches for {} s ends",
                        kPatience.ns / 1'000'000'000)};
}

void PortCapture::leave(const std::shared_ptr<Session>& session, std::function<void()> then) {
    using State = Session::State;
    if (session->state == State::Stopped) {
        then();
        return;
    }
    session->when_stopped.push_back(std::move(then));
    if (std::exchange(session->state, State::Leaving) == State::Leaving) {
        return;
    }
    gather<Nothing>(
        *workers_,
        [this](Shard& shard, Nothing&) {
            paths_[shard.state().config.shard]->set_capture(nullptr);
            return true;
        },
        [session](std::vector<Nothing>&) {
            session->state = State::Stopped;
            session->capture.stop();
            for (const auto& call : std::exchange(session->when_stopped, {})) {
                call();
            }
        });
}

void PortCapture::forget(std::function<void(const CaptureInfo&)> then, const char* why) {
    const auto session = std::exchange(session_, nullptr);
    leave(session, [session, port = port_, then = std::move(then), why] {
        const CaptureInfo info = session->info();
        spdlog::info("port {}: capture {} ended {}: captured={} missed={}", port, info.id, why,
                     info.captured, info.missed);
        then(info);
    });
}

}  // namespace vrdma::app
