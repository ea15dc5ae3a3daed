// The states of a port: Absent, its device cannot be made yet; Waiting, it is made but does not
// start (a memif client whose server is not there); Attached, workers use it; Leaving, it vanished
// or lost its connection and the workers have to be out of it before it is stopped. Attempts are
// repeated every half second, and only a changed reason is worth a line in the log.
//
// Workers find the device through one pointer. The control thread clears it, has every worker run
// an empty job, and knows then that nobody is in a burst: no lock and no counter on the way of a
// packet.
//
// Buffers belong to the port and outlive the device: what a queue pair or the neighbour table holds
// stays valid when the device goes. af_xdp's driver does not give back those that the kernel has,
// not even when it fails to start: each of its devices receives into buffers of its own, which are
// freed after it, once nobody holds any of them.
//
// When the device has fewer queues than there are workers, or spreads frames by its own rules, the
// worker that received a frame asks which worker it is for and hands it over in a ring; workers
// without a queue hand over what they send.
#include "dataplane/platform/ethdev_port.h"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "dataplane/base/check.h"

namespace vrdma::platform {
namespace {

constexpr uint32_t kMostBuffers = 4096;
constexpr uint32_t kOwnBuffers = 1023;      // where the device has others to receive into
constexpr uint32_t kPoolBytes = 20U << 20;  // of the 64 MiB that DPDK gets by default
constexpr uint32_t kBufferCache = 64;
constexpr uint32_t kHandoffEntries = 1024;
constexpr uint32_t kEthernetBytes = 14;
constexpr Duration kRetry = Duration::milliseconds(500);
constexpr Duration kHandshake = Duration::milliseconds(2000);  // of a memif connection
// Devices that can wake nobody are looked at, often while frames come and less and less often
// afterwards: 50 us, and twice as long after every 16 looks in vain, up to 1.6 ms.
constexpr Duration kShortestLook = Duration::microseconds(50);
constexpr uint32_t kLooksBeforeLonger = 16;
constexpr uint32_t kMostDoublings = 5;
// Frames that were announced and are not there yet: 50 us, 100 us, ... 6.4 ms.
constexpr uint32_t kLooksAfterArrival = 8;

std::string unique_name(const char* kind) {
    static uint32_t number = 0;
    return fmt::format("vrdma_{}{}", kind, number++);
}

rte_mbuf* mbuf_of(const PacketBuffer& packet) {
    return static_cast<rte_mbuf*>(packet.handle);
}

PacketBuffer buffer_of(rte_mbuf* mbuf) {
    return {rte_pktmbuf_mtod(mbuf, std::byte*), rte_pktmbuf_data_len(mbuf),
            static_cast<uint32_t>(mbuf->buf_len - mbuf->data_off), mbuf};
}

rte_mempool* make_pool(uint32_t buffers, uint32_t room) {
    return rte_pktmbuf_pool_create(unique_name("buffers").c_str(), buffers, kBufferCache, 0,
                                   static_cast<uint16_t>(room), SOCKET_ID_ANY);
}

// A memif server that died left its socket; the driver's bind() would fail on it for ever.
void remove_dead_socket(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return;
    }
    std::copy(path.begin(), path.end(), address.sun_path);
    const int file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (file < 0) {
        return;
    }
    if (connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno == ECONNREFUSED) {
        unlink(path.c_str());
    }
    close(file);
}

}  // namespace

class EthdevPort::Queue final : public PacketPort {
  public:
    Queue(EthdevPort& port, uint32_t worker)
        : port_(port), worker_(worker), alone_(port.settings_.workers == 1) {}

