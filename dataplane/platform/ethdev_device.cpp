// Drivers differ in what they tell. memif and af_packet report a longest frame of 1518 bytes and
// refuse a larger MTU, but carry any frame that fits their slots: they are not asked. Devices over
// a kernel interface do not notice that it went down or away: the kernel is asked. memif connects
// when the client is started and not again: its port starts it anew.
//
// A tap is a cable to the kernel, whose end has the MAC address that the driver tells: ours is
// another one, or the kernel and its bridges would take our frames for their own and keep those for
// us. A tap that was deleted is made anew like any device that vanished.
//
// af_xdp's driver keeps its sockets to itself. The socket that appears while a queue is set up is
// that queue's, and the kernel makes it readable when a frame has come: a worker can sleep on it.
//
// Buffers have room for the longest frame RoCE needs, so that no frame comes in pieces. af_xdp
// hands whole buffers to the kernel, which wants each within a page: shorter ones.
#include "dataplane/platform/ethdev_device.h"

#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "dataplane/platform/interrupt_pause.h"
#include "dataplane/port/packet_port.h"

namespace vrdma::platform {
namespace {

constexpr uint16_t kReceiveDescriptors = 512;
constexpr uint16_t kTransmitDescriptors = 512;
constexpr uint32_t kEthernetBytes = 14;
// Ethernet, IPv4, UDP header and BTH are 54 bytes.
constexpr uint32_t kPayloadShift = 10;
constexpr uint32_t kXdpRoom = 3392;  // with DPDK's headers less than a page
constexpr uint32_t kMostRingSlot = 32768;
constexpr uint8_t kOtherEnd =
    0x40;  // what our MAC address differs in from the kernel's end of a tap
constexpr char kMemifLog[] = "pmd.net.memif*";

std::string reason(int code) {
    return rte_strerror(code < 0 ? -code : code);
}

// Of af_packet's rings: what the driver takes when it is not told, and what stands in front of an
// IP packet in it.
constexpr uint32_t kDefaultRingSlot = 2048;
constexpr uint32_t kBeforePacket = 98;

uint32_t ring_slot(const std::string& devargs) {
    const std::string slot = device_argument(devargs, "framesz");
    uint32_t bytes = kDefaultRingSlot;
    std::from_chars(slot.data(), slot.data() + slot.size(), bytes);
    return bytes;
}

}  // namespace

DriverKind driver_kind(const std::string& devargs) {
    const auto is = [&](const char* driver) { return devargs.starts_with(driver); };
    return is("net_memif")       ? DriverKind::Memif
           : is("net_af_packet") ? DriverKind::AfPacket
           : is("net_af_xdp")    ? DriverKind::AfXdp
           : is("net_tap")       ? DriverKind::Tap
           : is("net_")          ? DriverKind::Other
                                 : DriverKind::Physical;
}

std::string device_name(const std::string& devargs) {
    return devargs.substr(0, devargs.find(','));
}

std::string device_argument(const std::string& devargs, const std::string& key) {
    size_t at = devargs.find(',');
    while (at != std::string::npos) {
        const size_t end = devargs.find(',', at + 1);
        const std::string one = devargs.substr(at + 1, end - at - 1);
        if (one.size() > key.size() && one.starts_with(key) && one[key.size()] == '=') {
            return one.substr(key.size() + 1);
        }
        at = end;
    }
    return "";
}

uint32_t buffer_room(const std::string& devargs) {
    uint32_t frame = kMaxFrameBytes;
    if (driver_kind(devargs) == DriverKind::AfXdp) {
        frame = kXdpRoom;
    } else if (driver_kind(devargs) == DriverKind::AfPacket) {
        frame = std::clamp(ring_slot(devargs), kMaxFrameBytes, kMostRingSlot);
    }
    return RTE_PKTMBUF_HEADROOM + payload_shift(devargs) + frame;
}

uint32_t payload_shift(const std::string& devargs) {
    return driver_kind(devargs) == DriverKind::AfXdp ? 0 : kPayloadShift;
}

EthdevDevice::EthdevDevice(std::string devargs, uint16_t port)
    : devargs_(std::move(devargs)),
      kind_(driver_kind(devargs_)),
      interface_(kind_ == DriverKind::AfPacket || kind_ == DriverKind::AfXdp
                     ? device_argument(devargs_, "iface")
                     : ""),
      attached_(interface_state(interface_)) {
    facts_.port = port;
}

tl::expected<std::unique_ptr<EthdevDevice>, std::string> EthdevDevice::make(
    const std::string& devargs, uint32_t most_queues, uint32_t mtu, rte_mempool* pool) {
    const std::string interface = device_argument(devargs, "iface");
    const DriverKind kind = driver_kind(devargs);
    if ((kind == DriverKind::AfPacket || kind == DriverKind::AfXdp) &&
        !interface_state(interface).present) {
        return tl::unexpected(fmt::format("there is no network interface \"{}\"", interface));
    }
    const std::string name = device_name(devargs);
    uint16_t port = 0;
    if (rte_eth_dev_get_port_by_name(name.c_str(), &port) != 0) {
        if (const int code = rte_dev_probe(devargs.c_str()); code != 0) {
            return tl::unexpected(fmt::format("DPDK does not make the device: {}", reason(code)));
        }
        if (rte_eth_dev_get_port_by_name(name.c_str(), &port) != 0) {
            return tl::unexpected(std::string("DPDK made no Ethernet device of it"));
        }
    }
    std::unique_ptr<EthdevDevice> device(new EthdevDevice(devargs, port));
    if (auto configured = device->configure(most_queues, mtu, pool); !configured) {
        return tl::unexpected(configured.error());
    }
    return device;
}

tl::expected<void, std::string> EthdevDevice::configure(uint32_t most_queues, uint32_t mtu,
                                                        rte_mempool* pool) {
    const uint16_t port = facts_.port;
    rte_eth_dev_info info{};
    if (const int code = rte_eth_dev_info_get(port, &info); code != 0) {
        return tl::unexpected(fmt::format("the device does not describe itself: {}", reason(code)));
    }
    facts_.driver = info.driver_name == nullptr ? "" : info.driver_name;
    facts_.queues = static_cast<uint16_t>(
        std::min({most_queues, uint32_t{info.max_rx_queues}, uint32_t{info.max_tx_queues}}));
    if (facts_.queues == 0) {
        return tl::unexpected(std::string("the device has no queues"));
    }
    rte_eth_conf conf{};
    constexpr uint64_t kUdp = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
    if (facts_.queues > 1 && (info.flow_type_rss_offloads & kUdp) != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & kUdp;
    }
    conf.intr_conf.rxq = 1;
    int code = rte_eth_dev_configure(port, facts_.queues, facts_.queues, &conf);
    facts_.receive_interrupts = code == 0;
    if (code != 0) {
        conf.intr_conf.rxq = 0;
        code = rte_eth_dev_configure(port, facts_.queues, facts_.queues, &conf);
    }
    if (code != 0) {
        return tl::unexpected(fmt::format("the device cannot be configured: {}", reason(code)));
    }
    uint16_t receive = kReceiveDescriptors;
    uint16_t transmit = kTransmitDescriptors;
    if (rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive, &transmit) != 0) {
        return tl::unexpected(std::string("the device takes no number of descriptors"));
    }
    for (uint16_t queue = 0; queue < facts_.queues; ++queue) {
        if (code = set_up_queue(queue, receive, transmit, pool); code != 0) {
            return tl::unexpected(fmt::format(
                "queue {} cannot be set up: {}{}", queue, reason(code),
                kind_ == DriverKind::AfXdp ? "; the kernel may say why (dmesg): for XDP the MTU of "
                                             "the interface, and of a veth's peer, is at most "
                                             "about 3500"
                                           : ""));
        }
    }
    find_interface(info.if_index);
    find_mac();
    find_mtu(mtu);
    return {};
}

