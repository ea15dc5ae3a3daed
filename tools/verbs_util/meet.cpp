// TCP on any address: tests and measurements meet so, on networks of their own.
#include "tools/verbs_util/meet.h"

#include <fmt/format.h>

namespace vrdma::verbs_util {

Result<Stream> meet(const std::string& host, std::uint16_t port, int timeout_ms) {
    if (!host.empty()) {
        return Stream::connect(fmt::format("{}:{}", host, port), timeout_ms);
    }
    auto listener = Listener::listen(fmt::format(":{}", port));
    if (!listener) {
        return tl::make_unexpected(listener.error());
    }
    return listener->accept(timeout_ms);
}

}  // namespace vrdma::verbs_util
