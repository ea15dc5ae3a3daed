// A port on a DPDK Ethernet device that may come and go.
//
// The control thread drives its life with step(); each worker uses its own queue(), whatever the
// state of the device: without one, nothing is received and what is sent is dropped and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/base/time.h"
#include "dataplane/platform/ethdev_device.h"
#include "dataplane/port/packet_port.h"
#include "dataplane/port/packet_steering.h"
#include "dataplane/port/waker.h"

struct rte_mempool;
struct rte_ring;

namespace vrdma::platform {

struct EthdevSettings {
    std::string name;
    std::string devargs;
    uint32_t mtu = 0;     // 0: the device's own
    uint32_t queues = 0;  // 0: one for each worker
    uint32_t workers = 1;
};

enum class AttachState : uint8_t {
    Absent,    // the device does not exist
    Waiting,   // it exists; its other side does not
    Attached,  // in use; the link may be up or down
    Leaving,   // workers are finishing their bursts
};

struct EthdevStatus {
    AttachState state = AttachState::Absent;
    bool link_up = false;
    std::string reason;  // why it is not attached or the link not up
    std::string driver;
    wire::Mac mac;
    uint32_t mtu = 0;
    uint32_t queues = 0;
    bool wakes = false;        // sleeping workers are woken by arrivals
    uint64_t attachments = 0;  // times the device came
    uint64_t link_losses = 0;  // times the link went down or the device vanished
    uint32_t free_buffers = 0;
    uint32_t buffers = 0;
};

class EthdevPort {
  public:
    // Takes memory; the device itself is looked for by step(). After start_eal(). `steering` is
    // asked only with more than one worker.
    [[nodiscard]] static tl::expected<std::unique_ptr<EthdevPort>, std::string> make(
        EthdevSettings settings, const PacketSteering& steering, Waker& waker);
    // The workers have stopped, and nobody holds a buffer.
    ~EthdevPort();
    EthdevPort(const EthdevPort&) = delete;
    EthdevPort& operator=(const EthdevPort&) = delete;

    // Control thread, about every kStep: looks after the device. Returns a line for the log when
    // something changed, else an empty one.
    static constexpr Duration kStep = Duration::milliseconds(100);
    [[nodiscard]] std::string step(Instant now);
    // Every worker has to finish what it is doing (a job on each) before quiet() is called.
    [[nodiscard]] bool wants_quiet() const { return wants_quiet_; }
    void quiet(Instant now);

    // Worker i's own end.
    [[nodiscard]] PacketPort& queue(uint32_t worker);
    [[nodiscard]] EthdevStatus status() const;
    // The longest IP packet. Before the device has come it is the configured one, 0 if none is.
    [[nodiscard]] uint32_t mtu() const { return mtu_.load(std::memory_order_relaxed); }
    [[nodiscard]] const EthdevSettings& settings() const { return settings_; }

  private:
    class Queue;

    EthdevPort(EthdevSettings settings, const PacketSteering& steering, Waker& waker);
    [[nodiscard]] std::string attach(Instant now);
    [[nodiscard]] std::string begin(Instant now);
    [[nodiscard]] std::string watch(Instant now);
    [[nodiscard]] std::string say(const char* state, std::string reason);
    void take_mtu();
    void leave(bool remove);
    void drop_device();
    // Received buffers that workers, queue pairs and rings have.
    [[nodiscard]] int64_t held() const;

    const EthdevSettings settings_;
    const PacketSteering& steering_;
    Waker& waker_;
    const uint32_t payload_shift_;
    rte_mempool* pool_ = nullptr;
    uint32_t buffers_ = 0;
    // Of a device that keeps what it has when it goes: it gets buffers of its own, which go with
    // it.
    const bool loses_buffers_;
    rte_mempool* device_pool_ = nullptr;
    std::vector<rte_mempool*> retired_;   // of devices before; freed when nothing is held
    std::vector<rte_ring*> to_worker_;    // received frames that another worker took
    std::vector<rte_ring*> from_worker_;  // frames of workers without a queue, by queue
    std::vector<std::unique_ptr<Queue>> queues_;

    // What workers see: the device while they may use it.
    std::atomic<const EthdevDevice*> open_{nullptr};
    std::atomic<bool> link_up_{false};
    std::atomic<uint32_t> mtu_;

    // Control thread only.
    std::unique_ptr<EthdevDevice> device_;
    AttachState state_ = AttachState::Absent;
    bool wants_quiet_ = false;
    bool remove_ = false;  // when quiet
    Instant next_try_;
    Instant link_wanted_by_ = Instant::never();
    std::string reason_;
    wire::Mac last_mac_;
    uint64_t attachments_ = 0;
    uint64_t link_losses_ = 0;
};

}  // namespace vrdma::platform