int EthdevDevice::set_up_queue(uint16_t queue, uint16_t receive, uint16_t transmit,
                               rte_mempool* pool) {
    constexpr auto kAnySocket = static_cast<unsigned>(SOCKET_ID_ANY);
    const bool xdp = kind_ == DriverKind::AfXdp;
    const std::vector<int> before = xdp ? open_xdp_sockets() : std::vector<int>{};
    int code = rte_eth_rx_queue_setup(facts_.port, queue, receive, kAnySocket, nullptr, pool);
    if (code == 0) {
        code = rte_eth_tx_queue_setup(facts_.port, queue, transmit, kAnySocket, nullptr);
    }
    if (xdp) {
        std::vector<int> made;
        const std::vector<int> after = open_xdp_sockets();
        std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                            std::back_inserter(made));
        xdp_sockets_.push_back(made.size() == 1 ? made.front() : -1);
    }
    return code;
}

void EthdevDevice::find_interface(unsigned index) {
    std::array<char, IF_NAMESIZE> name{};
    if (kind_ == DriverKind::Tap && if_indextoname(index, name.data()) != nullptr) {
        interface_ = name.data();
        attached_ = interface_state(interface_);
    }
}

void EthdevDevice::find_mac() {
    rte_ether_addr mac{};
    if (rte_eth_macaddr_get(facts_.port, &mac) == 0) {
        std::copy(std::begin(mac.addr_bytes), std::end(mac.addr_bytes), facts_.mac.bytes.begin());
    }
    if (kind_ == DriverKind::Tap) {
        facts_.mac.bytes[1] ^= kOtherEnd;
    }
}

