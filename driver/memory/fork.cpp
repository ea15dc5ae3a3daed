// What fork() does to registered memory. Adopted memory is a shared mapping, so without help parent
// and child would go on writing into the same pages, malloc's own data included. Here the
// child gets a private mapping of the same file over each: its writes are its own, and the parent
// (whose memory the dataplane reads and writes) goes on as before. Pages that are wholly inside a
// pin may show the child what the parent writes later, as long as the child has not written to
// them; a copy of them all could take seconds and double the memory, and programs that fork with
// registered memory expect nothing of it (with ibv_fork_init it would be absent). Pages that the
// program uses for anything else besides are copied at once, while the forking thread of the
// parent waits on a pipe for it, for a second at most. Other threads of the parent do not wait:
// what they write to such a page in these microseconds may be seen by the child.
//
// fork() runs these handlers; clone() called directly, and vfork() and posix_spawn(), whose child
// execs at once, do not. The child handler allocates nothing and takes no lock of libc.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "driver/memory/memory_map_state.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace vrdma::tenant_memory {
namespace {

// Breaks copy-on-write. Kernels before 5.14 are made to by writing to each page what is there; that
// byte is the program's, so no sanitizer may judge the access.
[[gnu::no_sanitize("address", "thread")]] void own_pages(uint64_t address, uint64_t length) {
    if (madvise(reinterpret_cast<void*>(address), length, MADV_POPULATE_WRITE) == 0) {
        return;
    }
    for (uint64_t at = address; at < address + length; at += page_bytes()) {
        auto* byte = reinterpret_cast<volatile unsigned char*>(at);
        *byte = *byte;
    }
}

}  // namespace

void MemoryMapState::before_fork() {
    auto held = lock();
    if (!pieces_.all().empty() && pipe2(fork_pipe_, O_CLOEXEC) != 0) {
        fork_pipe_[0] = fork_pipe_[1] = -1;  // then the parent does not wait
    }
    held.release();
}

void MemoryMapState::after_fork_in_parent() {
    constexpr int kPatienceMs = 1000;  // a child that is stopped or slow must not hold us for ever
    close_and_forget(fork_pipe_[1]);
    if (fork_pipe_[0] >= 0) {
        pollfd child_done{};
        child_done.fd = fork_pipe_[0];
        child_done.events = POLLIN;
        (void)poll(&child_done, 1, kPatienceMs);  // hang-up: the child is done, or was never made
    }
    close_and_forget(fork_pipe_[0]);
    mutex_.unlock();
}

void MemoryMapState::after_fork_in_child() {
    forked_ = true;
    if (!pieces_.all().empty()) {
        VmaReader reader(VmaReader::Source::Maps);
        Vma vma;
        while (reader.next(vma)) {
            if (vma.shared && maps_file(vma, pieces_.identity())) {
                privatize(vma);
            }
        }
        for (const auto& [offset, piece] : pieces_.all()) {
            munmap(reinterpret_cast<void*>(piece.parked), piece.length);
        }
    }
    for (auto& [key, file] : files_) {
        close_and_forget(file.fd);
    }
    close_and_forget(process_fd_);  // it is the parent's memory
    file_.close_in_child();
    close_and_forget(fork_pipe_[1]);
    close_and_forget(fork_pipe_[0]);
    mutex_.unlock();
}

// Own pages for a mapping in the child: pages that are not wholly a pin's at once (the program uses
// them for other things too), the others when the child writes to them.
void MemoryMapState::privatize(const Vma& vma) const {
    const int protection =
        (vma.read ? PROT_READ : 0) | (vma.write ? PROT_WRITE : 0) | (vma.execute ? PROT_EXEC : 0);
    void* const at = reinterpret_cast<void*>(vma.start);
    const void* const made = mmap(at, vma.end - vma.start, protection, MAP_PRIVATE | MAP_FIXED,
                                  file_.fd(), static_cast<off_t>(vma.offset));
    if (made != at) {
        // Going on would let this child write into its parent's memory.
        dprintf(STDERR_FILENO, "vrdma: a child cannot get its own view of registered memory: %s\n",
                strerror(errno));
        abort();
    }
    if (!vma.write) {
        return;
    }
    const uint64_t end = vma.offset + (vma.end - vma.start);
    uint64_t offset = vma.offset;
    while (offset < end) {
        const Interval inner = next_inner(offset);
        copy_pages(vma, offset, std::min(inner.start, end));
        offset = inner.end;
    }
}

// The first stretch of a pin's own pages that ends behind `offset`; beyond everything if none does.
MemoryMapState::Interval MemoryMapState::next_inner(uint64_t offset) const {
    Interval next{UINT64_MAX, UINT64_MAX};
    for (const auto& [id, record] : pins_) {
        for (const Interval& inner : record.inner) {
            if (inner.end > offset && inner.start < next.start) {
                next = inner;
            }
        }
    }
    return next;
}

void MemoryMapState::copy_pages(const Vma& vma, uint64_t start, uint64_t end) const {
    while (start < end) {
        const off_t data = lseek(file_.fd(), static_cast<off_t>(start), SEEK_DATA);
        if (data < 0 || static_cast<uint64_t>(data) >= end) {
            return;
        }
        const off_t hole = lseek(file_.fd(), data, SEEK_HOLE);
        start = static_cast<uint64_t>(data);
        const uint64_t stop = hole < 0 ? end : std::min(end, static_cast<uint64_t>(hole));
        own_pages(vma.start + (start - vma.offset), stop - start);
        start = stop;
    }
}

}  // namespace vrdma::tenant_memory
