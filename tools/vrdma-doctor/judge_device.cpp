// Judges whether there is a device and whether it works. A device that is missing has one finding,
// the first cause on the way libibverbs goes: the tree, the library that shows it, the kernel that
// answers instead, the node, the configured driver, its file. Only what is left is "no device".
#include <fmt/format.h>

#include "tools/vrdma-doctor/judge.h"

namespace vrdma::doctor {
namespace {

constexpr std::uint32_t kFullMtu = 4096;
constexpr char kStart[] = "start the program with vrdma-run --vnic NAME -- PROGRAM";

std::string with_complaint(std::string text, const std::string& complaint) {
    return complaint.empty() ? text : text + " (" + complaint + ")";
}

// The finding for "none of ours is in the list".
Finding why_no_device(const Facts& facts) {
    const View& view = facts.view;
    const Provider& provider = facts.provider;
    if (view.tree && !view.tree_exists) {
        return {"tree-missing", Level::error,
                "VRDMA_TREE names " + *view.tree + ", where no vNIC's device tree is",
                "check that the vNIC exists (vrdmactl vnic list) and that its directory is mounted "
                "under the same path"};
    }
    if (view.tree && !view.preload_library) {
        return {"preload-missing", Level::error,
                "VRDMA_TREE is set, but libvrdma-preload.so is not in this process",
                "LD_PRELOAD=/path/to/libvrdma-preload.so, or " + std::string(kStart)};
    }
    if (view.vrdma_in_sysfs && view.kernel_answers) {
        return {
            "ib-core-answers", Level::error,
            "a vNIC's tree is in sight, but the kernel's ib_core answers libibverbs, which then "
            "does not look at it",
            "vrdma-run --mode preload --vnic NAME -- PROGRAM"};
    }
    if (view.vrdma_in_sysfs && !view.node) {
        return {
            "node-missing", Level::error,
            "a vNIC's tree is in sight, but /dev/infiniband has no node of it",
            "ln -s /dev/full /dev/infiniband/uverbs0 in the container, or " + std::string(kStart)};
    }
    if (view.vrdma_in_sysfs && provider.configured_by.empty()) {
        return {"driver-not-configured", Level::error,
                "a vNIC is in sight, but nothing tells libibverbs of the provider: neither a file "
                "in /etc/libibverbs.d nor RDMAV_DRIVERS",
                "install vrdma's provider, or set RDMAV_DRIVERS=/path/to/libvrdma"};
    }
    if (view.vrdma_in_sysfs && !provider.exists) {
        return {"provider-missing", Level::error,
                "libibverbs would load " + provider.expected +
                    ", which is not there (configured "
                    "by " +
                    provider.configured_by + ")",
                "install the provider of this vrdma; it has one file for each private interface "
                "number of libibverbs"};
    }
    if (!facts.devices.empty()) {
        return {"only-real-devices", Level::error,
                with_complaint("only RDMA devices of others are visible here, the first is " +
                                   facts.devices.front().name,
                               view.complaint),
                kStart};
    }
    return {"no-device", Level::error,
            with_complaint("no RDMA device is visible here", view.complaint), kStart};
}

void judge_library(const Facts& facts, Findings& findings) {
    findings.push_back(
        {"libibverbs", Level::ok,
         fmt::format("libibverbs {} ({}), private interface {}", facts.library.version,
                     facts.library.path, facts.library.private_interface),
         ""});
    if (!facts.provider.loaded.empty()) {
        findings.push_back({"provider", Level::ok,
                            "provider " + facts.provider.loaded + ", configured by " +
                                facts.provider.configured_by,
                            ""});
    }
}

void judge_gids(const Device& device, Findings& findings) {
    bool ipv4 = false;
    bool any = false;
    bool untold = false;
    bool old = false;
    std::string list;
    for (const Gid& gid : device.gids) {
        any = true;
        ipv4 = ipv4 || gid.ipv4;
        untold = untold || gid.type.empty();
        old = old || (!gid.type.empty() && gid.type != "RoCE v2");
        list += fmt::format("{}{}: {}", list.empty() ? "" : ", ", gid.index, gid.text);
    }
    if (!any) {
        findings.push_back({"gid-none", Level::error, device.name + " has no GID",
                            "ask the operator for the vNIC's address (vrdmactl vnic show)"});
    } else if (untold) {
        findings.push_back({"gid-type-unknown", Level::warning,
                            "the types of " + device.name +
                                "'s GIDs cannot be read: UCX takes "
                                "them for RoCE v1, NCCL may refuse to connect",
                            "show the whole tree to the program: " + std::string(kStart)});
    } else if (old) {
        findings.push_back({"gid-type-v1", Level::warning,
                            device.name + " has a GID that is not RoCE v2",
                            "choose another one (NCCL_IB_GID_INDEX, UCX_IB_GID_INDEX)"});
    } else if (!ipv4) {
        findings.push_back({"gid-no-ipv4", Level::warning,
                            device.name + " has no IPv4 GID, which NCCL and most scripts choose",
                            "give the vNIC an IPv4 address, or set NCCL_IB_ADDR_FAMILY=AF_INET6"});
    } else {
        findings.push_back({"gids", Level::ok, "GIDs, all RoCE v2: " + list, ""});
    }
}

void judge_open_device(const Facts& facts, const Device& device, Findings& findings) {
    findings.push_back(
        {"device", Level::ok,
         fmt::format("{}: service {} at {}", device.name, device.service_version, device.socket),
         ""});
    if (device.service_version != facts.doctor_version) {
        findings.push_back({"version-differs", Level::note,
                            fmt::format("the service is version {}, this installation {}",
                                        device.service_version, facts.doctor_version),
                            "nothing: they agreed on an interface; update the older one when "
                            "convenient"});
    }
    if (!device.port_active) {
        findings.push_back(
            {"port-down", Level::error,
             "the port of " + device.name + " is " + device.port_state + ", so programs skip it",
             "ask the operator: vrdmactl port list, vrdmactl vnic show"});
    } else {
        findings.push_back(
            {"port", Level::ok, fmt::format("port 1 is active, MTU {}", device.mtu), ""});
        if (device.mtu < kFullMtu) {
            findings.push_back({"mtu-small", Level::note,
                                fmt::format("the active MTU is {} of {} bytes: more packets for "
                                            "the same data between hosts",
                                            device.mtu, kFullMtu),
                                "jumbo frames (9000) in the network below, if it can"});
        }
    }
    judge_gids(device, findings);
}

}  // namespace

void judge_device(const Facts& facts, Findings& findings) {
    judge_library(facts, findings);
    const Device* ours = facts.ours();
    if (ours == nullptr) {
        findings.push_back(why_no_device(facts));
        return;
    }
    if (!ours->opened && !ours->socket_error.empty()) {
        findings.push_back({"service-gone", Level::error,
                            fmt::format("the service of {} does not answer at {}: {}", ours->name,
                                        ours->socket, ours->socket_error),
                            "ask the operator whether vrdmad runs; in a container, that the "
                            "vNIC's directory is mounted under the same path, and that this user "
                            "may use it"});
    } else if (!ours->opened) {
        findings.push_back({"device-not-opened", Level::error,
                            with_complaint(ours->name + " cannot be opened", ours->complaint),
                            "what the provider says above; see docs/troubleshooting.md"});
    } else {
        judge_open_device(facts, *ours, findings);
    }
    std::string real;
    std::string several;
    for (const Device& device : facts.devices) {
        std::string& list = device.vrdma ? several : real;
        list += (list.empty() ? "" : ", ") + device.name;
    }
    if (!real.empty()) {
        findings.push_back({"real-devices", Level::warning,
                            "RDMA devices of others are visible too, and a program may take "
                            "them: " +
                                real,
                            "name the device (NCCL_IB_HCA=vrdma, UCX_NET_DEVICES=" + ours->name +
                                ":1, -d " + ours->name + ")"});
    }
    if (several != ours->name) {
        findings.push_back({"several-devices", Level::note,
                            "several vNICs are visible: " + several +
                                ". A program takes the first "
                                "unless it is told",
                            "name the device, or use vrdma-run, which shows one"});
    }
}

}  // namespace vrdma::doctor
