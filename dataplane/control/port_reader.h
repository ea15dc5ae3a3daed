#pragma once

#include <string>

#include "dataplane/control/configuration.h"
#include "dataplane/control/document.h"
#include "dataplane/control/table_reader.h"

namespace vrdma::control {

/// Reads one [[port]] and checks it against the rest of the configuration, which it does not
/// change: the networks and the ports before it.
[[nodiscard]] PortConfig read_port(const Value& table, std::string path, const Configuration& rest,
                                   ErrorSink& errors);

}  // namespace vrdma::control