void EthdevDevice::find_mtu(uint32_t wanted) {
    constexpr uint32_t kLongest = kMaxFrameBytes - kEthernetBytes;
    facts_.mtu = kLongest;
    switch (kind_) {
        case DriverKind::AfPacket:
        case DriverKind::AfXdp:
            take_mtu(attached_.mtu);
            break;
        case DriverKind::Tap:
        case DriverKind::Physical: {
            uint16_t mtu = 0;
            if (wanted != 0) {
                rte_eth_dev_set_mtu(facts_.port, static_cast<uint16_t>(wanted));
            }
            if (rte_eth_dev_get_mtu(facts_.port, &mtu) == 0) {
                facts_.mtu = mtu;
            }
            break;
        }
        case DriverKind::Memif:
        case DriverKind::Other:
            break;
    }
    facts_.mtu = std::min(facts_.mtu, kLongest);
}

void EthdevDevice::take_mtu(uint32_t of_interface) {
    uint32_t room = kXdpRoom - kEthernetBytes;
    if (kind_ == DriverKind::AfPacket) {
        room = std::min(std::max(ring_slot(devargs_), kBeforePacket) - kBeforePacket,
                        kMaxFrameBytes - kEthernetBytes);
    }
    facts_.mtu = std::min(of_interface, room);
}

void EthdevDevice::look_at_mtu() {
    if (kind_ != DriverKind::AfPacket && kind_ != DriverKind::AfXdp) {
        return;
    }
    const InterfaceState now = interface_state(interface_);
    if (now.index == attached_.index && now.mtu != 0) {
        take_mtu(now.mtu);
    }
}

EthdevDevice::~EthdevDevice() {
    const InterruptPause pause(ends_in_interrupts());
    stop();
    rte_eth_dev_info info{};
    const bool known = rte_eth_dev_info_get(facts_.port, &info) == 0;
    rte_eth_dev_close(facts_.port);
    if (known && info.device != nullptr) {
        rte_dev_remove(info.device);
    }
}

