// Replaces the memory behind a range while other threads use it, without losing a store.
//
// Adopting: the range is registered with userfaultfd for missing pages, then mremap with
// MREMAP_DONTUNMAP moves its page tables aside in one step. From then on whoever touches the range
// finds nothing and waits, in user mode or inside a system call; nobody but us can reach the pages
// that moved. We copy those that exist into the adoption file, map the file over the range and
// wake the waiters. Restoring is the same with the roles changed: minor faults (page in the file,
// not in the page table) are withheld too, so nothing gets at the file through the range either.
// Moving instead of write-protecting has three merits: a page that the kernel or the program
// drops in between cannot make us wait for ourselves; the mapping that moved is inspected before
// it is replaced, so memory that changed hands after we looked is put back; and the emptied
// private mapping, parked, keeps everything it was (flags, NUMA policy, its anon_vma), so that
// moved back it merges with its neighbours as if nothing had happened.
//
// While pages are withheld this thread must not touch them, and they may hold anything: our own
// heap, the dynamic linker's link map. Hence no libc, no heap, no thread-local storage, no
// sanitizer, signals blocked: only system calls and the stack (a test looks at the symbols).
#include "driver/memory/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/memory/raw_syscall.h"
#include "driver/memory/vma.h"

namespace vrdma::tenant_memory {
namespace {

// linux/fs.h of 6.7; declared here because build hosts have older headers.
struct PageRegion {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};
struct PagemapScan {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
static_assert(sizeof(PagemapScan) == 96);
constexpr uint64_t kPagemapScan = _IOWR('f', 16, PagemapScan);
constexpr uint64_t kPagePresent = 1u << 3;
constexpr uint64_t kPageSwapped = 1u << 4;
constexpr uint64_t kPageZero = 1u << 5;

// Documentation/admin-guide/mm/pagemap.rst
constexpr uint64_t kEntryPresent = 1ull << 63;
constexpr uint64_t kEntrySwapped = 1ull << 62;

constexpr uint32_t kRegions = 64;        // 1.5 KiB of stack
constexpr uint32_t kEntries = 512;       // 4 KiB of stack
constexpr uint64_t kPopulateWrite = 23;  // MADV_POPULATE_WRITE, 5.14
constexpr uint64_t kMove = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

class SignalsHeld {
  public:
    SignalsHeld() {
        const uint64_t all = ~0ull;
        raw_syscall(SYS_rt_sigprocmask, kSetMask, address_of(&all), address_of(&before_), 8);
    }
    ~SignalsHeld() { raw_syscall(SYS_rt_sigprocmask, kSetMask, address_of(&before_), 0, 8); }
    SignalsHeld(const SignalsHeld&) = delete;
    SignalsHeld& operator=(const SignalsHeld&) = delete;

