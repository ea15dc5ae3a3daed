// The libibverbs that loaded this provider: its private entry points, found at run time.
//
// Nothing here is linked by version: the provider names libibverbs.so.1 as a dependency and takes
// whatever release the process has. Threading: find_libibverbs in the constructor; a plain value
// after.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <tl/expected.hpp>

#include "verbs/libibverbs_abi/layout.h"
#include "verbs/libibverbs_abi/structs.h"

struct link_map;

namespace vrdma::verbs_abi {

struct Libibverbs {
    Layout layout;
    Pabi pabi;
    link_map* object;  // of the library itself
    void (*register_driver)(const VerbsDeviceOps* ops);
    // Returns alloc_size zeroed bytes with a verbs_context at context_offset (given as a pointer
    // value, as the C macro does). Takes cmd_fd: closes it when it fails (nullptr, errno).
    void* (*init_and_alloc_context)(ibv_device* device, int cmd_fd, std::size_t alloc_size,
                                    VerbsContext* context_offset, std::uint32_t driver_id);
    void (*set_ops)(VerbsContext* context, const void* ops);
    void (*uninit_context)(VerbsContext* context);
};

enum class LibibverbsError : std::uint8_t {
    not_loaded,           // no libibverbs in this process
    unknown_private_abi,  // one that exports none of the register functions we know
};

[[nodiscard]] tl::expected<Libibverbs, LibibverbsError> find_libibverbs();

// The NN of ".../libvrdma-rdmavNN.so", the name libibverbs looks for; 0 when there is none.
[[nodiscard]] unsigned pabi_in_file_name(const char* path);

}  // namespace vrdma::verbs_abi
