// One DPDK Ethernet device, from devargs to bursts and back. Control thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/platform/network_interface.h"
#include "dataplane/wire/address.h"

struct rte_mempool;

namespace vrdma::platform {

// What has to be known about a driver because the driver does not say it.
enum class DriverKind : uint8_t {
    Memif,
    AfPacket,
    AfXdp,
    Tap,
    Other,  // net_null, net_ring, ... : nothing behind it that could be asked
    Physical,
};
[[nodiscard]] DriverKind driver_kind(const std::string& devargs);
// "0000:3b:00.0", "net_memif0".
[[nodiscard]] std::string device_name(const std::string& devargs);
// The value of `key` in "name,key=value,..."; empty if it has none.
[[nodiscard]] std::string device_argument(const std::string& devargs, const std::string& key);
// The data room of a buffer that the device takes and that holds as long a frame as it can carry.
[[nodiscard]] uint32_t buffer_room(const std::string& devargs);
// How much further back than usual a frame begins in a buffer to be sent, so that the payload
// begins a cache line: a store across two costs as much as two.
[[nodiscard]] uint32_t payload_shift(const std::string& devargs);

struct DeviceFacts {
    uint16_t port = 0;    // DPDK's number
    uint16_t queues = 0;  // receive and transmit each
    uint32_t mtu = 0;     // of IP packets; the device's own, for the control thread
    wire::Mac mac;
    std::string driver;
    bool receive_interrupts = false;
};

class EthdevDevice {
  public:
    // Makes the device and configures up to `most_queues` queues. The error says what DPDK said.
    [[nodiscard]] static tl::expected<std::unique_ptr<EthdevDevice>, std::string> make(
        const std::string& devargs, uint32_t most_queues, uint32_t mtu, rte_mempool* pool);
    // Stops and removes it. No worker may be in a burst.
    ~EthdevDevice();
    EthdevDevice(const EthdevDevice&) = delete;
    EthdevDevice& operator=(const EthdevDevice&) = delete;

    [[nodiscard]] tl::expected<void, std::string> start();
    void stop();
    [[nodiscard]] bool started() const { return started_; }
    [[nodiscard]] bool link_up() const;
    // The MTU of the interface behind the device may have been changed; facts() have it then.
    void look_at_mtu();
    // The device, or what stands behind it, is gone and will not come back to this object.
    [[nodiscard]] bool vanished() const;
    // A device that makes its connection only when it is started.
    [[nodiscard]] bool connects_at_start() const;
    [[nodiscard]] const DeviceFacts& facts() const { return facts_; }

    // A file that becomes readable when frames arrive for `queue`; -1 if there is none.
    [[nodiscard]] int wake_file(uint16_t queue) const;
    // Worker of `queue`, before and after sleeping.
    // True: frames were announced that may not be there yet.
    bool arm(uint16_t queue) const;
    void disarm(uint16_t queue) const;

  private:
    EthdevDevice(std::string devargs, uint16_t port);
    [[nodiscard]] tl::expected<void, std::string> configure(uint32_t most_queues, uint32_t mtu,
                                                            rte_mempool* pool);
    [[nodiscard]] int set_up_queue(uint16_t queue, uint16_t receive, uint16_t transmit,
                                   rte_mempool* pool);
    void find_interface(unsigned index);
    void find_mac();
    void find_mtu(uint32_t wanted);
    void take_mtu(uint32_t of_interface);
    void find_wake_files();
    void hear_groups();
    [[nodiscard]] bool ends_in_interrupts() const;

    const std::string devargs_;
    const DriverKind kind_;
    std::string interface_;    // behind the device; empty: none
    InterfaceState attached_;  // the interface when the device was made
    DeviceFacts facts_;
    bool started_ = false;
    std::vector<std::unique_ptr<ArrivalSocket>> arrivals_;  // by queue
    std::vector<int> interrupt_files_;                      // by queue; -1: none
    std::optional<AllMulticast> multicast_;
    std::vector<int> xdp_sockets_;  // the driver's, by queue; -1: none
};

}  // namespace vrdma::platform