  private:
    static constexpr uint64_t kSetMask = 2;  // SIG_SETMASK; the kernel's own set has 8 bytes
    uint64_t before_ = 0;
};

int errno_of(long result) {
    return static_cast<int>(-result);
}

int withhold(int fd, uint64_t address, uint64_t length, uint64_t mode) {
    if (fd < 0) {
        return 0;
    }
    uffdio_register request;
    request.range.start = address;
    request.range.len = length;
    request.mode = mode;
    request.ioctls = 0;
    return errno_of(raw_syscall(SYS_ioctl, fd_argument(fd), UFFDIO_REGISTER, address_of(&request)));
}

void release(int fd, uint64_t address, uint64_t length, uint64_t ioctl_number) {
    if (fd < 0) {
        return;
    }
    uffdio_range range;
    range.start = address;
    range.len = length;
    raw_syscall(SYS_ioctl, fd_argument(fd), ioctl_number, address_of(&range));
}

int move(uint64_t from, uint64_t to, uint64_t length) {
    const long result = raw_syscall(SYS_mremap, from, length, length, kMove, to);
    return result == static_cast<long>(to) ? 0 : errno_of(result);
}

// The mapping that covers [address, address+length), if one does.
bool find(uint64_t address, uint64_t length, Vma& vma) {
    VmaReader reader(VmaReader::Source::Smaps);
    while (reader.next(vma)) {
        if (vma.end > address) {
            return vma.start <= address && vma.end - address >= length &&
                   (vma.flags & kVmaFlagsKnown) != 0;
        }
    }
    return false;
}

int copy_out(const AdoptRequest& request, uint64_t from, uint64_t to) {
    while (from < to) {
        const long done = raw_syscall(SYS_pwrite64, fd_argument(request.file_fd), from, to - from,
                                      request.file_offset + (from - request.parked));
        if (done <= 0) {
            return done == 0 ? EIO : errno_of(done);
        }
        from += static_cast<uint64_t>(done);
    }
    return 0;
}

// Pages that hold something: present or swapped, and not the zero page.
long scan_pages(int pagemap_fd, PagemapScan& scan) {
    scan.size = sizeof(scan);
    scan.flags = 0;
    scan.walk_end = 0;
    scan.category_inverted = kPageZero;
    scan.category_mask = kPageZero;
    scan.category_anyof_mask = kPagePresent | kPageSwapped;
    scan.return_mask = kPagePresent | kPageSwapped;
    return raw_syscall(SYS_ioctl, fd_argument(pagemap_fd), kPagemapScan, address_of(&scan));
}

int copy_by_scan(const AdoptRequest& request) {
    const uint64_t end = request.parked + request.length;
    uint64_t at = request.parked;
    while (at < end) {
        PageRegion regions[kRegions];
        PagemapScan scan;
        scan.start = at;
        scan.end = end;
        scan.vec = address_of(regions);
        scan.vec_len = kRegions;
        scan.max_pages = 0;
        const long found = scan_pages(request.pagemap_fd, scan);
        if (found < 0) {
            return errno_of(found);
        }
        for (long i = 0; i < found; i++) {
            if (const int error = copy_out(request, regions[i].start, regions[i].end)) {
                return error;
            }
        }
        if (scan.walk_end <= at) {
            return EIO;
        }
        at = scan.walk_end;
    }
    return 0;
}

int copy_by_entries(const AdoptRequest& request) {
    const uint64_t end = request.parked + request.length;
    uint64_t at = request.parked;
    while (at < end) {
        uint64_t entries[kEntries];
        uint64_t want = (end - at) / request.page_bytes;
        want = want < kEntries ? want : kEntries;
        const long got = raw_syscall(SYS_pread64, fd_argument(request.pagemap_fd),
                                     address_of(entries), want * 8, at / request.page_bytes * 8);
        if (got < 8) {
            return got < 0 ? errno_of(got) : EIO;
        }
        const uint64_t count = static_cast<uint64_t>(got) / 8;
        uint64_t i = 0;
        while (i < count) {
            const uint64_t first = i;
            while (i < count && (entries[i] & (kEntryPresent | kEntrySwapped)) != 0) {
                i++;
            }
            if (i > first) {
                if (const int error = copy_out(request, at + first * request.page_bytes,
                                               at + i * request.page_bytes)) {
                    return error;
                }
            } else {
                i++;
            }
        }
        at += count * request.page_bytes;
    }
    return 0;
}

int copy_to_file(const AdoptRequest& request) {
    if (request.scan) {
        const int error = copy_by_scan(request);
        if (error != ENOTTY && error != EINVAL) {
            return error;
        }
    }
    return copy_by_entries(request);
}

int copy_from_file(const RestoreRequest& request) {
    const uint64_t end = request.file_offset + request.length;
    uint64_t at = request.file_offset;
    while (at < end) {
        const long data = raw_syscall(SYS_lseek, fd_argument(request.file_fd), at, SEEK_DATA);
        if (data == -ENXIO || data >= static_cast<long>(end)) {
            return 0;
        }
        if (data < 0) {
            return errno_of(data);
        }
        at = static_cast<uint64_t>(data);
        const long hole = raw_syscall(SYS_lseek, fd_argument(request.file_fd), at, SEEK_HOLE);
        if (hole < 0) {
            return errno_of(hole);
        }
        const uint64_t stop = static_cast<uint64_t>(hole) < end ? static_cast<uint64_t>(hole) : end;
        // One call instead of a fault for each page; where it is unknown, the faults do it.
        raw_syscall(SYS_madvise, request.parked + (at - request.file_offset), stop - at,
                    kPopulateWrite);
        while (at < stop) {
            const long done =
                raw_syscall(SYS_pread64, fd_argument(request.file_fd),
                            request.parked + (at - request.file_offset), stop - at, at);
            if (done <= 0) {
                return done == 0 ? EIO : errno_of(done);
            }
            at += static_cast<uint64_t>(done);
        }
    }
    return 0;
}

uint64_t protection(bool read, bool write, bool execute) {
    return (read ? PROT_READ : 0u) | (write ? PROT_WRITE : 0u) | (execute ? PROT_EXEC : 0u);
}

// What a mapping of the file must keep of the mapping it stands for.
void carry_flags(uint64_t address, uint64_t length, uint32_t flags) {
    if ((flags & kVmaDontFork) != 0) {
        raw_syscall(SYS_madvise, address, length, MADV_DONTFORK);
    }
    if ((flags & kVmaDontDump) != 0) {
        raw_syscall(SYS_madvise, address, length, MADV_DONTDUMP);
    }
    if ((flags & kVmaHuge) != 0) {
        raw_syscall(SYS_madvise, address, length, MADV_HUGEPAGE);
    }
    if ((flags & kVmaNoHuge) != 0) {
        raw_syscall(SYS_madvise, address, length, MADV_NOHUGEPAGE);
    }
}

ExchangeResult put_back(int fd, uint64_t from, uint64_t address, uint64_t length,
                        ExchangeStage stage, int error, uint32_t flags) {
    ExchangeResult result;
    result.stage = stage;
    result.error = error;
    result.flags = flags;
    if (move(from, address, length) != 0) {
        // Without DONTUNMAP the kernel asks for less; the hole that it leaves is the lesser evil.
        const long moved =
            raw_syscall(SYS_mremap, from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, address);
        if (moved != static_cast<long>(address)) {
            result.stage = ExchangeStage::Stranded;
            result.error = errno_of(moved);
        }
    }
    release(fd, address, length, UFFDIO_WAKE);
    return result;
}

ExchangeResult failed_before_move(int fd, uint64_t address, uint64_t length, int error) {
    release(fd, address, length, UFFDIO_UNREGISTER);
    ExchangeResult result;
    result.stage = ExchangeStage::Move;
    result.error = error;
    return result;
}

}  // namespace

uint64_t find_populated_end(int pagemap_fd, uint64_t start, uint64_t end, uint64_t most) {
    PagemapScan scan;
    scan.start = start;
    scan.end = end;
    scan.vec = 0;
    scan.vec_len = 0;
    scan.max_pages = most;
    return scan_pages(pagemap_fd, scan) < 0 ? start : scan.walk_end;
}

ExchangeResult adopt_step(const AdoptRequest& request) {
    const SignalsHeld held;
    const int fd = request.userfault_fd;
    const uint64_t address = request.address;
    const uint64_t length = request.length;
    ExchangeResult result;
    if (const int error = withhold(fd, address, length, UFFDIO_REGISTER_MODE_MISSING)) {
        result.stage = ExchangeStage::Withhold;
        result.error = error;
        return result;
    }
    if (const int error = move(address, request.parked, length)) {
        return failed_before_move(fd, address, length, error);
    }
    Vma vma;
    if (!find(request.parked, length, vma) || vma.shared || vma.inode != 0 || !vma.read ||
        vma.write != request.write || vma.execute) {
        return put_back(fd, request.parked, address, length, ExchangeStage::Identity, 0, vma.flags);
    }
    if ((vma.flags & request.refuse_flags) != 0) {
        return put_back(fd, request.parked, address, length, ExchangeStage::Flags, 0, vma.flags);
    }
    if (const int error = copy_to_file(request)) {
        return put_back(fd, request.parked, address, length, ExchangeStage::Copy, error, vma.flags);
    }
    const long mapped =
        raw_syscall(SYS_mmap, address, length, protection(true, vma.write, false),
                    MAP_SHARED | MAP_FIXED, fd_argument(request.file_fd), request.file_offset);
    if (mapped != static_cast<long>(address)) {
        return put_back(fd, request.parked, address, length, ExchangeStage::Map, errno_of(mapped),
                        vma.flags);
    }
    carry_flags(address, length, vma.flags);
    release(fd, address, length, UFFDIO_WAKE);
    raw_syscall(SYS_madvise, request.parked, length, MADV_DONTNEED);
    result.flags = vma.flags;
    return result;
}

ExchangeResult restore_step(const RestoreRequest& request) {
    const SignalsHeld held;
    const int fd = request.userfault_fd;
    const uint64_t address = request.address;
    const uint64_t length = request.length;
    ExchangeResult result;
    if (const int error = withhold(fd, address, length,
                                   UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR)) {
        result.stage = ExchangeStage::Withhold;
        result.error = error;
        return result;
    }
    if (const int error = move(address, request.view, length)) {
        return failed_before_move(fd, address, length, error);
    }
    Vma vma;
    if (!find(request.view, length, vma) || !vma.shared || vma.inode != request.inode ||
        vma.device_major != request.device_major || vma.device_minor != request.device_minor ||
        vma.offset + (request.view - vma.start) != request.file_offset) {
        return put_back(fd, request.view, address, length, ExchangeStage::Identity, 0, vma.flags);
    }
    long failed = raw_syscall(SYS_mprotect, request.parked, length, protection(true, true, false));
    if (failed == 0) {
        failed = -copy_from_file(request);
    }
    if (failed != 0) {
        return put_back(fd, request.view, address, length, ExchangeStage::Copy, errno_of(failed),
                        vma.flags);
    }
    raw_syscall(SYS_madvise, request.parked, length,
                (vma.flags & kVmaDontFork) != 0 ? MADV_DONTFORK : MADV_DOFORK);
    raw_syscall(SYS_madvise, request.parked, length,
                (vma.flags & kVmaDontDump) != 0 ? MADV_DONTDUMP : MADV_DODUMP);
    failed = raw_syscall(SYS_mprotect, request.parked, length,
                         protection(vma.read, vma.write, vma.execute));
    if (failed == 0) {
        failed = -move(request.parked, address, length);
    }
    if (failed != 0) {
        return put_back(fd, request.view, address, length, ExchangeStage::Map, errno_of(failed),
                        vma.flags);
    }
    if ((vma.flags & kVmaLocked) != 0) {
        raw_syscall(SYS_mlock, address, length);
    }
    release(fd, address, length, UFFDIO_WAKE);
    result.flags = vma.flags;
    return result;
}

}  // namespace vrdma::tenant_memory
