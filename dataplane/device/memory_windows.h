// What a queue pair does with memory windows: bind, invalidate, and access through them.
#pragma once

#include <optional>

#include "dataplane/device/send_entry.h"
#include "dataplane/device/state.h"

namespace vrdma {

// Executes the BIND_MW or LOCAL_INV in Qp::wqe. nullopt: done.
[[nodiscard]] std::optional<EntryFault> execute_local(DeviceState& state, const Qp& qp);

// May the peer of the queue pair invalidate this key (SEND_WITH_INV)? nullopt: yes.
[[nodiscard]] std::optional<vrdma_reason> check_invalidation(DeviceState& state, const Qp& qp,
                                                             uint32_t key);
// Takes the access away that a bound window gives.
void unbind(DeviceState& state, Mw& window);

}  // namespace vrdma