    size_t receive(std::span<PacketBuffer> into, Instant) override {
        size_t count = alone_ ? 0 : take_handed_over(into);
        const EthdevDevice* device = port_.open_.load(std::memory_order_acquire);
        if (device == nullptr || worker_ >= device->facts().queues || count == into.size()) {
            return count;
        }
        if (!alone_) {
            send_handed_over(*device);
        }
        std::array<rte_mbuf*, kMaxBurst> mbufs;
        const size_t most = std::min(mbufs.size(), into.size() - count);
        const uint16_t received =
            rte_eth_rx_burst(device->facts().port, static_cast<uint16_t>(worker_), mbufs.data(),
                             static_cast<uint16_t>(most));
        looks_in_vain_ = received == 0 ? looks_in_vain_ : 0;
        size_t whole = 0;
        for (uint16_t i = 0; i < received; ++i) {
            if (mbufs[i]->nb_segs != 1) [[unlikely]] {
                ++statistics_.receive_dropped_segments;
                rte_pktmbuf_free(mbufs[i]);
                continue;
            }
            PacketBuffer& packet = into[count + whole++];
            packet = buffer_of(mbufs[i]);
            note_held(mbufs[i], 1);
            ++statistics_.received_packets;
            statistics_.received_bytes += packet.length;
        }
        return count + (alone_ ? whole : hand_over(into.subspan(count, whole)));
    }

    size_t allocate(std::span<PacketBuffer> into) override {
        std::array<rte_mbuf*, kMaxBurst> mbufs;
        const size_t count = std::min(into.size(), mbufs.size());
        if (rte_pktmbuf_alloc_bulk(port_.pool_, mbufs.data(), static_cast<unsigned>(count)) != 0) {
            ++statistics_.no_buffer;
            return 0;
        }
        for (size_t i = 0; i < count; ++i) {
            mbufs[i]->data_off = static_cast<uint16_t>(mbufs[i]->data_off + port_.payload_shift_);
            into[i] = buffer_of(mbufs[i]);
        }
        return count;
    }

    size_t send(std::span<PacketBuffer> packets, Instant) override {
        const EthdevDevice* device = port_.open_.load(std::memory_order_acquire);
        if (device == nullptr || !port_.link_up_.load(std::memory_order_relaxed)) {
            statistics_.send_dropped_down += packets.size();
            release(packets);
            return packets.size();
        }
        std::array<rte_mbuf*, kMaxBurst> mbufs;
        const size_t count = std::min(packets.size(), mbufs.size());
        for (size_t i = 0; i < count; ++i) {
            rte_mbuf* mbuf = mbuf_of(packets[i]);
            mbuf->data_len = static_cast<uint16_t>(packets[i].length);
            mbuf->pkt_len = packets[i].length;
            mbufs[i] = mbuf;
        }
        size_t sent = 0;
        if (worker_ < device->facts().queues) {
            sent = rte_eth_tx_burst(device->facts().port, static_cast<uint16_t>(worker_),
                                    mbufs.data(), static_cast<uint16_t>(count));
        } else {
            const uint32_t queue = worker_ % device->facts().queues;
            sent = rte_ring_mp_enqueue_burst(port_.from_worker_[queue],
                                             reinterpret_cast<void**>(mbufs.data()),
                                             static_cast<unsigned>(count), nullptr);
            port_.waker_.wake(queue);
        }
        statistics_.sent_packets += sent;
        for (size_t i = 0; i < sent; ++i) {
            statistics_.sent_bytes += packets[i].length;
        }
        return sent;
    }

    void release(std::span<PacketBuffer> packets) override {
        for (const PacketBuffer& packet : packets) {
            note_held(mbuf_of(packet), -1);
            rte_pktmbuf_free(mbuf_of(packet));
        }
    }
    int64_t held() const { return held_.load(std::memory_order_relaxed); }

    uint32_t max_frame_bytes() const override {
        return port_.mtu_.load(std::memory_order_relaxed) + kEthernetBytes;
    }
    std::array<uint8_t, 6> mac() const override {
        const EthdevDevice* device = port_.open_.load(std::memory_order_acquire);
        return device == nullptr ? std::array<uint8_t, 6>{} : device->facts().mac.bytes;
    }
    bool up() const override { return port_.link_up_.load(std::memory_order_relaxed); }
    PortStatistics statistics() const override { return statistics_; }

