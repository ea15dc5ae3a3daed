// A shared mapping of a file in memory (memfd, /dev/shm, hugetlbfs, SysV and shared anonymous
// memory where the kernel lets us) needs no work: the dataplane maps the same file. What is
// missing is a descriptor, and three places may have one: the descriptors of this process, the
// path that the mapping was made from, and /proc/self/map_files (privileged). Whatever is found
// must be the same inode on the same device as the mapping, since paths and numbers get reused.
// Only files that live in memory qualify: a page fault on a disk, network or FUSE file would stall
// the dataplane, and with it other tenants, for as long as that file system pleases. A file sealed
// against new writable mappings cannot be mapped writable by anyone else, so it does not either.
#include "driver/memory/shared_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace vrdma::tenant_memory {
namespace {

bool is_file_of(int fd, const Vma& vma) {
    struct stat now {};
    return fstat(fd, &now) == 0 && now.st_ino == vma.inode &&
           major(now.st_dev) == vma.device_major && minor(now.st_dev) == vma.device_minor;
}

bool is_memory_system(const struct statfs& system) {
    return system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC;
}

bool can_write(int fd) {
    return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

bool can_read(int fd) {
    return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
}

// A copy of a descriptor of this process; one that can write is preferred when wanted.
int from_descriptors(const Vma& vma, bool want_write) {
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) {
        return -1;
    }
    int found = -1;
    while (const dirent* entry = readdir(directory)) {
        char* end = nullptr;
        const int fd = static_cast<int>(strtol(entry->d_name, &end, 10));
        if (end == entry->d_name || *end != 0 || !is_file_of(fd, vma) || !can_read(fd)) {
            continue;
        }
        if (found >= 0 && !can_write(fd)) {
            continue;
        }
        const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        // Another thread may have closed it after our look, and its number be another file's now.
        if (copy >= 0 && (!is_file_of(copy, vma) || !can_read(copy))) {
            close(copy);
            continue;
        }
        if (copy >= 0) {
            if (found >= 0) {
                close(found);
            }
            found = copy;
        }
        if (found >= 0 && (can_write(found) || !want_write)) {
            break;
        }
    }
    closedir(directory);
    return found;
}

int from_name(const char* name, const Vma& vma, bool want_write) {
    // Looked at before it is opened: opening a device has effects, opening a FIFO waits.
    struct stat now {};
    struct statfs system {};
    if (stat(name, &now) != 0 || !S_ISREG(now.st_mode) || now.st_ino != vma.inode ||
        statfs(name, &system) != 0 || !is_memory_system(system)) {
        return -1;
    }
    constexpr int kFlags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = want_write ? open(name, O_RDWR | kFlags) : -1;
    if (fd < 0) {
        fd = open(name, O_RDONLY | kFlags);
    }
    if (fd >= 0 && !is_file_of(fd, vma)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int from_map_files(const Vma& vma, bool want_write) {
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/map_files/%lx-%lx", vma.start, vma.end);
    return from_name(name, vma, want_write);
}

bool lives_in_memory(int fd) {
    struct statfs system {};
    return fstatfs(fd, &system) == 0 && is_memory_system(system);
}

bool sealed_against_writing(int fd) {
    const int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0;
}

}  // namespace

SharedFile find_shared_file(const Vma& vma, bool want_write, bool reopen) {
    SharedFile answer;
    answer.text = "a descriptor of the process";
    answer.fd = from_descriptors(vma, want_write);
    const bool enough = answer.fd >= 0 && (!want_write || can_write(answer.fd));
    if (!enough && reopen) {
        int other = vma.path[0] == '/' && !vma.path_cut ? from_name(vma.path, vma, want_write) : -1;
        const char* where = "its path";
        if (other < 0 || (want_write && !can_write(other))) {
            if (const int third = from_map_files(vma, want_write); third >= 0) {
                if (other >= 0) {
                    close(other);
                }
                other = third;
                where = "map_files";
            }
        }
        if (other >= 0) {
            if (answer.fd >= 0) {
                close(answer.fd);
            }
            answer.fd = other;
            answer.text = where;
        }
    }
    if (answer.fd < 0) {
        answer.text = "shared mapping, but its file can no longer be opened from here";
        return answer;
    }
    if (!lives_in_memory(answer.fd)) {
        close(answer.fd);
        answer.fd = -1;
        answer.text = "shared mapping of a file that is not in memory (tmpfs, memfd, hugetlbfs)";
        return answer;
    }
    answer.writable = want_write && can_write(answer.fd) && !sealed_against_writing(answer.fd);
    return answer;
}

}  // namespace vrdma::tenant_memory
