// The rules for one port, by which a network reaches other hosts.
//
// What stands in devargs belongs to DPDK and its drivers, which check it when the device is made,
// and say little. So what goes wrong silently is checked here: a device name that DPDK would not
// take for one, and an af_packet ring whose frames are shorter than the port's own, which would
// drop every full packet and let every short one through.
//
// A network has at most one port, because a destination outside this host is reached by its
// network's port and there must be no doubt which.

#include "dataplane/control/port_reader.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>

#include "dataplane/control/vnic_reader.h"

namespace vrdma::control {
namespace {

constexpr std::size_t kLongestDevargs = 512;

bool is_hexadecimal(std::string_view text, std::size_t digits) {
    return text.size() == digits &&
           text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

/// "0000:3b:00.1" or "3b:00.1".
bool is_pci_address(std::string_view text) {
    if (text.size() == 12) {
        if (!is_hexadecimal(text.substr(0, 4), 4) || text[4] != ':') {
            return false;
        }
        text.remove_prefix(5);
    }
    return text.size() == 7 && is_hexadecimal(text.substr(0, 2), 2) && text[2] == ':' &&
           is_hexadecimal(text.substr(3, 2), 2) && text[5] == '.' && text[6] >= '0' &&
           text[6] <= '7';
}

/// "net_memif0": net_, a driver, and a number that tells devices of one driver apart.
bool is_virtual_device(std::string_view text) {
    constexpr std::string_view kPrefix = "net_";
    constexpr std::size_t kLongest = 32;
    if (!text.starts_with(kPrefix) || text.size() > kLongest) {
        return false;
    }
    text.remove_prefix(kPrefix.size());
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    };
    return text.size() >= 2 && std::all_of(text.begin(), text.end(), allowed) &&
           text.front() >= 'a' && text.front() <= 'z' && text.back() >= '0' && text.back() <= '9';
}

/// The value of `key` in "name,key=value,...".
std::optional<std::string_view> argument(std::string_view devargs, std::string_view key) {
    while (true) {
        const std::size_t comma = devargs.find(',');
        if (comma == std::string_view::npos) {
            return std::nullopt;
        }
        devargs.remove_prefix(comma + 1);
        const std::string_view one = devargs.substr(0, devargs.find(','));
        if (one.size() > key.size() && one.starts_with(key) && one[key.size()] == '=') {
            return one.substr(key.size() + 1);
        }
    }
}

/// Slots of an af_packet ring hold the kernel's header as well (TPACKET2_HDRLEN), and the device
/// has slots of 2048 bytes if it is not told otherwise.
void check_ring_slots(TableReader& reader, const PortConfig& port) {
    constexpr std::uint32_t kSlotHeader = 80;
    constexpr std::uint32_t kEthernetHeader = 18;  // with a VLAN tag
    constexpr std::uint32_t kDefaultSlot = 2048;
    constexpr std::uint32_t kDefaultMtu = 1500;
    if (!port.devargs.starts_with("net_af_packet")) {
        return;
    }
    std::uint32_t slot = kDefaultSlot;
    if (const auto text = argument(port.devargs, "framesz")) {
        const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), slot);
        if (error != std::errc{} || stop != text->data() + text->size()) {
            reader.reject(Fault::kMalformed, "devargs", fmt::format("framesz={}", *text),
                          "a number of bytes", "write framesz=8192,blocksz=65536");
            return;
        }
    }
    const std::uint32_t mtu = port.mtu == 0 ? kDefaultMtu : port.mtu;
    const std::uint32_t needed = mtu + kEthernetHeader + kSlotHeader;
    if (slot < needed) {
        reader.reject(Fault::kInconsistent, "devargs", fmt::format("ring slots of {} bytes", slot),
                      fmt::format("at least {} bytes for an MTU of {}", needed, mtu),
                      "add framesz=8192,blocksz=65536 to devargs, or lower mtu");
    }
}

