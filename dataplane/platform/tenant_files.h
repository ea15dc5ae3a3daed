// What a tenant hands over as a file descriptor, checked before anything is done with it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <tl/expected.hpp>

namespace vrdma::platform {

struct TenantMapping {
    std::byte* base;
    const std::atomic<bool>* broken;
};

// Maps [offset, offset + length) of memory that a tenant shares. Only memory files (memfd,
// /dev/shm, hugetlbfs) are taken: a page of any other file could make a worker wait for whoever
// serves it. `sealed`: the file must be sealed against shrinking. Errors are static sentences.
[[nodiscard]] tl::expected<TenantMapping, const char*> map_shared(int file, uint64_t offset,
                                                                  uint64_t length, bool writable,
                                                                  bool sealed);
void unmap_shared(std::byte* base, uint64_t length);

[[nodiscard]] bool is_process_memory(int file);  // some /proc/PID/mem, open for reading and writing
[[nodiscard]] bool is_event_counter(int file);   // an eventfd
[[nodiscard]] bool is_local_socket(int file);    // a connected AF_UNIX socket

}  // namespace vrdma::platform
