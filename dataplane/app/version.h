#pragma once

namespace vrdma::app {

inline constexpr const char* kVersion = VRDMA_VERSION;

}  // namespace vrdma::app
