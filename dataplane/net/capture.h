// A capture of one port: the rings of all workers, and what has been recorded as a pcapng file.
//
// Made and read by the control thread; each worker uses its own port().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/net/capture_port.h"

namespace vrdma::net {

struct CaptureOptions {
    std::string application;  // who writes the file,
    std::string interface;    // and of what
    CaptureSettings settings;
    std::optional<uint64_t> count{};  // ends after so many packets
    Duration since_1970{};            // of the clock's zero
};

class Capture {
  public:
    explicit Capture(CaptureOptions options) : options_(std::move(options)) {}
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    // Before it starts, for each worker in their order. `memory` as CaptureRing wants it;
    // `steering` outlives the capture.
    void add_worker(PacketPort& below, std::span<std::byte> memory, const PacketSteering& steering);
    [[nodiscard]] CapturePort& port(size_t worker) { return workers_[worker]->port; }

    // No worker has a port of it in its path any more.
    void stop() { stopped_ = true; }
    // The next bytes of the file: whole blocks, the earliest packets first. Returns how many bytes;
    // 0: nothing for now. `out` has kLeastRead bytes at least.
    static constexpr size_t kLeastRead = 16384;
    [[nodiscard]] size_t read(std::span<std::byte> out);
    // The last packet was read, and everything behind it.
    [[nodiscard]] bool over() const { return over_; }

    [[nodiscard]] uint64_t captured() const { return captured_; }  // packets that were read
    [[nodiscard]] uint64_t missed() const;
    [[nodiscard]] const CaptureOptions& options() const { return options_; }

  private:
    struct Worker {
        Worker(PacketPort& below, const CaptureSettings& settings, std::span<std::byte> memory,
               const PacketSteering* shared)
            : ring(memory), port(below, settings, ring, shared) {}
        CaptureRing ring;
        CapturePort port;
        uint64_t missed = 0;  // before the last packet that was read
    };

    [[nodiscard]] bool complete() const { return options_.count && captured_ == *options_.count; }
    [[nodiscard]] Worker* earliest(CaptureRecord& record);
    [[nodiscard]] Instant wall(Instant at) const { return at + options_.since_1970; }

    const CaptureOptions options_;
    std::vector<std::unique_ptr<Worker>> workers_;
    uint64_t captured_ = 0;
    bool begun_ = false;
    bool stopped_ = false;
    bool over_ = false;
};

}  // namespace vrdma::net
