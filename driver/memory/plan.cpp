// Decides from /proc/self/maps how each part of a range is reached; changes nothing.
//
// Only private anonymous memory that is readable and not executable is adopted, and of that not
// the stacks and thread control blocks: between fork() and our handler in the child, parent and
// child would run on one stack. The first thread's stack has a name; other stacks are found by the
// small inaccessible guard below them, and within one default stack size above it, since mappings
// merge. A buffer that happens to lie there is reached through the process: slower, never wrong.
// The calling thread's own surroundings are excluded exactly, because exchange.cpp runs on them.
// Properties that only smaps tells (locked, wiped on fork, device frames) are looked at by
// exchange.cpp once the mapping is aside, because reading smaps walks the page tables of every
// mapping on the way.
#include "driver/memory/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace vrdma::tenant_memory {
namespace {

constexpr uint64_t kGuardBytes = 64ull << 10;        // guards up to this size count as one
constexpr uint64_t kStackBytes = 8ull << 20;         // the usual default of a thread's stack
constexpr uint64_t kMostStackBytes = 64ull << 20;    // a larger RLIMIT_STACK is not believed
constexpr uint64_t kBelowStackPointer = 1ull << 20;  // what exchanging may use, generously
constexpr uint64_t kControlBlockBytes = 64ull << 10;
constexpr uint64_t kHugePageBytes = 2ull << 20;
constexpr uint64_t kReserveFloor = 4ull << 30;  // addresses below are precious to 32-bit pointers

Error fault_at(int code, uint64_t address, const char* what) {
    char text[160];
    snprintf(text, sizeof(text), "address 0x%llx: %s", static_cast<unsigned long long>(address),
             what);
    return Error{code, text};
}

bool starts_with(const char* text, const char* prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool overlaps(uint64_t start, uint64_t end, uint64_t other_start, uint64_t other_end) {
    return start < other_end && other_start < end;
}

uint64_t stack_bytes() {
    rlimit limit{};
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return kStackBytes;
    }
    return std::clamp<uint64_t>(limit.rlim_cur, kStackBytes, kMostStackBytes);
}

// Why private anonymous memory is left alone, or nullptr.
const char* obstacle(const AddressSpace& space, const Vma& vma, uint64_t start, uint64_t end) {
    if (vma.path[0] != 0 && !starts_with(vma.path, "[anon") && strcmp(vma.path, "[heap]") != 0) {
        return strcmp(vma.path, "[stack]") == 0 ? "a stack" : "a mapping of the kernel's own";
    }
    if (vma.execute) {
        return "executable memory";
    }
    const uint64_t stack_pointer = reinterpret_cast<uint64_t>(__builtin_frame_address(0));
    const uint64_t stack = stack_bytes();
    if (vma.start <= stack_pointer && stack_pointer < vma.end &&
        overlaps(start, end, stack_pointer - kBelowStackPointer, stack_pointer + stack)) {
        return "the calling thread's stack";
    }
    const uint64_t control = reinterpret_cast<uint64_t>(__builtin_thread_pointer());
    if (overlaps(start, end, control - kControlBlockBytes, control + kControlBlockBytes)) {
        return "the calling thread's control block";
    }
    if (space.guard_end != 0 && overlaps(start, end, space.guard_end, space.guard_end + stack)) {
        return "looks like a thread's stack (a guard page lies below)";
    }
    return nullptr;
}

Segment segment_of(const AddressSpace& space, const Vma& vma, uint64_t start, uint64_t end,
                   const FileIdentity& adoption) {
    Segment segment;
    segment.start = std::max(start, vma.start);
    segment.end = std::min(end, vma.end);
    segment.vma = vma;
    if (vma.shared) {
        const bool ours = maps_file(vma, adoption);
        segment.treatment = ours ? Treatment::Keep : Treatment::Share;
        segment.reason = ours ? "private memory adopted earlier" : "";
        return segment;
    }
    if (vma.inode != 0) {
        const bool huge = starts_with(vma.path, "/anon_hugepage");
        segment.reason = huge ? "private huge pages (hugetlb)"
                              : "private mapping of a file: " + std::string(vma.path);
        return segment;
    }
    // The guard below inside[0] says something about inside[0] only.
    AddressSpace here;
    here.guard_end = vma.start == space.guard_end ? space.guard_end : 0;
    if (const char* why = obstacle(here, vma, segment.start, segment.end)) {
        segment.reason = why;
        return segment;
    }
    segment.treatment = Treatment::Adopt;
    return segment;
}

}  // namespace

