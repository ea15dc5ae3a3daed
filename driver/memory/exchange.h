#pragma once

// Exchange of the memory behind a range of addresses, with every other thread of the process held
// off meanwhile: private anonymous memory for a mapping of the adoption file (adopt_step), and
// back (restore_step).
//
// Addresses, lengths and offsets are bytes and multiples of the page size. `parked` and `view`
// are address ranges of the same length that belong to the caller before and after the call (they
// never become a hole that another thread's mmap could get).
// The request and the result must lie on the caller's stack and that stack, and the caller's
// thread control block, outside the range. Threads: callers exclude each other.

#include <cstdint>

namespace vrdma::tenant_memory {

enum class ExchangeStage : uint8_t {
    Done,
    Withhold,  // userfaultfd refused the range (EBUSY: the program has its own on it)
    Move,      // the pages could not be moved aside
    Identity,  // something else is mapped there by now; put back
    Flags,     // a property of the mapping forbids it; put back
    Copy,      // copying failed; put back
    Map,       // mapping the new memory failed; put back
    Stranded,  // could not be put back; the contents are at `parked` or `view`, which must be kept
};

struct ExchangeResult {
    ExchangeStage stage = ExchangeStage::Done;
    int error = 0;       // positive errno of the step that failed
    uint32_t flags = 0;  // VmaFlag of the mapping that was found
};

struct AdoptRequest {
    int userfault_fd = -1;  // -1: nobody else is there to hold off
    int file_fd = -1;       // the adoption file
    int pagemap_fd = -1;    // /proc/thread-self/pagemap
    bool scan = true;       // PAGEMAP_SCAN is tried before reading pagemap
    bool write = false;     // protection of the range: readable, and this
    uint32_t page_bytes = 0;
    uint32_t refuse_flags = 0;  // VmaFlag that forbid adoption
    uint64_t address = 0;
    uint64_t length = 0;
    uint64_t parked = 0;  // where the private mapping waits, emptied, until it is wanted back
    uint64_t file_offset = 0;
};

struct RestoreRequest {
    int userfault_fd = -1;
    int file_fd = -1;
    uint32_t device_major = 0;  // of the adoption file, as /proc prints them
    uint32_t device_minor = 0;
    uint64_t inode = 0;
    uint64_t address = 0;
    uint64_t length = 0;
    uint64_t view = 0;    // where the shared mapping is moved aside
    uint64_t parked = 0;  // private anonymous memory that takes the contents
    uint64_t file_offset = 0;
};

// Where, going up from `start`, the populated pages become more than `most`, or `end`; `start` when
// the kernel cannot tell (before 6.7).
[[nodiscard]] uint64_t find_populated_end(int pagemap_fd, uint64_t start, uint64_t end,
                                          uint64_t most);

[[nodiscard]] ExchangeResult adopt_step(const AdoptRequest& request);
[[nodiscard]] ExchangeResult restore_step(const RestoreRequest& request);

}  // namespace vrdma::tenant_memory