    void arm() override {
        ++looks_in_vain_;
        looks_due_ -= looks_due_ == 0 ? 0 : 1;
        const EthdevDevice* device = own_device();
        if (device != nullptr && device->arm(static_cast<uint16_t>(worker_))) {
            looks_due_ = kLooksAfterArrival;
        }
    }
    void disarm() override {
        if (const EthdevDevice* device = own_device()) {
            device->disarm(static_cast<uint16_t>(worker_));
        }
    }
    int wake_file() const override {
        const EthdevDevice* device = own_device();
        return device == nullptr ? -1 : device->wake_file(static_cast<uint16_t>(worker_));
    }
    Duration poll_interval() const override {
        const EthdevDevice* device = own_device();
        const bool must_poll = device != nullptr && up() && wake_file() < 0;
        if (looks_due_ != 0) {
            return kShortestLook * (int64_t{1} << (kLooksAfterArrival - looks_due_));
        }
        const uint32_t doublings = std::min(looks_in_vain_ / kLooksBeforeLonger, kMostDoublings);
        return must_poll ? kShortestLook * (int64_t{1} << doublings) : Duration{INT64_MAX};
    }

  private:
    const EthdevDevice* own_device() const {
        const EthdevDevice* device = port_.open_.load(std::memory_order_acquire);
        return device != nullptr && worker_ < device->facts().queues ? device : nullptr;
    }

    // Of the device's buffers; they are released where they arrive, never sent.
    void note_held(const rte_mbuf* mbuf, int64_t change) {
        if (port_.loses_buffers_ && mbuf->pool != port_.pool_) [[unlikely]] {
            held_.store(held() + change, std::memory_order_relaxed);
        }
    }

    size_t take_handed_over(std::span<PacketBuffer> into) {
        std::array<rte_mbuf*, kMaxBurst> mbufs;
        const unsigned count = rte_ring_sc_dequeue_burst(
            port_.to_worker_[worker_], reinterpret_cast<void**>(mbufs.data()),
            static_cast<unsigned>(std::min(mbufs.size(), into.size())), nullptr);
        for (unsigned i = 0; i < count; ++i) {
            into[i] = buffer_of(mbufs[i]);
        }
        return count;
    }

    void give(uint32_t worker, rte_mbuf* mbuf) {
        if (rte_ring_mp_enqueue(port_.to_worker_[worker], mbuf) != 0) {
            ++statistics_.receive_dropped_handoff;
            note_held(mbuf, -1);
            rte_pktmbuf_free(mbuf);
            return;
        }
        port_.waker_.wake(worker);
    }

    // Keeps this worker's frames at the front of `frames`; returns how many.
    size_t hand_over(std::span<PacketBuffer> frames) {
        if (frames.empty()) {
            return 0;
        }
        std::array<uint16_t, kMaxBurst> workers;
        port_.steering_.steer(frames, std::span(workers).first(frames.size()));
        size_t kept = 0;
        for (size_t i = 0; i < frames.size(); ++i) {
            const uint16_t worker = workers[i];
            if (worker == PacketSteering::kEveryWorker) {
                for (uint32_t other = 0; other < port_.settings_.workers; ++other) {
                    rte_mbuf* copy =
                        other == worker_
                            ? nullptr
                            : rte_pktmbuf_copy(mbuf_of(frames[i]), port_.pool_, 0, UINT32_MAX);
                    if (copy != nullptr) {
                        give(other, copy);
                    }
                }
            } else if (worker != worker_) {
                give(worker, mbuf_of(frames[i]));
                continue;
            }
            frames[kept++] = frames[i];
        }
        return kept;
    }

    void send_handed_over(const EthdevDevice& device) {
        std::array<rte_mbuf*, kMaxBurst> mbufs;
        const unsigned count =
            rte_ring_sc_dequeue_burst(port_.from_worker_[worker_],
                                      reinterpret_cast<void**>(mbufs.data()), kMaxBurst, nullptr);
        if (count == 0) {
            return;
        }
        const uint16_t sent = rte_eth_tx_burst(device.facts().port, static_cast<uint16_t>(worker_),
                                               mbufs.data(), static_cast<uint16_t>(count));
        for (unsigned i = sent; i < count; ++i) {
            ++statistics_.send_dropped_full;
            rte_pktmbuf_free(mbufs[i]);
        }
    }

    EthdevPort& port_;
    const uint32_t worker_;
    const bool alone_;
    uint32_t looks_in_vain_ = 0;
    uint32_t looks_due_ = 0;
    std::atomic<int64_t> held_{0};  // less than 0: others received what this worker released
    PortStatistics statistics_;
};

