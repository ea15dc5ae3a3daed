// The two sides of --peer and --serve. They meet by TCP, over the network of their hosts, and tell
// each other what the RDMA connection between them needs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-doctor/facts.h"

namespace vrdma::doctor {

inline constexpr std::uint16_t kDefaultPort = 18516;

// Who is at one end.
struct Identity {
    bool vrdma = false;
    std::string device;
    std::string service;        // its version, or the firmware's
    std::string machine;        // the kernel's boot id: of which machine
    std::uint64_t process = 0;  // of the service, as this end sees it; 0: it does not
};

[[nodiscard]] nlohmann::json to_json(const Identity& identity);
[[nodiscard]] Identity identity_from(const nlohmann::json& json);
[[nodiscard]] Path path_between(const Identity& here, const Identity& there);

// Serves one client after the other and does not return, unless it cannot begin.
[[nodiscard]] verbs_util::Error serve(const std::string& device, std::uint16_t port);

// Meets the doctor at `address`, else tries the address itself over the device.
void meet(const std::string& device, const std::string& address, std::uint16_t port, double seconds,
          Facts& facts);

}  // namespace vrdma::doctor
