#pragma once

#include <string>
#include <string_view>

#include "dataplane/control/configuration.h"
#include "dataplane/control/document.h"
#include "dataplane/control/table_reader.h"

namespace vrdma::control {

constexpr std::string_view kNameRule =
    "a name of 1 to 32 characters: small letters, digits and '-', not starting with '-'";

/// Reads "name" under kNameRule; empty, with an error, if it breaks the rule.
[[nodiscard]] std::string read_name(TableReader& reader);

/// Reads "network", which names one of the configuration; empty, with an error, if it does not.
[[nodiscard]] std::string read_network_name(TableReader& reader, const Configuration& rest);

/// Reads one vNIC and checks it against the rest of the configuration, which it does not change.
[[nodiscard]] VnicConfig read_vnic(const Value& table, std::string path, const Configuration& rest,
                                   ErrorSink& errors);

/// Checks that this process may give the attach socket the owner and group that the table names.
void check_socket_access(const Value& table, std::string path, const SocketAccess& access,
                         const HostFacts& host, ErrorSink& errors);

}  // namespace vrdma::control
