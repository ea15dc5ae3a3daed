// Decides whether memory may be exchanged under the threads of the program. A userfaultfd that
// also stops faults taken inside system calls holds everybody off; three doors lead to one: the
// system call (CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1), an open /dev/userfaultfd handed
// over by the service, and that device opened here. With UFFD_USER_MODE_ONLY a thread inside
// read(2) would get EFAULT instead of waiting, which is as good as no userfaultfd: then only a
// program with a single thread can be served, since that thread is the one in here.
// A descriptor is opened for each exchange and closed after it: nothing to leak, nothing to mend
// after fork, and closing wakes whoever still waits.
#include "driver/memory/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace vrdma::tenant_memory {
namespace {

constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;

std::string refusal(const char* what, int error) {
    return std::string(what) + ": " + strerror(error);
}

// Minor faults on shared memory are needed on the way back (5.14).
bool agree_on_features(int fd, std::string& why) {
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = UFFD_FEATURE_MINOR_SHMEM;
    if (ioctl(fd, UFFDIO_API, &api) != 0) {
        why = refusal("userfaultfd without minor faults (kernel before 5.14)", errno);
        return false;
    }
    return true;
}

int open_userfault(const Policy& policy, int device_fd, std::string& why) {
    if (policy.userfault != Policy::Userfault::Ask) {
        why = policy.userfault == Policy::Userfault::UserOnly
                  ? "userfaultfd granted for user mode only (policy)"
                  : "userfaultfd refused (policy)";
        return -1;
    }
    int fd = static_cast<int>(syscall(SYS_userfaultfd, kFlags));
    if (fd < 0) {
        why = refusal("userfaultfd", errno);
        fd = device_fd >= 0 ? ioctl(device_fd, USERFAULTFD_IOC_NEW, kFlags) : -1;
    }
    if (fd < 0) {
        const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        if (device < 0) {
            why += refusal(", /dev/userfaultfd", errno);
        } else {
            fd = ioctl(device, USERFAULTFD_IOC_NEW, kFlags);
            close(device);
        }
    }
    if (fd >= 0 && !agree_on_features(fd, why)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

// Threads of the program, the caller included; our own left out.
uint32_t count_foreign_threads(const Policy& policy, uint32_t own_threads) {
    if (policy.foreign_threads) {
        return *policy.foreign_threads;
    }
    struct stat tasks {};
    if (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink < 3) {
        return UINT32_MAX;
    }
    const uint32_t threads = static_cast<uint32_t>(tasks.st_nlink - 2);
    return threads > own_threads ? threads - own_threads : 1;
}

}  // namespace

Withholding find_withholding(const Policy& policy, int device_fd, uint32_t own_threads) {
    Withholding answer;
    std::string why;
    answer.userfault_fd = open_userfault(policy, device_fd, why);
    if (answer.userfault_fd >= 0) {
        answer.possible = true;
        answer.text = "userfaultfd";
        return answer;
    }
    if (count_foreign_threads(policy, own_threads) <= 1) {
        answer.possible = true;
        answer.text = "single thread (" + why + ")";
        return answer;
    }
    answer.text = why +
                  "; other threads could lose stores while memory is exchanged. Allow userfaultfd "
                  "(vm.unprivileged_userfaultfd=1, CAP_SYS_PTRACE or access to /dev/userfaultfd)";
    return answer;
}

}  // namespace vrdma::tenant_memory
