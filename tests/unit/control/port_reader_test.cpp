#include "dataplane/control/port_reader.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/unit/control/rejected.h"

namespace vrdma::control {
namespace {

const std::string kBefore = R"([[network]]
name = "blue"
id = 1
[[network]]
name = "green"
id = 2
[[port]]
name = "first"
devargs = "net_memif0,role=server"
network = "green"
[[port]]
)";  // eleven lines

tl::expected<Configuration, ConfigurationErrors> parse_after(const std::string& port) {
    return parse_configuration(kBefore + port, "vrdmad.toml", plain_host());
}

const std::string kName = "name = \"p\"\n";                            // line 12
const std::string kDevice = "devargs = \"net_memif1,role=client\"\n";  // line 13
const std::string kNetwork = "network = \"blue\"\n";                   // line 14
const std::string kGood = kName + kDevice + kNetwork;

TEST(Port, without_optional_keys_gets_the_defaults) {
    const auto result = parse_after(kGood);
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const PortConfig& port = result->ports[1];
    EXPECT_EQ(port.name, "p");
    EXPECT_EQ(port.device(), "net_memif1");
    EXPECT_EQ(port.mtu, 0U);
    EXPECT_EQ(port.prefix_length, 24U);
    EXPECT_FALSE(port.gateway);
    EXPECT_EQ(port.peer, PeerKind::kAuto);
    EXPECT_EQ(port.spray, Spray::kOff);
    EXPECT_EQ(port.queues, 0U);
    EXPECT_EQ(result->find_port("p"), &port);
    EXPECT_EQ(result->find_port("q"), nullptr);
}

TEST(Port, every_key_is_read) {
    const auto result = parse_after(kGood + R"(mtu = 4200
prefix_length = 16
gateway = "10.0.0.254"
peer = "roce"
queues = 2
)");
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const PortConfig& port = result->ports[1];
    EXPECT_EQ(port.mtu, 4200U);
    EXPECT_EQ(port.prefix_length, 16U);
    EXPECT_EQ(to_string(*port.gateway), "10.0.0.254");
    EXPECT_EQ(port.peer, PeerKind::kRoce);
    EXPECT_EQ(port.queues, 2U);
}

TEST(Port, pci_addresses_are_accepted) {
    for (const char* address : {"0000:3b:00.0", "3b:00.1", "0000:3B:00.7,dev_arg=1"}) {
        const auto result = parse_after(kName + "devargs = \"" + address + "\"\n" + kNetwork);
        EXPECT_TRUE(result) << address;
    }
}

TEST(Port, without_required_keys_is_rejected) {
    expect_only(parse_after(kDevice + kNetwork), Fault::kMissing, "port[2].name", 11);
    expect_only(parse_after(kName + kNetwork), Fault::kMissing, "port[2].devargs", 11);
    expect_only(parse_after(kName + kDevice), Fault::kMissing, "port[2].network", 11);
}

TEST(Port, malformed_devices_are_rejected) {
    for (const char* device : {"", "eth1", "net_memif", "net_0", "net_memif1 ,x=1", "3b:00.8",
                               "3b:00", "0000-3b:00.0", "NET_memif0", "net_me-mif0"}) {
        expect_only(parse_after(kName + "devargs = \"" + device + "\"\n" + kNetwork),
                    Fault::kMalformed, "port[2].devargs", 13);
    }
}

TEST(Port, endless_devargs_are_rejected) {
    expect_only(parse_after(kName + "devargs = \"net_memif1,a=" + std::string(600, 'x') + "\"\n" +
                            kNetwork),
                Fault::kOutOfRange, "port[2].devargs", 13);
}

TEST(Port, unknown_network_is_rejected) {
    expect_only(parse_after(kName + kDevice + "network = \"bleu\"\n"), Fault::kUnknownName,
                "port[2].network", 14);
}

TEST(Port, numbers_out_of_range_are_rejected) {
    expect_only(parse_after(kGood + "mtu = 575\n"), Fault::kOutOfRange, "port[2].mtu", 15);
    expect_only(parse_after(kGood + "mtu = 9217\n"), Fault::kOutOfRange, "port[2].mtu", 15);
    expect_only(parse_after(kGood + "prefix_length = 0\n"), Fault::kOutOfRange,
                "port[2].prefix_length", 15);
    expect_only(parse_after(kGood + "prefix_length = 33\n"), Fault::kOutOfRange,
                "port[2].prefix_length", 15);
    expect_only(parse_after(kGood + "queues = 0\n"), Fault::kOutOfRange, "port[2].queues", 15);
}

TEST(Port, bad_gateways_are_rejected) {
    expect_only(parse_after(kGood + "gateway = \"10.0.0\"\n"), Fault::kMalformed, "port[2].gateway",
                15);
    expect_only(parse_after(kGood + "gateway = \"224.0.0.1\"\n"), Fault::kOutOfRange,
                "port[2].gateway", 15);
}

TEST(Port, unknown_kind_of_peer_is_rejected) {
    expect_only(parse_after(kGood + "peer = \"iwarp\"\n"), Fault::kUnknownChoice, "port[2].peer",
                15);
}

TEST(Port, spray_is_for_vrdma_hosts) {
    for (const char* peer : {"auto", "vrdma"}) {
        const auto result = parse_after(kGood + "peer = \"" + peer + "\"\nspray = \"flowlet\"\n");
        ASSERT_TRUE(result) << to_string(result.error()[0]);
        EXPECT_EQ(result->ports[1].spray, Spray::kFlowlet);
    }
    EXPECT_TRUE(parse_after(kGood + "peer = \"roce\"\nspray = \"off\"\n"));
    expect_only(parse_after(kGood + "peer = \"roce\"\nspray = \"flowlet\"\n"), Fault::kInconsistent,
                "port[2].spray", 16);
    expect_only(parse_after(kGood + "spray = \"packet\"\n"), Fault::kUnknownChoice, "port[2].spray",
                15);
}

TEST(Port, unknown_key_is_rejected) {
    expect_only(parse_after(kGood + "mut = 1500\n"), Fault::kUnknownKey, "port[2].mut", 15);
}

TEST(Port, what_another_port_has_is_rejected) {
    expect_only(parse_after("name = \"first\"\n" + kDevice + kNetwork), Fault::kDuplicate,
                "port[2].name", 12);
    expect_only(parse_after(kName + "devargs = \"net_memif0,role=client\"\n" + kNetwork),
                Fault::kDuplicate, "port[2].devargs", 13);
    expect_only(parse_after(kName + kDevice + "network = \"green\"\n"), Fault::kDuplicate,
                "port[2].network", 14);
}

TEST(Port, af_packet_ring_shorter_than_the_frames_is_rejected) {
    const auto with = [](const std::string& arguments, const std::string& rest) {
        return parse_after(kName + "devargs = \"net_af_packet0,iface=v" + arguments + "\"\n" +
                           kNetwork + rest);
    };
    EXPECT_TRUE(with("", ""));
    EXPECT_TRUE(with(",framesz=8192,blocksz=65536", "mtu = 4200\n"));
    expect_only(with("", "mtu = 4200\n"), Fault::kInconsistent, "port[2].devargs", 13);
    expect_only(with(",framesz=1024", ""), Fault::kInconsistent, "port[2].devargs", 13);
    expect_only(with(",framesz=big", ""), Fault::kMalformed, "port[2].devargs", 13);
}

TEST(Port, more_than_there_may_be_are_rejected) {
    std::string text;
    for (std::uint32_t i = 0; i <= kMaxPorts; ++i) {
        text += "[[port]]\n";
    }
    expect_only(parse_configuration(text, "vrdmad.toml", plain_host()), Fault::kOutOfRange, "port",
                1);
}

}  // namespace
}  // namespace vrdma::control
