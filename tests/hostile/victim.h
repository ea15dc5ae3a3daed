// A pair of queue pairs that goes on verifying data while somebody else misbehaves.
#pragma once

#include <cstdint>
#include <string>

namespace vrdma::hostile {

// What a victim has seen. It stands in shared memory: the victim is a process of its own.
struct VictimReport {
    bool ready;
    bool stop;    // written by the parent
    bool failed;  // `what` says why
    char what[160];
    uint64_t messages;
    uint64_t bytes;
    uint64_t longest_gap_us;  // between two completions
};

// Opens `from` and `to` (attach sockets) and sends until report.stop. Does not return before.
void run_victim(const std::string& from, const std::string& to, VictimReport& report);

}  // namespace vrdma::hostile
