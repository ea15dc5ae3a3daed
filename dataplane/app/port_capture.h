// The captures of one port, one after the other: from the request to start one until its memory is
// given back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/app/capture_order.h"
#include "dataplane/app/port_path.h"
#include "dataplane/control/service_model.h"
#include "dataplane/net/capture.h"
#include "dataplane/platform/worker.h"
#include "dataplane/port/packet_steering.h"

namespace vrdma::app {

// Control thread only.
class PortCapture {
  public:
    using Workers = std::vector<platform::Worker*>;
    using Paths = std::vector<std::unique_ptr<PortPath>>;  // by worker

    // Both outlive it.
    PortCapture(std::string port, const Paths& paths, const PacketSteering& steering)
        : port_(std::move(port)), paths_(paths), steering_(steering) {}
    PortCapture(const PortCapture&) = delete;
    PortCapture& operator=(const PortCapture&) = delete;

    // The bounds of what a capture may cost: memory for all workers of the port together, the bytes
    // of one answer, and the time without any question after which it ends by itself.
    static constexpr size_t kMemory = size_t{32} << 20;
    static constexpr size_t kMostPiece = size_t{4} << 20;
    static constexpr Duration kPatience = Duration::milliseconds(10'000);

    // As in ServiceModel. `workers` run and outlive it.
    void start(const Workers& workers, const CaptureOrder& order,
               control::Done<control::CaptureInfo> done);
    void read(uint32_t id, const control::Done<control::CapturePiece>& done);
    void stop(uint32_t id, control::Done<control::CaptureInfo> done);
    void end(uint32_t id, control::Done<control::CaptureInfo> done);

    // Now and then: ends the capture that nobody asks for.
    void expire(Instant now);
    [[nodiscard]] std::optional<control::CaptureInfo> info() const;

  private:
    struct Session;

    [[nodiscard]] std::shared_ptr<Session> find(uint32_t id);
    [[nodiscard]] control::ModelError none(uint32_t id) const;
    // Takes the capture out of the workers' paths, then calls `then`.
    void leave(const std::shared_ptr<Session>& session, std::function<void()> then);
    void forget(std::function<void(const control::CaptureInfo&)> then, const char* why);

    const std::string port_;
    const Paths& paths_;
    const PacketSteering& steering_;
    const Workers* workers_ = nullptr;
    std::shared_ptr<Session> session_;
};

}  // namespace vrdma::app
