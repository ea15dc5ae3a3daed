// librdmacm may be there when the provider is loaded, or come later, as a module of a program that
// has used verbs before (UCX, libfabric). Every discovery of devices reads a directory, so the hook
// for opendir() in libibverbs looks again. librdmacm is then kept in memory, because its offset
// table leads here for good.
//
// State: the calls, the functions behind the hooked slots, and whether that is done.
#include "verbs/libibverbs_abi/rdmacm_hook.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "verbs/libibverbs_abi/import_slots.h"

namespace vrdma::verbs_abi {
namespace {

constexpr char kLibrary[] = "librdmacm.so.1";
constexpr char kDevice[] = "/dev/infiniband/rdma_cm";

using OpenFunction = int (*)(const char*, int, ...);
using WriteFunction = ssize_t (*)(int, const void*, std::size_t);
using CloseFunction = int (*)(int);
using FstatFunction = int (*)(int, struct stat*);
using FxstatFunction = int (*)(int, int, struct stat*);
using OpendirFunction = DIR* (*)(const char*);

RdmacmCalls our;
OpenFunction real_open = nullptr;
WriteFunction real_write = nullptr;
CloseFunction real_close = nullptr;
FstatFunction real_fstat = nullptr;
FxstatFunction real_fxstat = nullptr;
OpendirFunction real_opendir = nullptr;
constinit std::mutex hook_mutex;
std::atomic<bool> tried{false};

int hooked_open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (std::strcmp(path, kDevice) == 0) {
        const int fd = our.open_channel();
        if (fd != kNoChannel) {
            return fd;
        }
    }
    return real_open(path, flags, mode);
}

ssize_t hooked_write(int fd, const void* data, std::size_t size) {
    return our.is_channel(fd) ? our.command(fd, data, size) : real_write(fd, data, size);
}

// librdmacm makes sure that what it opened is a character device.
int hooked_fstat(int fd, struct stat* status) {
    if (!our.is_channel(fd)) {
        return real_fstat(fd, status);
    }
    *status = {};
    status->st_mode = S_IFCHR | S_IRUSR | S_IWUSR;
    return 0;
}

// The same, as programs built with glibc before 2.33 call it.
int hooked_fxstat(int version, int fd, struct stat* status) {
    return our.is_channel(fd) ? hooked_fstat(fd, status) : real_fxstat(version, fd, status);
}

int hooked_close(int fd) {
    if (our.is_channel(fd)) {
        our.close_channel(fd);
    }
    return real_close(fd);
}

// Once: what cannot be hooked now cannot be hooked later either.
void hook_if_loaded() {
    if (tried.load(std::memory_order_acquire)) {
        return;
    }
    const std::lock_guard lock(hook_mutex);
    auto* library = static_cast<link_map*>(dlopen(kLibrary, RTLD_LAZY | RTLD_NOLOAD));
    if (library == nullptr || tried.load(std::memory_order_relaxed)) {
        return;
    }
    ImportSlots imports(library);
    const char* const open_name = imports.imports("open") ? "open" : "open64";
    real_open = reinterpret_cast<OpenFunction>(
        imports.plan(open_name, reinterpret_cast<void*>(&hooked_open)));
    real_write = reinterpret_cast<WriteFunction>(
        imports.plan("write", reinterpret_cast<void*>(&hooked_write)));
    real_close = reinterpret_cast<CloseFunction>(
        imports.plan("close", reinterpret_cast<void*>(&hooked_close)));
    real_fstat = reinterpret_cast<FstatFunction>(
        imports.plan("fstat", reinterpret_cast<void*>(&hooked_fstat)));
    real_fxstat = reinterpret_cast<FxstatFunction>(
        imports.plan("__fxstat", reinterpret_cast<void*>(&hooked_fxstat)));
    if (real_open == nullptr || real_write == nullptr || real_close == nullptr ||
        (real_fstat == nullptr && real_fxstat == nullptr) || !imports.redirect()) {
        std::fprintf(
            stderr,
            "vrdma: rdma_cm will not work, because %s could not be hooked: its calls of "
            "open, fstat, write and close were not found or its offset table is read-only\n",
            library->l_name);
    }
    tried.store(true, std::memory_order_release);
}

DIR* hooked_opendir(const char* path) {
    hook_if_loaded();
    return real_opendir(path);
}

}  // namespace

void hook_rdmacm(link_map* libibverbs, const RdmacmCalls& calls) {
    our = calls;
    ImportSlots imports(libibverbs);
    real_opendir = reinterpret_cast<OpendirFunction>(
        imports.plan("opendir", reinterpret_cast<void*>(&hooked_opendir)));
    if (real_opendir != nullptr && !imports.redirect()) {
        std::fprintf(stderr,
                     "vrdma: rdma_cm will not work in programs that load librdmacm late, because "
                     "%s could not be hooked\n",
                     libibverbs->l_name);
    }
    hook_if_loaded();
}

}  // namespace vrdma::verbs_abi
