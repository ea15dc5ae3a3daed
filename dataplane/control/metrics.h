#pragma once

#include <string>
#include <vector>

#include "dataplane/control/service_model.h"

namespace vrdma::control {

/// Everything the service counts, in Prometheus' text format 0.0.4. Names: vrdma_NAME_total for the
/// service, vrdma_vnic_NAME_total{vnic,network} for a vNIC, vrdma_port_NAME_total{port,network},
/// vrdma_worker_..., vrdma_pool_...;
/// gauges without _total.
[[nodiscard]] std::string prometheus_text(const ServiceStatus& status,
                                          const std::vector<VnicInfo>& vnics,
                                          const std::vector<PortInfo>& ports,
                                          const Counters& counters);

}  // namespace vrdma::control