tl::expected<AddressSpace, Error> read_address_space(uint64_t start, uint64_t end) {
    VmaReader reader(VmaReader::Source::Maps);
    if (reader.error() != 0) {
        return tl::unexpected(Error{-reader.error(),
                                    "/proc/thread-self/maps cannot be read; "
                                    "mount /proc for this process"});
    }
    AddressSpace space;
    Vma vma;
    uint64_t guard = 0;
    while (reader.next(vma)) {
        if (space.count++ == 0) {
            space.lowest = vma.start;
        }
        if (vma.end > start && vma.start < end) {
            if (guard != 0 && guard == vma.start && space.inside.empty()) {
                space.guard_end = guard;
            }
            space.inside.push_back(vma);
        }
        const bool closed = !vma.read && !vma.write && !vma.execute && !vma.shared;
        guard = closed && vma.end - vma.start <= kGuardBytes ? vma.end : 0;
    }
    return space;
}

bool maps_file(const Vma& vma, const FileIdentity& file) {
    return file.inode != 0 && vma.inode == file.inode && vma.device_major == file.device_major &&
           vma.device_minor == file.device_minor;
}

tl::expected<std::vector<Segment>, Error> plan_segments(const AddressSpace& space, uint64_t start,
                                                        uint64_t end, bool need_write,
                                                        const FileIdentity& adoption) {
    std::vector<Segment> segments;
    uint64_t at = start;
    for (const Vma& vma : space.inside) {
        if (vma.start > at) {
            break;
        }
        if (!vma.read) {
            return tl::unexpected(fault_at(EFAULT, at, "the memory is not readable (mprotect)"));
        }
        if (need_write && !vma.write) {
            return tl::unexpected(fault_at(EFAULT, at,
                                           vma.shared ? "a read-only shared mapping, but write "
                                                        "access is asked; map it with PROT_WRITE"
                                                      : "read-only memory, but write access is "
                                                        "asked; mprotect it writable first"));
        }
        segments.push_back(segment_of(space, vma, start, end, adoption));
        at = segments.back().end;
    }
    if (at < end) {
        return tl::unexpected(fault_at(EFAULT, at, "nothing is mapped there"));
    }
    return segments;
}

uint64_t reserve_addresses(uint64_t lowest, uint64_t length, uint64_t like) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const uint64_t residue = like % kHugePageBytes;
    if (lowest > kReserveFloor && length < lowest - kReserveFloor) {
        const uint64_t wish = (lowest - length - kHugePageBytes) / kHugePageBytes * kHugePageBytes -
                              kHugePageBytes + residue;
        if (wish >= kReserveFloor) {
            void* got = mmap(reinterpret_cast<void*>(wish), length, PROT_NONE,
                             kFlags | MAP_FIXED_NOREPLACE, -1, 0);
            if (got == reinterpret_cast<void*>(wish)) {
                return wish;
            }
            if (got != MAP_FAILED) {
                munmap(got, length);
            }
        }
    }
    void* got = mmap(nullptr, length + kHugePageBytes, PROT_NONE, kFlags, -1, 0);
    if (got == MAP_FAILED) {
        return 0;
    }
    const uint64_t base = reinterpret_cast<uint64_t>(got);
    const uint64_t head = (residue + kHugePageBytes - base % kHugePageBytes) % kHugePageBytes;
    if (head != 0) {
        munmap(got, head);
    }
    if (head != kHugePageBytes) {
        munmap(reinterpret_cast<void*>(base + head + length), kHugePageBytes - head);
    }
    return base + head;
}

}  // namespace vrdma::tenant_memory
