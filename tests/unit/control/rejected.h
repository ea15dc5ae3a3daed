#pragma once

#include <string>

#include <gtest/gtest.h>

#include "dataplane/control/configuration.h"

namespace vrdma::control {

inline HostFacts plain_host() {
    HostFacts host;
    host.uid = 1000;
    host.gids = {1000};
    host.xdg_runtime_dir = "/run/user/1000";
    host.cpus = {0, 1, 2, 3};
    return host;
}

/// The same for a service that may give its files to anybody.
inline HostFacts root_host() {
    HostFacts host = plain_host();
    host.uid = 0;
    host.may_change_owner = true;
    return host;
}

/// Expects that exactly one rule is broken, and which.
template <class T>
void expect_only(const tl::expected<T, ConfigurationErrors>& result, Fault fault,
                 const std::string& key, std::uint32_t line) {
    ASSERT_FALSE(result) << "accepted";
    std::string all;
    for (const ConfigurationError& error : result.error()) {
        all += to_string(error) + "\n";
    }
    ASSERT_EQ(result.error().size(), 1U) << all;
    const ConfigurationError& error = result.error()[0];
    EXPECT_EQ(error.fault, fault) << all;
    EXPECT_EQ(error.key, key) << all;
    EXPECT_EQ(error.line, line) << all;
    EXPECT_FALSE(error.file.empty() || error.found.empty() || error.expected.empty() ||
                 error.remedy.empty())
        << all;
}

}  // namespace vrdma::control
