// One table for all runs, filled from a fixed seed when it is first needed. It is also the memory
// that READs read, at the same offsets.
#include "tests/sim/pattern.h"

#include <array>
#include <cstring>
#include <vector>

#include "tests/sim/random.h"

namespace vrdma::sim {

std::span<const std::byte> pattern_table() {
    static const std::vector<std::byte> table = [] {
        std::vector<std::byte> bytes(kPatternStarts + kMaxMessage);
        Random random(0x70617474);
        for (size_t at = 0; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
            const uint64_t word = random.next();
            std::memcpy(bytes.data() + at, &word, sizeof word);
        }
        return bytes;
    }();
    return table;
}

}  // namespace vrdma::sim