void read_devargs(TableReader& reader, PortConfig& port) {
    const std::string expected =
        "a DPDK device, such as \"net_af_packet0,iface=eth1\", "
        "\"net_memif0,role=client,socket=/run/memif.sock\" or \"0000:3b:00.0\"";
    if (!reader.require("devargs", expected)) {
        return;
    }
    const auto text = reader.text("devargs", expected);
    if (!text) {
        return;
    }
    const std::string found = describe(*reader.raw("devargs"));
    const std::string_view name = std::string_view(*text).substr(0, text->find(','));
    const bool printable =
        std::all_of(text->begin(), text->end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (text->size() > kLongestDevargs) {
        reader.reject(Fault::kOutOfRange, "devargs", fmt::format("{} characters", text->size()),
                      fmt::format("at most {}", kLongestDevargs), "shorten it");
    } else if (!printable || !(is_virtual_device(name) || is_pci_address(name))) {
        reader.reject(Fault::kMalformed, "devargs", found, expected,
                      "begin with net_DRIVER and a number, or with a PCI address; then comma and "
                      "key=value, without spaces");
    } else {
        port.devargs = *text;
    }
}

void read_gateway(TableReader& reader, PortConfig& port) {
    const std::string expected = "the IPv4 address of a router, such as \"10.0.0.254\"";
    const auto text = reader.text("gateway", expected);
    if (!text) {
        return;
    }
    const auto address = parse_ipv4(*text);
    if (!address) {
        reader.reject(Fault::kMalformed, "gateway", describe(*reader.raw("gateway")), expected,
                      "write four numbers from 0 to 255 with dots between");
    } else if (!is_host_address(*address)) {
        reader.reject(Fault::kOutOfRange, "gateway", describe(*reader.raw("gateway")), expected,
                      "choose one outside 0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3");
    } else {
        port.gateway = *address;
    }
}

/// Only a peer that acknowledges selectively takes packets in another order.
void check_spray(TableReader& reader, const PortConfig& port) {
    if (port.spray != Spray::kOff && port.peer == PeerKind::kRoce) {
        reader.reject(Fault::kInconsistent, "spray",
                      fmt::format("\"{}\" with peer = \"roce\"", to_string(port.spray)),
                      "vRDMA hosts behind the port",
                      "remove spray, or set peer to \"vrdma\" or \"auto\"");
    }
}

void check_unique(TableReader& reader, const PortConfig& port, const Configuration& rest) {
    for (const PortConfig& other : rest.ports) {
        if (!port.name.empty() && other.name == port.name) {
            reader.reject(Fault::kDuplicate, "name", fmt::format("\"{}\" again", port.name),
                          "a name no other port of this host has", "rename one of the two");
        }
        if (!port.devargs.empty() && other.device() == port.device()) {
            reader.reject(Fault::kDuplicate, "devargs", fmt::format("{} again", port.device()),
                          "a device no other port has",
                          fmt::format("port \"{}\" has it; number the devices of one driver: {}",
                                      other.name, "net_memif0, net_memif1, ..."));
        }
        if (!port.network.empty() && other.network == port.network) {
            reader.reject(
                Fault::kDuplicate, "network", fmt::format("\"{}\" again", port.network),
                "a network that has no port yet",
                fmt::format("port \"{}\" carries it; a network has one port", other.name));
        }
    }
}

}  // namespace

PortConfig read_port(const Value& table, std::string path, const Configuration& rest,
                     ErrorSink& errors) {
    PortConfig port;
    TableReader reader(table, std::move(path), errors);
    if (reader.require("name", kNameRule)) {
        port.name = read_name(reader);
    }
    read_devargs(reader, port);
    port.network = read_network_name(reader, rest);
    reader.number("mtu", port.mtu, kLeastPortMtu, kMostPortMtu);
    constexpr std::uint32_t kMostPrefix = 32;
    reader.number("prefix_length", port.prefix_length, 1U, kMostPrefix);
    read_gateway(reader, port);
    reader.choice<PeerKind>(
        "peer", port.peer,
        {{"auto", PeerKind::kAuto}, {"vrdma", PeerKind::kVrdma}, {"roce", PeerKind::kRoce}});
    reader.choice<Spray>("spray", port.spray, {{"off", Spray::kOff}, {"flowlet", Spray::kFlowlet}});
    check_spray(reader, port);
    reader.number("queues", port.queues, 1U, kMaxWorkers);
    reader.finish();
    if (!port.devargs.empty()) {
        check_ring_slots(reader, port);
    }
    check_unique(reader, port, rest);
    return port;
}

}  // namespace vrdma::control
