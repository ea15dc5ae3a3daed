// What an operator wants to capture, in the terms of the core.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <tl/expected.hpp>

#include "dataplane/control/configuration.h"
#include "dataplane/control/service_model.h"
#include "dataplane/net/capture_filter.h"

namespace vrdma::app {

struct CaptureOrder {
    uint32_t snap_length = wire::kPcapngSnapLength;
    std::optional<uint64_t> count;
    net::CaptureFilter filter;
    uint32_t worker = 0;  // of the filter's queue pair
};

// Without the filter for a queue pair.
[[nodiscard]] CaptureOrder make_order(const control::CaptureRequest& request);

// The filter for a queue pair's packets on `port`, which exists; or why there are none.
[[nodiscard]] tl::expected<net::CaptureFilter, control::ModelError> queue_pair_filter(
    const control::Configuration& configuration, std::string_view port,
    const control::QpInfo& queue_pair);

}  // namespace vrdma::app
