// Which changes of a queue pair's state the InfiniBand architecture allows, and with which
// attributes.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace vrdma::verbs {

struct QpTransition {
    ibv_qp_type type;
    ibv_qp_state from;
    ibv_qp_state to;
    std::uint32_t mask;  // enum ibv_qp_attr_mask, all bits that were given
};

enum class TransitionVerdict : std::uint8_t {
    allowed,
    no_such_transition,   // or the type is none of RC, UC, UD
    attribute_missing,    // a required attribute is not in the mask
    attribute_forbidden,  // one that this transition cannot take
};

// Attributes of IBA 11.2.5.2, tables 91 to 93.
[[nodiscard]] TransitionVerdict check_transition(const QpTransition& transition);

[[nodiscard]] const char* describe(TransitionVerdict verdict);

}  // namespace vrdma::verbs
