// The multicast groups of all workers, for tools.
#pragma once

#include <functional>
#include <vector>

#include "dataplane/app/inspection.h"
#include "dataplane/control/service_model.h"

namespace vrdma::app {

// By the index of a vNIC; null: it is leaving.
using VnicOf = std::function<const control::VnicConfig*(uint32_t vnic)>;

// What the workers found as one list: one entry for a group and a vNIC, whichever workers its queue
// pairs are on. At most `limit` entries; what leaving vNICs still have is left out.
[[nodiscard]] control::GroupList list_groups(const std::vector<GroupQuery>& parts,
                                             const VnicOf& vnic_of, uint32_t limit);

}  // namespace vrdma::app
