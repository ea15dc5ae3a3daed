// What a tenant does with XRC: domains, SRQs with a number, targets.
#pragma once

#include "tenant.h"

namespace vrdma::test {

struct XrcRing {
    SharedRing ring;
    uint32_t srqn = 0;
};

[[nodiscard]] CommandOutcome try_open_xrcd(Tenant& tenant, uint32_t flags,
                                           std::optional<uint64_t> inode = {});
// Without an inode: a domain of this context alone.
[[nodiscard]] uint32_t open_xrcd(Tenant& tenant, std::optional<uint64_t> inode = {});

struct XrcSrqOptions {
    std::optional<uint32_t> pd{};
    std::optional<uint32_t> cq{};  // handle
    uint32_t entries = 64;
};
// The command; the memory is the tenant's.
[[nodiscard]] vrdma_cmd_create_xrc_srq xrc_srq_request(Tenant& tenant, uint32_t xrcd,
                                                       const XrcSrqOptions& options = {});
[[nodiscard]] XrcRing create_xrc_srq(Tenant& tenant, uint32_t xrcd,
                                     const XrcSrqOptions& options = {});

[[nodiscard]] CommandOutcome try_target(Tenant& tenant, vrdma_command_opcode opcode,
                                        const vrdma_cmd_xrc_target& request);
[[nodiscard]] QueuePair create_target(Tenant& tenant, uint32_t xrcd);
[[nodiscard]] QueuePair open_target(Tenant& tenant, uint32_t xrcd, uint32_t qpn);

}  // namespace vrdma::test
