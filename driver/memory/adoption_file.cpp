// One memfd per process takes all adopted memory: one descriptor to send, one inode to look for in
// /proc/self/maps. It is as long as a file may reasonably be (2^62 bytes, all hole, which costs
// nothing) and sealed against growing and shrinking, so that whoever maps it need not fear SIGBUS.
// Every piece gets offsets of its own, followed by a gap of at least its length and 1 GiB:
// when the program grows the mapping with mremap, the new part finds zeros there, as grown
// anonymous memory would, and not the end of the file or a neighbour. Since offsets are never
// reused, a stale mapping in the dataplane or a child can never show a later piece; 2^32 small
// pieces fit. Offsets are congruent to addresses modulo 2 MiB so that huge pages can map them.
// The program may close any descriptor (daemons close all): the number is trusted only while the
// inode behind it is ours.
#include "driver/memory/adoption_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

namespace vrdma::tenant_memory {
namespace {

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

Error system_error(const char* what, int code) {
    return Error{code, std::string(what) + ": " + strerror(code)};
}

}  // namespace

AdoptionFile::~AdoptionFile() {
    if (const int ours = fd(); ours >= 0) {
        close(ours);
    }
}

int AdoptionFile::fd() const {
    struct stat now {};
    if (fd_ < 0 || fstat(fd_, &now) != 0 || now.st_ino != inode_ ||
        major(now.st_dev) != device_major_ || minor(now.st_dev) != device_minor_) {
        return -1;
    }
    return fd_;
}

tl::expected<void, Error> AdoptionFile::open() {
    if (fd() >= 0) {
        return {};
    }
    if (inode_ != 0) {
        return tl::unexpected(Error{
            EBADF, "the program closed the adoption file's descriptor, which is not its own"});
    }
    rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        // ftruncate and pwrite beyond it raise SIGXFSZ.
        return tl::unexpected(
            Error{EFBIG, "the file size limit (ulimit -f) forbids a memory file; lift it"});
    }
    const int made = memfd_create("vrdma adopted", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0) {
        return tl::unexpected(system_error("memfd_create", errno));
    }
    struct stat now {};
    if (ftruncate(made, static_cast<off_t>(kFileBytes)) != 0 ||
        fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        fstat(made, &now) != 0) {
        const Error error = system_error("sizing or sealing a memory file", errno);
        close(made);
        return tl::unexpected(error);
    }
    fd_ = made;
    device_major_ = major(now.st_dev);
    device_minor_ = minor(now.st_dev);
    inode_ = now.st_ino;
    return {};
}

void AdoptionFile::close_in_child() {
    if (const int parents = fd(); parents >= 0) {
        close(parents);
    }
    fd_ = -1;
    device_major_ = device_minor_ = 0;
    inode_ = 0;
    next_ = 0;
}

tl::expected<AdoptionFile::Extent, Error> AdoptionFile::reserve(uint64_t address, uint64_t length) {
    Extent extent;
    extent.offset = next_ + address % kHugePageBytes;
    if (length > kFileBytes / 4 || extent.offset > kFileBytes - 4 * std::max(length, kGapBytes)) {
        return tl::unexpected(
            Error{ENOSPC, "the adoption file has no offsets left; restart the program"});
    }
    extent.reserved = round_up(length + std::max(length, kGapBytes), kHugePageBytes);
    next_ = round_up(extent.offset + extent.reserved, kHugePageBytes);
    return extent;
}

void AdoptionFile::punch(uint64_t offset, uint64_t length) const {
    if (const int ours = fd(); ours >= 0) {
        // Cannot fail on a memory file; if it did, memory would stay in use and nothing else.
        (void)fallocate(ours, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(offset), static_cast<off_t>(length));
    }
}

uint64_t AdoptionFile::bytes_in_use() const {
    struct stat now {};
    const int ours = fd();
    if (ours < 0 || fstat(ours, &now) != 0) {
        return 0;
    }
    return static_cast<uint64_t>(now.st_blocks) * 512;
}

}  // namespace vrdma::tenant_memory