EthdevPort::EthdevPort(EthdevSettings settings, const PacketSteering& steering, Waker& waker)
    : settings_(std::move(settings)),
      steering_(steering),
      waker_(waker),
      payload_shift_(payload_shift(settings_.devargs)),
      loses_buffers_(driver_kind(settings_.devargs) == DriverKind::AfXdp),
      mtu_(settings_.mtu) {}

tl::expected<std::unique_ptr<EthdevPort>, std::string> EthdevPort::make(
    EthdevSettings settings, const PacketSteering& steering, Waker& waker) {
    std::unique_ptr<EthdevPort> port(new EthdevPort(std::move(settings), steering, waker));
    const uint32_t room = buffer_room(port->settings_.devargs);
    // One less than a power of two suits the pool best.
    port->buffers_ = std::min(kMostBuffers, std::bit_floor(kPoolBytes / room)) - 1;
    port->pool_ = make_pool(port->loses_buffers_ ? kOwnBuffers : port->buffers_, room);
    if (port->pool_ == nullptr) {
        return tl::unexpected(fmt::format(
            "port {}: no memory for {} buffers of {} bytes: {}; raise service.memory_mb",
            port->settings_.name, port->buffers_, room, rte_strerror(rte_errno)));
    }
    for (uint32_t i = 0; i < port->settings_.workers; ++i) {
        if (port->settings_.workers > 1) {
            for (auto* rings : {&port->to_worker_, &port->from_worker_}) {
                rings->push_back(rte_ring_create(unique_name("handoff").c_str(), kHandoffEntries,
                                                 SOCKET_ID_ANY, RING_F_SC_DEQ));
                if (rings->back() == nullptr) {
                    return tl::unexpected(
                        fmt::format("port {}: no memory for its rings: {}; raise service.memory_mb",
                                    port->settings_.name, rte_strerror(rte_errno)));
                }
            }
        }
        port->queues_.push_back(std::make_unique<Queue>(*port, i));
    }
    return port;
}

EthdevPort::~EthdevPort() {
    open_.store(nullptr);
    drop_device();
    for (rte_mempool* pool : retired_) {
        rte_mempool_free(pool);
    }
    for (auto* rings : {&to_worker_, &from_worker_}) {
        for (rte_ring* ring : *rings) {
            rte_ring_free(ring);
        }
    }
    rte_mempool_free(pool_);
}

PacketPort& EthdevPort::queue(uint32_t worker) {
    return *queues_[worker];
}

std::string EthdevPort::say(const char* state, std::string reason) {
    if (reason == reason_) {
        return "";
    }
    reason_ = std::move(reason);
    return fmt::format("port={} state={} {}", settings_.name, state, reason_);
}

std::string EthdevPort::step(Instant now) {
    switch (state_) {
        case AttachState::Absent:
            return now < next_try_ ? "" : attach(now);
        case AttachState::Waiting:
            return now < next_try_ ? "" : begin(now);
        case AttachState::Attached:
            return watch(now);
        case AttachState::Leaving:
            return "";
    }
    return "";
}

std::string EthdevPort::attach(Instant now) {
    next_try_ = now + kRetry;
    const std::string& devargs = settings_.devargs;
    if (driver_kind(devargs) == DriverKind::Memif && device_argument(devargs, "role") == "server") {
        remove_dead_socket(device_argument(devargs, "socket"));
    }
    const uint32_t queues =
        settings_.queues == 0 ? settings_.workers : std::min(settings_.queues, settings_.workers);
    if (loses_buffers_) {
        if (held() == 0) {
            for (rte_mempool* pool : std::exchange(retired_, {})) {
                rte_mempool_free(pool);
            }
        }
        device_pool_ = make_pool(buffers_, buffer_room(devargs));
        if (device_pool_ == nullptr) {
            return say("absent",
                       "no memory for buffers while those of the device before are held; trying "
                       "again; raise service.memory_mb");
        }
    }
    auto made = EthdevDevice::make(devargs, queues, settings_.mtu,
                                   device_pool_ == nullptr ? pool_ : device_pool_);
    if (!made) {
        drop_device();
        return say("absent", made.error() + "; trying again");
    }
    device_ = std::move(*made);
    return begin(now);
}

