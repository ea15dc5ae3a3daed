#pragma once

// What is mapped in a range of this process, and how each part of it is to be reached.

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "driver/memory/memory_map.h"
#include "driver/memory/vma.h"

namespace vrdma::tenant_memory {

// /proc/thread-self/maps, reduced to what matters for [start, end).
struct AddressSpace {
    std::vector<Vma> inside;  // the mappings that overlap it, ascending
    uint64_t guard_end = 0;   // end of a small inaccessible mapping right below inside[0], or 0
    uint64_t lowest = 0;      // start of the lowest mapping of the process
    uint32_t count = 0;       // mappings of the process
};
[[nodiscard]] tl::expected<AddressSpace, Error> read_address_space(uint64_t start, uint64_t end);

struct FileIdentity {
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
    uint64_t inode = 0;  // 0: there is no such file
};
[[nodiscard]] bool maps_file(const Vma& vma, const FileIdentity& file);

enum class Treatment : uint8_t {
    Keep,     // a shared mapping of the adoption file already
    Adopt,    // private anonymous memory
    Share,    // a shared mapping of another file
    Process,  // anything else
};

struct Segment {
    uint64_t start = 0;  // page aligned, as is end
    uint64_t end = 0;
    Treatment treatment = Treatment::Process;
    std::string reason;
    Vma vma;
};

// Segments that cover [start, end) (page aligned) without a gap, or EFAULT naming the
// address at which the range cannot be registered.
[[nodiscard]] tl::expected<std::vector<Segment>, Error> plan_segments(const AddressSpace& space,
                                                                      uint64_t start, uint64_t end,
                                                                      bool need_write,
                                                                      const FileIdentity& adoption);

// An inaccessible private mapping of `length` bytes, congruent to `like` modulo 2 MiB, below every
// other mapping when there is room (reading smaps up to it is cheap then). 0 when there is none.
[[nodiscard]] uint64_t reserve_addresses(uint64_t lowest, uint64_t length, uint64_t like);

}  // namespace vrdma::tenant_memory
