#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/control/address.h"
#include "dataplane/control/configuration_error.h"

/// The service's configuration: what the TOML file says, with every default filled in and every
/// rule checked. Nothing of the service starts before this exists. docs/operations.md documents
/// each key; the member initialisers below are the defaults.
namespace vrdma::control {

constexpr std::uint32_t kMaxWorkers = 64;
constexpr std::uint32_t kMaxCpu = 1023;
constexpr std::uint32_t kMaxNetworkId = (1U << 24) - 1;  ///< a VXLAN network identifier has 24 bits
constexpr std::uint32_t kMaxNetworks = 4096;
constexpr std::uint32_t kMaxPorts = 16;
constexpr std::uint32_t kLeastPortMtu = 576;  ///< what every IPv4 host takes (RFC 791)
constexpr std::uint32_t kMostPortMtu = 9216;
constexpr std::uint32_t kMaxConfigurationBytes = 1U << 20;
constexpr std::chrono::microseconds kMaxIdleSpin{1'000'000};

enum class WorkerMode : std::uint8_t {
    kAdaptive,   ///< spin while there is work, sleep when idle
    kDedicated,  ///< never sleep: the cores belong to the service
};

enum class Placement : std::uint8_t {
    kSpread,   ///< queue pairs go to the least loaded worker
    kNetwork,  ///< all queue pairs of one network share a worker
};

/// Shall all vNICs show up in the host's own /sys/class and /dev/infiniband?
enum class SystemView : std::uint8_t {
    kAuto,  ///< when the process may mount
    kOn,    ///< always; the service refuses to start where it may not mount
    kOff,
};

enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarning, kError };

enum class Hugepages : std::uint8_t {
    kAuto,     ///< when the host has them reserved
    kNever,    ///< ordinary memory, memory_mb of it
    kRequire,  ///< refuse to start without
};

/// Size of the service's pools, all tenants together. Fixed while the service runs.
struct HostLimits {
    std::uint32_t max_vnics = 256;
    std::uint32_t max_contexts = 1024;
    std::uint32_t max_pds = 16384;
    std::uint32_t max_mrs = 262144;
    std::uint32_t max_cqs = 32768;
    std::uint32_t max_qps = 32768;
    std::uint32_t max_srqs = 4096;
};

/// The most that HostLimits may be set to.
constexpr HostLimits kHostLimitBounds{
    .max_vnics = 1024,
    .max_contexts = 4096,
    .max_pds = 262144,
    .max_mrs = 4194304,
    .max_cqs = 65536,
    .max_qps = 65536,
    .max_srqs = 65536,
};

struct ServiceConfig {
    std::string runtime_dir;  ///< absolute, no trailing '/'; see default_runtime_directory()
    std::uint32_t workers = 1;
    WorkerMode mode = WorkerMode::kAdaptive;
    std::vector<std::uint32_t> cpus;  ///< cpus[i] is worker i's core; empty: not pinned
    std::chrono::microseconds idle_spin{50};
    Placement placement = Placement::kSpread;
    SystemView system_view = SystemView::kAuto;
    LogLevel log_level = LogLevel::kInfo;
    Hugepages hugepages = Hugepages::kAuto;
    std::uint32_t memory_mb = 64;  ///< MiB of ordinary memory for DPDK where it has no huge pages
};

struct NetworkConfig {
    std::string name;
    std::uint32_t id{};  ///< 1..kMaxNetworkId
};

/// What one vNIC may use. A default that exceeds the host's limit is lowered to it.
struct VnicQuotas {
    std::uint32_t max_contexts = 256;
    std::uint32_t max_pds = 1024;
    std::uint32_t max_mrs = 65536;
    std::uint32_t max_cqs = 8192;
    std::uint32_t max_qps = 8192;
    std::uint32_t max_srqs = 1024;
    std::uint64_t max_mr_bytes = std::uint64_t{1} << 40;  ///< sum over all memory regions
};

/// Who may reach the attach socket, hence use the vNIC.
struct SocketAccess {
    std::optional<std::uint32_t> owner;  ///< uid; the service's own if absent
    std::optional<std::uint32_t> group;  ///< gid; the service's own if absent
    std::uint32_t mode = 0660;
};

