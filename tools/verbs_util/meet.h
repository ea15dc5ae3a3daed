#pragma once

// How two processes find each other that are started like perftest.

#include <cstdint>
#include <string>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/stream.h"

namespace vrdma::verbs_util {

/// The client connects to the server's host; the server, whose `host` is empty, waits for it.
[[nodiscard]] Result<Stream> meet(const std::string& host, std::uint16_t port, int timeout_ms);

}  // namespace vrdma::verbs_util
