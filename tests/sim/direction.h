// One direction of a connection: the program that posts, the memory it is posted to, and the ledger
// that knows what is owed.
#pragma once

#include <string>

#include "tests/sim/ledger.h"
#include "tests/sim/responder_memory.h"
#include "tests/sim/workload.h"

namespace vrdma::sim {

struct Direction {
    Direction(const ConnectionConfig& config, size_t requester, Judge& judge, std::string name,
              const Random& random)
        : ledger(config.service, config.max_rd_atomic, judge, std::move(name)),
          workload(config.mix[requester], config.path_mtu, config.service,
                   Workload::ring_bytes(config.mix[requester]), random.child(1)),
          memory(config, config.mix[requester], Workload::ring_bytes(config.mix[requester]), ledger,
                 random.child(2)),
          messages(config.messages[requester]) {}

    [[nodiscard]] bool done() const {
        return ledger.posted() >= messages && ledger.completed() == ledger.posted();
    }

    Ledger ledger;
    Workload workload;
    ResponderMemory memory;
    uint64_t messages;  // to be posted in all
    Instant last_progress{0};
};

}  // namespace vrdma::sim