struct VnicConfig {
    std::string name;     ///< [a-z0-9][a-z0-9-]{0,31}, unique on this host
    std::string network;  ///< name of a network of the same configuration
    Ipv4Address address;  ///< unique within the network
    MacAddress mac;       ///< as configured, else derived_mac(address); unique within the network
    SocketAccess access;
    bool process_memory = true;  ///< may memory be reached through /proc/PID/mem?
    bool userfaultfd = false;    ///< do its programs get /dev/userfaultfd, to adopt memory with?
    VnicQuotas quotas;
};

/// What is at the other end of a port's network.
enum class PeerKind : std::uint8_t {
    kAuto,   ///< find out for each host: ask, and take silence for a standard peer
    kVrdma,  ///< vRDMA hosts only
    kRoce,   ///< standard RoCEv2 only: nothing else is ever sent
};

/// How a port uses equal paths of the network behind it.
enum class Spray : std::uint8_t {
    kOff,      ///< all packets of a queue pair take one
    kFlowlet,  ///< toward vRDMA hosts, what follows a pause may take another
};

/// A way out of this host for one network.
struct PortConfig {
    std::string name;                    ///< as a vNIC's; unique among ports
    std::string devargs;                 ///< DPDK's: device name, then ",key=value" ...
    std::string network;                 ///< name of a network; it has no other port
    std::uint32_t mtu = 0;               ///< of IP packets; 0: the device's own
    std::uint32_t prefix_length = 24;    ///< of IPv4: who is reached without a router
    std::optional<Ipv4Address> gateway;  ///< for everybody else
    PeerKind peer = PeerKind::kAuto;
    Spray spray = Spray::kOff;
    std::uint32_t queues = 0;  ///< 0: as many as there are workers and the device has

    /// "net_memif0", "0000:3b:00.0".
    [[nodiscard]] std::string_view device() const {
        return std::string_view(devargs).substr(0, devargs.find(','));
    }
};

struct Configuration {
    ServiceConfig service;
    HostLimits limits;
    std::vector<NetworkConfig> networks;
    std::vector<VnicConfig> vnics;
    std::vector<PortConfig> ports;

    /// Null if there is none of this name.
    [[nodiscard]] const NetworkConfig* find_network(std::string_view name) const;
    [[nodiscard]] const VnicConfig* find_vnic(std::string_view name) const;
    [[nodiscard]] const PortConfig* find_port(std::string_view name) const;
};

/// What validation has to know about the process and the host.
struct HostFacts {
    std::uint32_t uid{};
    std::vector<std::uint32_t> gids;  ///< of all groups the process is in
    bool may_change_owner{};          ///< CAP_CHOWN: may give files to any user and group
    std::optional<std::string> xdg_runtime_dir;
    std::vector<std::uint32_t> cpus;  ///< this process may run on; empty: unknown, not checked
};

/// The facts of this process.
[[nodiscard]] HostFacts host_facts();

/// Checks everything and reports everything that is wrong, in the order of the file's lines.
[[nodiscard]] tl::expected<Configuration, ConfigurationErrors> parse_configuration(
    std::string_view toml, std::string_view file_name, const HostFacts& host);

/// Reads the file and parses it with host_facts().
[[nodiscard]] tl::expected<Configuration, ConfigurationErrors> load_configuration(
    const std::string& path);

/// The configuration of an empty file: one worker, no networks, no vNICs, no ports.
[[nodiscard]] Configuration default_configuration(const HostFacts& host);

/// Checks a request for one more vNIC: a JSON object with the keys of [[vnic]], under the same
/// rules, against the configuration in force.
[[nodiscard]] tl::expected<VnicConfig, ConfigurationErrors> parse_vnic_request(
    std::string_view json, const Configuration& in_force, const HostFacts& host);

[[nodiscard]] std::string_view to_string(WorkerMode mode);
[[nodiscard]] std::string_view to_string(Placement placement);
[[nodiscard]] std::string_view to_string(LogLevel level);
[[nodiscard]] std::string_view to_string(PeerKind peer);
[[nodiscard]] std::string_view to_string(Spray spray);

}  // namespace vrdma::control
