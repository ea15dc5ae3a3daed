// A machine on which everything is as it should be, to change one thing of.
#pragma once

#include "tools/vrdma-doctor/facts.h"

namespace vrdma::doctor {

inline Facts healthy() {
    Facts facts;
    facts.doctor_version = "1.2";
    facts.library = {
        .path = "/lib/libibverbs.so.1.14.44.0", .version = "1.14.44.0", .private_interface = 34};
    facts.provider = {.configured_by = "/etc/libibverbs.d/vrdma.driver",
                      .expected = "/lib/libibverbs/libvrdma-rdmav34.so",
                      .exists = true,
                      .loaded = "/lib/libibverbs/libvrdma-rdmav34.so"};
    facts.view.vrdma_in_sysfs = true;
    facts.view.node = true;
    Device device;
    device.name = "vrdma0";
    device.vrdma = true;
    device.opened = true;
    device.socket = "/run/vrdma/vnic/a/device.sock";
    device.service_version = "1.2";
    device.port_active = true;
    device.port_state = "active (4)";
    device.mtu = 4096;
    device.gids = {{.index = 0, .text = "fe80::1", .ipv4 = false, .type = "RoCE v2"},
                   {.index = 3, .text = "::ffff:10.0.0.1", .ipv4 = true, .type = "RoCE v2"}};
    facts.devices = {device};
    facts.memory.single = {.tried = true, .error = "", .kind = "adopted", .reason = "private"};
    facts.memory.threaded = facts.memory.single;
    facts.memory.shared = {.tried = true, .error = "", .kind = "shared", .reason = "memfd"};
    facts.limits.userfaultfd = true;
    for (const auto& [name, value] : {std::pair{"NCCL_IB_HCA", "vrdma"},
                                      {"NCCL_GIN_TYPE", "0"},
                                      {"NCCL_NET_GDR_LEVEL", "LOC"},
                                      {"NCCL_IB_MERGE_NICS", "0"}}) {
        facts.settings[name] = {.value = value, .where = "the environment"};
    }
    facts.program = Program{};
    facts.program->path = "/usr/bin/ib_write_bw";
    facts.program->interpreter = "/lib64/ld-linux-x86-64.so.2";
    facts.program->elf = true;
    facts.program->links_libibverbs = true;
    facts.peer = Peer{};
    facts.peer->address = "10.0.0.2";
    facts.peer->met = true;
    facts.peer->described = "10.0.0.2 serves";
    facts.transfer.tried = true;
    facts.transfer.speed = {.gigabytes_per_second = 5, .microseconds = 3};
    return facts;
}

}  // namespace vrdma::doctor