tl::expected<void, std::string> EthdevDevice::start() {
    const bool memif = kind_ == DriverKind::Memif;
    const int level = rte_log_get_level(RTE_LOGTYPE_EAL);
    if (memif) {  // "failed to connect" at every attempt
        rte_log_set_level_pattern(kMemifLog, RTE_LOG_CRIT);
    }
    const int code = rte_eth_dev_start(facts_.port);
    if (memif && level > 0) {
        rte_log_set_level_pattern(kMemifLog, RTE_LOG_WARNING);
    }
    if (code != 0) {
        return tl::unexpected(
            connects_at_start()
                ? fmt::format("nobody listens on {}", device_argument(devargs_, "socket"))
                : fmt::format("the device does not start: {}", reason(code)));
    }
    started_ = true;
    hear_groups();
    find_wake_files();
    return {};
}

// Tenants join and leave groups at any time, on any worker, and IPv6 asks for neighbours by
// multicast: the device takes frames to every group, and the link drops those that nobody wants.
// Drivers over an interface get what the interface gets; devices that can neither (memif, rings)
// deliver whatever arrives.
void EthdevDevice::hear_groups() {
    if (kind_ == DriverKind::AfPacket || kind_ == DriverKind::AfXdp) {
        multicast_.emplace(attached_.index);
    } else if (rte_eth_allmulticast_enable(facts_.port) != 0) {
        rte_eth_promiscuous_enable(facts_.port);
    }
}

void EthdevDevice::stop() {
    if (!started_) {
        return;
    }
    started_ = false;
    multicast_.reset();
    arrivals_.clear();
    interrupt_files_.clear();
    const InterruptPause pause(ends_in_interrupts());
    rte_eth_dev_stop(facts_.port);
}

// memif's driver does not survive that its other side goes while it is stopped.
bool EthdevDevice::ends_in_interrupts() const {
    return kind_ == DriverKind::Memif;
}

bool EthdevDevice::connects_at_start() const {
    return kind_ == DriverKind::Memif && device_argument(devargs_, "role") != "server";
}

bool EthdevDevice::link_up() const {
    if (!interface_.empty()) {
        return interface_state(interface_).up;
    }
    rte_eth_link link{};
    return rte_eth_link_get_nowait(facts_.port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

bool EthdevDevice::vanished() const {
    if (!interface_.empty()) {
        const InterfaceState now = interface_state(interface_);
        return !now.present || now.index != attached_.index;
    }
    return rte_eth_dev_is_removed(facts_.port) == 1;
}

void EthdevDevice::find_wake_files() {
    for (uint16_t queue = 0; queue < facts_.queues; ++queue) {
        int file = -1;
        if (kind_ == DriverKind::AfPacket) {
            arrivals_.push_back(std::make_unique<ArrivalSocket>(attached_.index));
        } else if (kind_ == DriverKind::AfXdp) {
            file = xdp_sockets_[queue];
        } else if (facts_.receive_interrupts) {
            file = rte_eth_dev_rx_intr_ctl_q_get_fd(facts_.port, queue);
        }
        interrupt_files_.push_back(file);
    }
}

int EthdevDevice::wake_file(uint16_t queue) const {
    return queue < arrivals_.size()          ? arrivals_[queue]->file()
           : queue < interrupt_files_.size() ? interrupt_files_[queue]
                                             : -1;
}

bool EthdevDevice::arm(uint16_t queue) const {
    if (queue < arrivals_.size()) {
        return arrivals_[queue]->drain();
    }
    if (facts_.receive_interrupts && queue < interrupt_files_.size() &&
        interrupt_files_[queue] >= 0) {
        rte_eth_dev_rx_intr_enable(facts_.port, queue);
    }
    return false;
}

void EthdevDevice::disarm(uint16_t queue) const {
    if (facts_.receive_interrupts && queue >= arrivals_.size() && queue < interrupt_files_.size() &&
        interrupt_files_[queue] >= 0) {
        rte_eth_dev_rx_intr_disable(facts_.port, queue);
    }
}

}  // namespace vrdma::platform
