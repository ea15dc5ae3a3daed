// The rules of the configuration.
//
// The service starts only from a configuration in which nothing is wrong, and a running service
// accepts a further vNIC only under the same rules; this file is where the rules are. It
// turns a document into the structs of configuration.h and reports every violation it finds, not
// the first. Three passes, because later ones need what earlier ones read: each table alone
// (types, ranges, forms), then the tables against each other (references, duplicates, quotas
// against limits), then against the host (CPUs, user, path lengths).
//
// It keeps no state. What it has to know about the process comes in as HostFacts; only user and
// group names are looked up in the system, because a vNIC's socket belongs to a user of it.

#include "dataplane/control/configuration.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/control/document.h"
#include "dataplane/control/port_reader.h"
#include "dataplane/control/runtime_directory.h"
#include "dataplane/control/table_reader.h"
#include "dataplane/control/vnic_reader.h"

namespace vrdma::control {
namespace {

void read_system_view(TableReader& reader, SystemView& field) {
    const Value* const value = reader.raw("system_view");
    if (value == nullptr) {
        return;
    }
    if (value->kind == Value::Kind::kBoolean) {
        field = value->boolean ? SystemView::kOn : SystemView::kOff;
    } else if (value->kind == Value::Kind::kText && value->text == "auto") {
        field = SystemView::kAuto;
    } else {
        const bool is_text = value->kind == Value::Kind::kText;
        reader.reject(is_text ? Fault::kUnknownChoice : Fault::kWrongType, "system_view",
                      describe(*value), "true, false or \"auto\"", "write one of these three");
    }
}

void read_runtime_dir(TableReader& reader, std::string& field) {
    const std::string expected = "an absolute path without \"..\", at most 80 bytes long";
    constexpr std::size_t kLongest = 80;  // leaves room for /vnic/NAME/device.sock of short names
    auto path = reader.text("runtime_dir", expected);
    if (!path) {
        return;
    }
    while (path->size() > 1 && path->ends_with('/')) {
        path->pop_back();
    }
    const std::string found = describe(*reader.raw("runtime_dir"));
    if (!path->starts_with('/') || *path == "/" || (*path + "/").find("/../") != path->npos) {
        reader.reject(Fault::kMalformed, "runtime_dir", found, expected,
                      "write a directory that belongs to this service alone, such as /run/vrdma");
    } else if (path->size() > kLongest) {
        reader.reject(Fault::kOutOfRange, "runtime_dir", found, expected,
                      "choose a shorter path: socket paths may have 107 bytes");
    } else {
        field = *path;
    }
}

ServiceConfig read_service(const Value& table, ErrorSink& errors, const HostFacts& host) {
    ServiceConfig service;
    TableReader reader(table, "service", errors);
    service.runtime_dir = default_runtime_directory(host.uid, host.xdg_runtime_dir);
    read_runtime_dir(reader, service.runtime_dir);
    reader.number("workers", service.workers, 1U, kMaxWorkers);
    reader.choice<WorkerMode>(
        "mode", service.mode,
        {{"adaptive", WorkerMode::kAdaptive}, {"dedicated", WorkerMode::kDedicated}});
    if (auto cpus = reader.numbers("cpus", kMaxCpu)) {
        service.cpus = std::move(*cpus);
    }
    std::uint64_t idle_spin_us = 0;
    if (reader.number<std::uint64_t>("idle_spin_us", idle_spin_us, 0,
                                     static_cast<std::uint64_t>(kMaxIdleSpin.count()))) {
        service.idle_spin = std::chrono::microseconds(idle_spin_us);
    }
    reader.choice<Placement>("placement", service.placement,
                             {{"spread", Placement::kSpread}, {"network", Placement::kNetwork}});
    read_system_view(reader, service.system_view);
    reader.choice<LogLevel>("log_level", service.log_level,
                            {{"trace", LogLevel::kTrace},
                             {"debug", LogLevel::kDebug},
                             {"info", LogLevel::kInfo},
                             {"warning", LogLevel::kWarning},
                             {"error", LogLevel::kError}});
    reader.choice<Hugepages>("hugepages", service.hugepages,
                             {{"auto", Hugepages::kAuto},
                              {"never", Hugepages::kNever},
                              {"require", Hugepages::kRequire}});
    constexpr std::uint32_t kLeastMemory = 16;  // DPDK does not come up with less
    constexpr std::uint32_t kMostMemory = 1U << 20;
    reader.number("memory_mb", service.memory_mb, kLeastMemory, kMostMemory);
    reader.finish();
    return service;
}

HostLimits read_limits(const Value& table, ErrorSink& errors) {
    HostLimits limits;
    const HostLimits& bounds = kHostLimitBounds;
    TableReader reader(table, "limits", errors);
    reader.number("max_vnics", limits.max_vnics, 1U, bounds.max_vnics);
    reader.number("max_contexts", limits.max_contexts, 1U, bounds.max_contexts);
    reader.number("max_pds", limits.max_pds, 1U, bounds.max_pds);
    reader.number("max_mrs", limits.max_mrs, 1U, bounds.max_mrs);
    reader.number("max_cqs", limits.max_cqs, 1U, bounds.max_cqs);
    reader.number("max_qps", limits.max_qps, 1U, bounds.max_qps);
    reader.number("max_srqs", limits.max_srqs, 1U, bounds.max_srqs);
    reader.finish();
    return limits;
}

void check_cpus(const Value& table, const ServiceConfig& service, const HostFacts& host,
                ErrorSink& errors) {
    TableReader reader(table, "service", errors);
    const auto& cpus = service.cpus;
    if (cpus.empty()) {
        const bool starved = service.mode == WorkerMode::kDedicated && !host.cpus.empty() &&
                             service.workers > host.cpus.size();
        if (starved) {
            reader.reject(Fault::kInconsistent, "workers", fmt::format("{}", service.workers),
                          fmt::format("at most {}: dedicated workers never leave their core, and "
                                      "this process may use {}",
                                      host.cpus.size(), host.cpus.size()),
                          "lower workers or set mode = \"adaptive\"");
        }
        return;
    }
    if (cpus.size() != service.workers) {
        reader.reject(Fault::kInconsistent, "cpus", fmt::format("{} cores", cpus.size()),
                      fmt::format("{}, one for each worker", service.workers),
                      "make the list as long as workers, or empty to pin nothing");
    }
    std::set<std::uint32_t> seen;
    for (const std::uint32_t cpu : cpus) {
        if (!seen.insert(cpu).second) {
            reader.reject(Fault::kDuplicate, "cpus", fmt::format("core {} twice", cpu),
                          "a core of its own for each worker", "remove the repetition");
        } else if (!host.cpus.empty() &&
                   std::find(host.cpus.begin(), host.cpus.end(), cpu) == host.cpus.end()) {
            reader.reject(Fault::kInconsistent, "cpus", fmt::format("core {}", cpu),
                          fmt::format("cores this process may use: {}", fmt::join(host.cpus, ", ")),
                          "choose others, or allow this one (cpuset, taskset, AllowedCPUs=)");
        }
    }
}

void check_service(const Value& table, const ServiceConfig& service, const HostFacts& host,
                   ErrorSink& errors) {
    check_cpus(table, service, host, errors);
    if (service.system_view == SystemView::kOn && host.uid != 0) {
        TableReader(table, "service", errors)
            .reject(Fault::kInconsistent, "system_view", fmt::format("true as uid {}", host.uid),
                    "root, who may mount over /sys/class",
                    "start the service as root, or set system_view = \"auto\"");
    }
}

NetworkConfig read_network(const Value& table, std::string path, ErrorSink& errors) {
    NetworkConfig network;
    TableReader reader(table, std::move(path), errors);
    if (reader.require("name", kNameRule)) {
        network.name = read_name(reader);
    }
    const std::string expected = fmt::format("a whole number from 1 to {}", kMaxNetworkId);
    if (reader.require("id", expected)) {
        reader.number("id", network.id, 1U, kMaxNetworkId);
    }
    reader.finish();
    return network;
}

void check_network_unique(const Value& table, std::string path, const NetworkConfig& network,
                          const std::vector<NetworkConfig>& others, ErrorSink& errors) {
    TableReader reader(table, std::move(path), errors);
    for (const NetworkConfig& other : others) {
        if (!network.name.empty() && other.name == network.name) {
            reader.reject(Fault::kDuplicate, "name", fmt::format("\"{}\" again", network.name),
                          "a name no other network has", "rename one of the two");
        }
        if (network.id != 0 && other.id == network.id) {
            reader.reject(Fault::kDuplicate, "id", fmt::format("{} again", network.id),
                          "an id no other network has",
                          fmt::format("network \"{}\" has it; choose another", other.name));
        }
    }
}

const Value& empty_table() {
    static const Value table = [] {
        Value value;
        value.kind = Value::Kind::kTable;
        return value;
    }();
    return table;
}

/// The document's [service] or [limits].
const Value& section(TableReader& root, std::string_view key) {
    const Value* const value = root.raw(key);
    if (value == nullptr) {
        return empty_table();
    }
    if (value->kind != Value::Kind::kTable) {
        root.reject(Fault::kWrongType, key, describe(*value), "one table",
                    fmt::format("write [{}], once, with single brackets", key));
        return empty_table();
    }
    return *value;
}

/// The document's [[network]], [[vnic]] or [[port]] tables.
std::vector<const Value*> sections(TableReader& root, std::string_view key, std::size_t most) {
    const Value* const value = root.raw(key);
    std::vector<const Value*> tables;
    if (value == nullptr) {
        return tables;
    }
    const bool all_tables =
        value->kind == Value::Kind::kArray &&
        std::all_of(value->items.begin(), value->items.end(),
                    [](const Value& item) { return item.kind == Value::Kind::kTable; });
    if (!all_tables) {
        root.reject(Fault::kWrongType, key, describe(*value), "an array of tables",
                    fmt::format("write [[{}]], with double brackets, before each", key));
        return tables;
    }
    if (value->items.size() > most) {
        root.reject(Fault::kOutOfRange, key, fmt::format("{} of them", value->items.size()),
                    fmt::format("at most {}", most),
                    "remove some, or raise limits.max_vnics if these are vNICs");
        return tables;
    }
    for (const Value& item : value->items) {
        tables.push_back(&item);
    }
    return tables;
}

void read_networks(const std::vector<const Value*>& tables, Configuration& result,
                   ErrorSink& errors) {
    for (std::size_t i = 0; i < tables.size(); ++i) {
        const std::string path = fmt::format("network[{}]", i + 1);
        NetworkConfig network = read_network(*tables[i], path, errors);
        check_network_unique(*tables[i], path, network, result.networks, errors);
        result.networks.push_back(std::move(network));
    }
}

void read_vnics(const std::vector<const Value*>& tables, Configuration& result,
                const HostFacts& host, ErrorSink& errors) {
    for (std::size_t i = 0; i < tables.size(); ++i) {
        const std::string path = fmt::format("vnic[{}]", i + 1);
        VnicConfig vnic = read_vnic(*tables[i], path, result, errors);
        check_socket_access(*tables[i], path, vnic.access, host, errors);
        result.vnics.push_back(std::move(vnic));
    }
}

void read_ports(const std::vector<const Value*>& tables, Configuration& result, ErrorSink& errors) {
    for (std::size_t i = 0; i < tables.size(); ++i) {
        PortConfig port = read_port(*tables[i], fmt::format("port[{}]", i + 1), result, errors);
        result.ports.push_back(std::move(port));
    }
}

std::vector<std::uint32_t> own_groups() {
    const int count = std::max(::getgroups(0, nullptr), 0);
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    groups.resize(static_cast<std::size_t>(std::max(::getgroups(count, groups.data()), 0)));
    groups.push_back(::getegid());
    return {groups.begin(), groups.end()};
}

bool has_capability(unsigned capability) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    return ::syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

ConfigurationErrors unreadable(const std::string& path, std::string found, std::string expected,
                               std::string remedy) {
    return {{Fault::kUnreadable, path, 0, "", std::move(found), std::move(expected),
             std::move(remedy)}};
}

}  // namespace

const NetworkConfig* Configuration::find_network(std::string_view name) const {
    const auto it = std::find_if(networks.begin(), networks.end(),
                                 [&](const NetworkConfig& n) { return n.name == name; });
    return it == networks.end() ? nullptr : &*it;
}

const VnicConfig* Configuration::find_vnic(std::string_view name) const {
    const auto it = std::find_if(vnics.begin(), vnics.end(),
                                 [&](const VnicConfig& v) { return v.name == name; });
    return it == vnics.end() ? nullptr : &*it;
}

const PortConfig* Configuration::find_port(std::string_view name) const {
    const auto it = std::find_if(ports.begin(), ports.end(),
                                 [&](const PortConfig& p) { return p.name == name; });
    return it == ports.end() ? nullptr : &*it;
}

HostFacts host_facts() {
    HostFacts facts;
    facts.uid = ::geteuid();
    facts.gids = own_groups();
    facts.may_change_owner = has_capability(CAP_CHOWN);
    if (const char* const xdg = std::getenv("XDG_RUNTIME_DIR")) {
        facts.xdg_runtime_dir = xdg;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        for (std::uint32_t cpu = 0; cpu <= kMaxCpu; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                facts.cpus.push_back(cpu);
            }
        }
    }
    return facts;
}

