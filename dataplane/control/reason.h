#pragma once

#include <cstdint>
#include <string_view>

namespace vrdma::control {

/// What an enum vrdma_reason (driver/abi/status.h) means to an operator.
struct ReasonText {
    std::string_view name;     ///< "lkey_unknown"
    std::string_view meaning;  ///< what happened
    std::string_view remedy;   ///< what to look at
};

/// Any number is answered; one that this release does not know says so.
[[nodiscard]] ReasonText reason_text(std::uint32_t reason);

}  // namespace vrdma::control
