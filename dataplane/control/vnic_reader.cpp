// The rules for one vNIC, from a file or from a request.
//
// A vNIC is where tenants meet, so most of the rules protect the neighbour: two vNICs of a network
// with one address would receive each other's messages, a name with a '/' would leave the runtime
// directory, and a quota above the host's pool would promise what another tenant can take away.
//
// Users and groups are resolved here, once: a name that does not exist, or that the service may not
// give its socket to, is an error of the configuration, not a surprise when the socket is created.

#include "dataplane/control/vnic_reader.h"

#include <algorithm>
#include <array>
#include <vector>

#include <grp.h>
#include <pwd.h>

#include <fmt/format.h>

#include "dataplane/control/runtime_directory.h"

namespace vrdma::control {
namespace {

bool is_name(std::string_view text) {
    constexpr std::size_t kLongest = 32;
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    };
    return !text.empty() && text.size() <= kLongest && text.front() != '-' &&
           std::all_of(text.begin(), text.end(), allowed);
}

void read_address(TableReader& reader, VnicConfig& vnic) {
    const std::string expected = "an IPv4 address of one host, such as \"10.0.0.1\"";
    if (!reader.require("address", expected)) {
        return;
    }
    const auto text = reader.text("address", expected);
    if (!text) {
        return;
    }
    const auto address = parse_ipv4(*text);
    const std::string found = describe(*reader.raw("address"));
    if (!address) {
        reader.reject(
            Fault::kMalformed, "address", found, expected,
            "write four numbers from 0 to 255 with dots between, without a prefix length");
    } else if (!is_host_address(*address)) {
        reader.reject(Fault::kOutOfRange, "address", found, expected,
                      "choose one outside 0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3");
    } else {
        vnic.address = *address;
    }
}

void read_mac(TableReader& reader, VnicConfig& vnic) {
    const std::string expected = "a unicast MAC address, such as \"02:00:00:00:00:01\"";
    vnic.mac = derived_mac(vnic.address);
    const auto text = reader.text("mac", expected);
    if (!text) {
        return;
    }
    const auto mac = parse_mac(*text);
    const std::string found = describe(*reader.raw("mac"));
    if (!mac) {
        reader.reject(Fault::kMalformed, "mac", found, expected,
                      "write six pairs of hexadecimal digits with ':' between");
    } else if (!is_host_address(*mac)) {
        reader.reject(Fault::kOutOfRange, "mac", found, expected,
                      "make the first pair even and the address not zero, or remove the key");
    } else {
        vnic.mac = *mac;
    }
}

std::optional<std::uint32_t> user_id(const std::string& name) {
    const passwd* const entry = ::getpwnam(name.c_str());
    return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->pw_uid);
}

std::optional<std::uint32_t> group_id(const std::string& name) {
    const group* const entry = ::getgrnam(name.c_str());
    return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->gr_gid);
}

void read_principal(TableReader& reader, std::string_view key,
                    std::optional<std::uint32_t> (*look_up)(const std::string&),
                    std::optional<std::uint32_t>& field) {
    constexpr std::uint32_t kHighestId = UINT32_MAX - 1;  // all ones means "no change" to chown
    const Value* const value = reader.raw(key);
    if (value != nullptr && value->kind == Value::Kind::kInteger) {
        std::uint32_t id = 0;
        if (reader.number(key, id, 0U, kHighestId)) {
            field = id;
        }
        return;
    }
    const std::string expected = "the name or number of one that exists on this host";
    if (const auto name = reader.text(key, expected)) {
        field = look_up(*name);
        if (!field) {
            reader.reject(Fault::kUnknownName, key, describe(*value), expected,
                          fmt::format("create it, or give the number of the {}", key));
        }
    }
}

void read_mode(TableReader& reader, std::uint32_t& field) {
    constexpr std::uint32_t kHighest = 0777;
    const std::string expected = "the permissions of the socket as octal text, such as \"0660\"";
    const auto text = reader.text("mode", expected);
    if (!text) {
        return;
    }
    const bool octal = (text->size() == 3 || (text->size() == 4 && text->front() == '0')) &&
                       text->find_first_not_of("01234567") == std::string::npos;
    const std::string found = describe(*reader.raw("mode"));
    if (!octal) {
        reader.reject(Fault::kMalformed, "mode", found, expected,
                      "write three octal digits, with or without a 0 before them");
        return;
    }
    const auto mode = static_cast<std::uint32_t>(std::stoul(*text, nullptr, 8)) & kHighest;
    constexpr std::uint32_t kOwnerUse = 0600;
    if ((mode & kOwnerUse) != kOwnerUse) {
        reader.reject(Fault::kOutOfRange, "mode", found, "one with which the owner can use it",
                      "start it with 6 or 7");
        return;
    }
    field = mode;
}

/// A quota: at most what the host has; the default gives way to a smaller host limit.
void read_quota(TableReader& reader, std::string_view key, std::uint32_t& field,
                std::uint32_t limit) {
    const bool given = reader.number(key, field, 1U, UINT32_MAX);
    if (given && field > limit) {
        reader.reject(Fault::kInconsistent, key, fmt::format("{}", field),
                      fmt::format("at most {}, the host's own limits.{}", limit, key),
                      fmt::format("lower it, or raise {} in [limits]", key));
    }
    field = std::min(field, limit);
}

