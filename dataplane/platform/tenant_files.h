// What a tenant hands over as a file descriptor, checked before anything is done with it.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <tl/expected.hpp>

namespace vrdma::platform {

struct TenantMapping {
    std::byte* base;
    const std::atomic<bool>* broken;
    bool may_shrink;  // not sealed: its owner can take the memory away
};

// Maps [offset, offset + length) of memory that a tenant shares. Only memory files (memfd,
// /dev/shm, hugetlbfs) are taken: a page of any other file could make a worker wait for whoever
// serves it. `sealed`: the file must be sealed against shrinking. Errors are static sentences. Does
// not wait, whatever the file is.
[[nodiscard]] tl::expected<TenantMapping, const char*> map_shared(int file, uint64_t offset,
                                                                  uint64_t length, bool writable,
                                                                  bool sealed);
void unmap_shared(std::byte* base);

// Some /proc/PID/mem, open for reading and writing. May wait without end for whoever serves the
// file: not for the control thread (platform/aside.h).
[[nodiscard]] bool is_process_memory(int file);
[[nodiscard]] bool is_event_counter(int file);  // an eventfd
// One end of socketpair(AF_UNIX, SOCK_SEQPACKET). Not a socket that was connected to a name: its
// other end may be a service that trusts us, and would hear the tenant's bytes with our
// credentials. Not a datagram socket: it can be connected to such a name later.
[[nodiscard]] bool is_private_socket(int file);
// Which file this is, for as long as it is open. Asks nobody who serves it, and so does not wait.
struct FileIdentity {
    uint64_t device;
    uint64_t inode;
    friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};
[[nodiscard]] std::optional<FileIdentity> identity_of(int file);
// Does closing it never wait? True for everything a driver has reason to send.
[[nodiscard]] bool closes_at_once(int file);

}  // namespace vrdma::platform