tl::expected<Configuration, ConfigurationErrors> parse_configuration(std::string_view toml,
                                                                     std::string_view file_name,
                                                                     const HostFacts& host) {
    const auto document = parse_toml(toml, file_name);
    if (!document) {
        return tl::unexpected(document.error());
    }
    ErrorSink errors{std::string(file_name)};
    TableReader root(*document, "", errors);
    Configuration result;
    const Value& service = section(root, "service");
    result.service = read_service(service, errors, host);
    result.limits = read_limits(section(root, "limits"), errors);
    const auto networks = sections(root, "network", kMaxNetworks);
    const auto vnics = sections(root, "vnic", result.limits.max_vnics);
    const auto ports = sections(root, "port", kMaxPorts);
    root.finish();
    check_service(service, result.service, host, errors);
    read_networks(networks, result, errors);
    read_vnics(vnics, result, host, errors);
    read_ports(ports, result, errors);
    if (!errors.empty()) {
        return tl::unexpected(errors.take());
    }
    return result;
}

tl::expected<Configuration, ConfigurationErrors> load_configuration(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return tl::unexpected(
            unreadable(path, "a file that cannot be opened", "a readable configuration file",
                       "check the path and its permissions, or choose another with --config"));
    }
    std::string text(std::size_t{kMaxConfigurationBytes} + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad() || (file.fail() && !file.eof())) {
        return tl::unexpected(unreadable(path, "a file that cannot be read", "a regular file",
                                         "check that the path is not a directory"));
    }
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMaxConfigurationBytes) {
        return tl::unexpected(
            unreadable(path, "more than 1 MiB", "a configuration of at most 1 MiB",
                       "check that this is the right file; add vNICs with vrdmactl vnic add"));
    }
    return parse_configuration(text, path, host_facts());
}