std::string EthdevPort::begin(Instant now) {
    next_try_ = now + kRetry;
    if (auto started = device_->start(); !started) {
        if (device_->connects_at_start()) {
            state_ = AttachState::Waiting;
            return say("waiting", started.error() + "; trying again");
        }
        drop_device();
        state_ = AttachState::Absent;
        return say("absent", started.error() + "; trying again");
    }
    take_mtu();
    last_mac_ = device_->facts().mac;
    ++attachments_;
    state_ = AttachState::Attached;
    link_wanted_by_ = device_->connects_at_start() ? now + kHandshake : Instant::never();
    open_.store(device_.get(), std::memory_order_release);
    for (uint32_t worker = 0; worker < settings_.workers; ++worker) {
        waker_.wake(worker);  // one that sleeps has not asked this device to wake it
    }
    const uint32_t own = device_->facts().mtu;
    reason_.clear();
    std::string line = watch(now);
    if (settings_.mtu > own) {
        line += fmt::format(
            "{}port={} mtu={} is what the device has, not the {} of the "
            "configuration; raise the device's MTU or remove mtu",
            line.empty() ? "" : "\n", settings_.name, own, settings_.mtu);
    }
    return line;
}

void EthdevPort::take_mtu() {
    const uint32_t own = device_->facts().mtu;
    mtu_.store(settings_.mtu == 0 ? own : std::min(own, settings_.mtu));
}

std::string EthdevPort::watch(Instant now) {
    if (device_->vanished()) {
        ++link_losses_;
        leave(true);
        return say("absent", "the device is gone; waiting for it");
    }
    device_->look_at_mtu();
    take_mtu();
    const bool up = device_->link_up();
    const bool was_up = link_up_.exchange(up);
    if (up) {
        link_wanted_by_ = Instant::never();
        return say("up", fmt::format("driver={} queues={} mtu={}", device_->facts().driver,
                                     device_->facts().queues, mtu_.load()));
    }
    link_losses_ += was_up ? 1 : 0;
    if (device_->connects_at_start() && (was_up || now >= link_wanted_by_)) {
        leave(false);
        return say("waiting", "the other side closed the connection; trying again");
    }
    return say("down", "the link is down");
}

void EthdevPort::leave(bool remove) {
    link_up_.store(false);
    open_.store(nullptr);
    state_ = AttachState::Leaving;
    remove_ = remove;
    wants_quiet_ = true;
}

void EthdevPort::drop_device() {
    device_.reset();
    if (device_pool_ != nullptr) {
        retired_.push_back(std::exchange(device_pool_, nullptr));
    }
}

// Without a device nothing is received, so that each worker's part only falls, whenever it is read:
// the sum is never less than what is held.
int64_t EthdevPort::held() const {
    int64_t sum = 0;
    for (const auto& queue : queues_) {
        sum += queue->held();
    }
    return sum;
}

void EthdevPort::quiet(Instant now) {
    VR_CHECK(state_ == AttachState::Leaving);
    wants_quiet_ = false;
    next_try_ = now + kRetry;
    if (remove_) {
        drop_device();
        state_ = AttachState::Absent;
    } else {
        device_->stop();
        state_ = AttachState::Waiting;
    }
}

EthdevStatus EthdevPort::status() const {
    EthdevStatus status;
    status.state = state_;
    status.link_up = link_up_.load();
    status.reason = status.link_up ? "" : reason_;
    status.mac = last_mac_;
    status.mtu = mtu_.load();
    if (device_ != nullptr) {
        status.driver = device_->facts().driver;
        status.queues = device_->facts().queues;
        status.wakes = device_->wake_file(0) >= 0;
    }
    status.attachments = attachments_;
    status.link_losses = link_losses_;
    status.buffers = loses_buffers_ && device_pool_ == nullptr ? kOwnBuffers : buffers_;
    status.free_buffers = rte_mempool_avail_count(device_pool_ == nullptr ? pool_ : device_pool_);
    return status;
}

}  // namespace vrdma::platform
