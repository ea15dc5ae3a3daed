// What lies between one worker and one port: the link, and below it the layers that are wanted.
//
//     link - fault injection - capture - device
//
// A layer that is off is not in the way of a packet at all.
#pragma once

#include <optional>

#include "dataplane/net/capture_port.h"
#include "dataplane/net/fault_port.h"
#include "dataplane/net/link.h"

namespace vrdma::app {

class PortPath {
  public:
    PortPath(PacketPort& device, const net::LinkOptions& options)
        : device_(device), faults_(device), link_(std::in_place, device, options) {}
    // The worker has stopped.
    ~PortPath();
    PortPath(const PortPath&) = delete;
    PortPath& operator=(const PortPath&) = delete;

    [[nodiscard]] PacketPort& device() { return device_; }
    [[nodiscard]] net::Link& link() { return *link_; }
    [[nodiscard]] const net::Link& link() const { return *link_; }
    [[nodiscard]] const net::FaultPort& faults() const { return faults_; }

    // The worker, between two turns.
    struct Faults {
        net::FaultSettings sending;
        net::FaultSettings receiving;
        uint64_t seed = 0;
    };
    void set_faults(const std::optional<Faults>& faults);
    // Null takes it away: the worker does not touch it any more.
    void set_capture(net::CapturePort* capture);

  private:
    void connect();

    PacketPort& device_;
    net::CapturePort* capture_ = nullptr;
    net::FaultPort faults_;
    bool faulty_ = false;
    std::optional<net::Link> link_;  // the first to go: it gives its buffers to what is below
};

}  // namespace vrdma::app