void read_quotas(TableReader& reader, const HostLimits& limits, VnicQuotas& quotas) {
    read_quota(reader, "max_contexts", quotas.max_contexts, limits.max_contexts);
    read_quota(reader, "max_pds", quotas.max_pds, limits.max_pds);
    read_quota(reader, "max_mrs", quotas.max_mrs, limits.max_mrs);
    read_quota(reader, "max_cqs", quotas.max_cqs, limits.max_cqs);
    read_quota(reader, "max_qps", quotas.max_qps, limits.max_qps);
    read_quota(reader, "max_srqs", quotas.max_srqs, limits.max_srqs);
    reader.bytes("max_mr_bytes", quotas.max_mr_bytes);
}

void check_unique(TableReader& reader, const VnicConfig& vnic, const Configuration& rest) {
    for (const VnicConfig& other : rest.vnics) {
        if (!vnic.name.empty() && other.name == vnic.name) {
            reader.reject(Fault::kDuplicate, "name", fmt::format("\"{}\" again", vnic.name),
                          "a name no other vNIC of this host has", "rename one of the two");
        }
        if (vnic.network.empty() || other.network != vnic.network ||
            vnic.address == Ipv4Address{} || other.address == Ipv4Address{}) {
            continue;
        }
        const std::string holder = fmt::format("vNIC \"{}\" has it; choose another", other.name);
        if (other.address == vnic.address) {
            reader.reject(
                Fault::kDuplicate, "address", fmt::format("{} again", to_string(vnic.address)),
                fmt::format("an address no other vNIC of \"{}\" has", vnic.network), holder);
        } else if (other.mac == vnic.mac) {
            reader.reject(Fault::kDuplicate, "mac", fmt::format("{} again", to_string(vnic.mac)),
                          fmt::format("a MAC no other vNIC of \"{}\" has", vnic.network), holder);
        }
    }
}

void check_socket_path(TableReader& reader, const VnicConfig& vnic, const Configuration& rest) {
    const std::string path = device_socket_path(rest.service.runtime_dir, vnic.name);
    if (path.size() > kMaxSocketPath) {
        reader.reject(Fault::kOutOfRange, "name", fmt::format("the socket path {}", path),
                      fmt::format("at most {} bytes", kMaxSocketPath),
                      "choose a shorter name or a shorter service.runtime_dir");
    }
}

}  // namespace

std::string read_name(TableReader& reader) {
    const auto name = reader.text("name", kNameRule);
    if (!name) {
        return {};
    }
    if (!is_name(*name)) {
        reader.reject(Fault::kMalformed, "name", describe(*reader.raw("name")),
                      std::string(kNameRule), "choose another name, such as \"tenant-a\"");
        return {};
    }
    return *name;
}

std::string read_network_name(TableReader& reader, const Configuration& rest) {
    const std::string expected = "the name of a [[network]] of the configuration";
    if (!reader.require("network", expected)) {
        return {};
    }
    const auto name = reader.text("network", expected);
    if (!name) {
        return {};
    }
    if (rest.find_network(*name) != nullptr) {
        return *name;
    }
    std::vector<std::string> names;
    for (const NetworkConfig& network : rest.networks) {
        names.push_back(network.name);
    }
    reader.reject(Fault::kUnknownName, "network", describe(*reader.raw("network")), expected,
                  names.empty() ? "add a [[network]] with this name" : suggest(*name, names));
    return {};
}

VnicConfig read_vnic(const Value& table, std::string path, const Configuration& rest,
                     ErrorSink& errors) {
    VnicConfig vnic;
    TableReader reader(table, std::move(path), errors);
    if (reader.require("name", kNameRule)) {
        vnic.name = read_name(reader);
    }
    vnic.network = read_network_name(reader, rest);
    read_address(reader, vnic);
    read_mac(reader, vnic);
    read_principal(reader, "owner", user_id, vnic.access.owner);
    read_principal(reader, "group", group_id, vnic.access.group);
    read_mode(reader, vnic.access.mode);
    reader.boolean("process_memory", vnic.process_memory);
    reader.boolean("userfaultfd", vnic.userfaultfd);
    read_quotas(reader, rest.limits, vnic.quotas);
    reader.finish();
    check_unique(reader, vnic, rest);
    check_socket_path(reader, vnic, rest);
    return vnic;
}

void check_socket_access(const Value& table, std::string path, const SocketAccess& access,
                         const HostFacts& host, ErrorSink& errors) {
    if (host.may_change_owner) {
        return;
    }
    TableReader reader(table, std::move(path), errors);
    if (access.owner && *access.owner != host.uid) {
        reader.reject(
            Fault::kInconsistent, "owner",
            fmt::format("{} in a service of uid {}", describe(*reader.raw("owner")), host.uid),
            "the service's own user, or a service that may give files away (CAP_CHOWN)",
            "start the service as root, or remove the key and set mode");
    }
    if (access.group &&
        std::find(host.gids.begin(), host.gids.end(), *access.group) == host.gids.end()) {
        reader.reject(
            Fault::kInconsistent, "group",
            fmt::format("{} in a service of uid {}", describe(*reader.raw("group")), host.uid),
            fmt::format("a group the service is in (gids {}), or a service that may give "
                        "files away (CAP_CHOWN)",
                        fmt::join(host.gids, ", ")),
            "add the service's user to the group, start the service as root, or remove "
            "the key and set mode");
    }
}

}  // namespace vrdma::control
