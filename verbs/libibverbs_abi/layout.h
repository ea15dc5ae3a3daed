// Which private ABI a libibverbs has, as data: the layouts A to E and what differs between them.
//
// A "layout" is one arrangement of verbs_context and verbs_context_ops. A libibverbs names its
// private ABI by a number (PABI) in the name of its register function; one number, 59, stands for
// two layouts.
//
//   rdma-core   PABI  layout
//   36 .. 56    34    A
//   57, 58      57    A
//   59 .. 61    59    B
//   62, 63      59    C     has ibv_query_port_speed
//   64          64    D
//   65          65    E
//
// Threading: constants only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "verbs/libibverbs_abi/op.h"

namespace vrdma::verbs_abi {

enum class Layout : std::uint8_t { A, B, C, D, E };
inline constexpr std::size_t kLayoutCount = 5;

// The number in verbs_register_driver_NN.
enum class Pabi : std::uint8_t {
    v34 = 34,
    v57 = 57,
    v59 = 59,
    v64 = 64,
    v65 = 65,
};

struct LayoutSizes {
    std::size_t context_size;    // sizeof(verbs_context), bytes
    std::size_t context_offset;  // of the embedded ibv_context, which is the last member
    std::size_t ops_size;        // sizeof(verbs_context_ops), bytes
};

// Largest verbs_context_ops of any layout, and of any ibv_context offset.
inline constexpr std::size_t kMaxOpsSize = 744;
inline constexpr std::size_t kMaxContextSize = 696;

[[nodiscard]] LayoutSizes sizes_of(Layout layout);

// Byte offset of op in verbs_context_ops; nothing when that release has no such operation.
[[nodiscard]] std::optional<std::size_t> offset_of(Layout layout, Op op);

// The member's name in verbs_context_ops.
[[nodiscard]] std::string_view name_of(Op op);

// has_query_port_speed: the library exports ibv_query_port_speed; tells B from C.
[[nodiscard]] Layout layout_of(Pabi pabi, bool has_query_port_speed);

// The PABI numbers a layout goes with.
[[nodiscard]] std::span<const Pabi> pabis_of(Layout layout);

}  // namespace vrdma::verbs_abi
