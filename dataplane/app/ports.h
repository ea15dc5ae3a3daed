// The ports of the configuration, running: devices, and a link for each port and worker.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <tl/expected.hpp>

#include "dataplane/app/cm_counters.h"
#include "dataplane/app/port_capture.h"
#include "dataplane/app/port_path.h"
#include "dataplane/control/configuration.h"
#include "dataplane/control/service_model.h"
#include "dataplane/platform/ethdev_port.h"
#include "dataplane/platform/worker.h"

namespace vrdma::app {

class Ports {
  public:
    using Workers = std::vector<platform::Worker*>;

    // Takes the memory of all ports; devices are looked for later. After the EAL has started.
    [[nodiscard]] static tl::expected<std::unique_ptr<Ports>, std::string> make(
        const control::Configuration& configuration, const PacketSteering& steering, Waker& waker);
    // The workers have stopped.
    ~Ports();
    Ports(const Ports&) = delete;
    Ports& operator=(const Ports&) = delete;

    struct Served {
        net::Link* link;
        control::PeerKind peers;
        bool spray;
    };
    // The link of each port for one worker, in the same order for each.
    [[nodiscard]] std::vector<Served> links_of(uint32_t worker) const;

    // Control thread, once the workers run: looks after the devices from now on.
    void run(boost::asio::io_context& io, const Workers& workers);
    void stop();

    // Who is behind the port of a network.
    void set_addresses(uint32_t network, std::vector<net::LocalAddress> addresses);

    [[nodiscard]] std::vector<uint32_t> networks() const;
    // The longest IP packet of the network's port; 0: it has none.
    [[nodiscard]] uint32_t mtu(uint32_t network) const;
    // Called when that has changed; the shards learn it without.
    void on_mtu(std::function<void(uint32_t network)> changed) {
        mtu_changed_ = std::move(changed);
    }
    // What connection management counts for the port of a network.
    using ConnectionCounters = std::function<const CmCounters&(uint32_t network)>;
    void set_connection_counters(ConnectionCounters counters) {
        connection_counters_ = std::move(counters);
    }

    // Puts the faults between every link of the port and its device, or takes them away; then
    // calls `done`. The port exists.
    void set_faults(std::string_view name, const std::optional<control::PortFaults>& faults,
                    std::function<void()> done);

    // Captures of the port, which exists.
    void start_capture(std::string_view name, const CaptureOrder& order,
                       control::Done<control::CaptureInfo> done);
    [[nodiscard]] PortCapture& capture(std::string_view name) { return find(name).capture; }

    // `done` gets all ports, or the one of this name; by name.
    void describe(std::function<void(std::vector<control::PortInfo>)> done) const;

  private:
    struct Port {
        Port(const control::PortConfig& from, const PacketSteering& steering)
            : config(from), capture(from.name, paths, steering) {}

        control::PortConfig config;
        uint32_t network_id = 0;
        uint32_t mtu = 0;  // that the shards know
        std::unique_ptr<platform::EthdevPort> device;
        PortCapture::Paths paths;
        std::optional<control::PortFaults> faults;  // while these are in the path
        PortCapture capture;
    };

    Ports() = default;
    [[nodiscard]] Port& find(std::string_view name);
    void step();
    void tell_mtu(Port& port);
    void wait();

    std::vector<std::unique_ptr<Port>> ports_;
    std::unique_ptr<boost::asio::steady_timer> timer_;
    const Workers* workers_ = nullptr;
    ConnectionCounters connection_counters_;
    std::function<void(uint32_t)> mtu_changed_;
};

}  // namespace vrdma::app