Configuration default_configuration(const HostFacts& host) {
    Configuration result;
    result.service.runtime_dir = default_runtime_directory(host.uid, host.xdg_runtime_dir);
    return result;
}

tl::expected<VnicConfig, ConfigurationErrors> parse_vnic_request(std::string_view json,
                                                                 const Configuration& in_force,
                                                                 const HostFacts& host) {
    const auto document = parse_json(json, "request");
    if (!document) {
        return tl::unexpected(document.error());
    }
    ErrorSink errors{"request"};
    VnicConfig vnic = read_vnic(*document, "", in_force, errors);
    check_socket_access(*document, "", vnic.access, host, errors);
    if (!errors.empty()) {
        return tl::unexpected(errors.take());
    }
    return vnic;
}

std::string to_string(const ConfigurationError& error) {
    std::string where = error.file;
    if (error.line != 0) {
        where += fmt::format(":{}", error.line);
    }
    if (!error.key.empty()) {
        where += ": " + error.key;
    }
    return fmt::format("{}: found {}, expected {}; {}", where, error.found, error.expected,
                       error.remedy);
}

std::string_view to_string(WorkerMode mode) {
    switch (mode) {
        case WorkerMode::kAdaptive:
            return "adaptive";
        case WorkerMode::kDedicated:
            return "dedicated";
    }
    return "";
}

std::string_view to_string(Placement placement) {
    switch (placement) {
        case Placement::kSpread:
            return "spread";
        case Placement::kNetwork:
            return "network";
    }
    return "";
}

std::string_view to_string(PeerKind peer) {
    switch (peer) {
        case PeerKind::kAuto:
            return "auto";
        case PeerKind::kVrdma:
            return "vrdma";
        case PeerKind::kRoce:
            return "roce";
    }
    return "";
}

std::string_view to_string(Spray spray) {
    switch (spray) {
        case Spray::kOff:
            return "off";
        case Spray::kFlowlet:
            return "flowlet";
    }
    return "";
}

std::string_view to_string(LogLevel level) {
    switch (level) {
        case LogLevel::kTrace:
            return "trace";
        case LogLevel::kDebug:
            return "debug";
        case LogLevel::kInfo:
            return "info";
        case LogLevel::kWarning:
            return "warning";
        case LogLevel::kError:
            return "error";
    }
    return "";
}

}  // namespace vrdma::control
