// libvrdma-preload.so: stands in front of the C library's functions that take a path, and of
// socket().
//
// A path below /sys/class/infiniband, /sys/class/infiniband_verbs or /dev/infiniband is looked up
// in the tree of the vNIC that VRDMA_TREE names, or of the only one that is there (only_vnic.cpp);
// every other path is passed on as it came. So the program, libibverbs in it and the programs it
// starts see this vNIC and no other RDMA device, without any privilege and without touching the
// machine.
//
// socket() refuses NETLINK_RDMA the way a kernel without RDMA does. Where the kernel's RDMA core is
// loaded, libibverbs would otherwise take the list of devices from it and never look at /sys.
//
// The hooks are defined under names of their own and given the C library's by asm labels: its
// headers declare the same functions with attributes (nonnull, fortified variants, large-file
// aliases) that a definition would have to repeat. A struct stat is passed through as an address.
// Not covered: static programs, programs that make system calls themselves (Go), glob() and nftw()
// (the C library calls its own opendir inside), set-uid programs (the loader ignores LD_PRELOAD).
//
// State: where the tree is, set once before main.
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>

#include "tools/preload/next_function.h"
#include "tools/preload/only_vnic.h"
#include "tools/preload/redirection.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using vrdma::preload::find_only_vnic;
using vrdma::preload::kTreeVariable;
using vrdma::preload::kVnicDirectory;
using vrdma::preload::NextFunction;
using vrdma::preload::PathBuffer;
using vrdma::preload::Redirection;

constinit Redirection redirection;

constinit NextFunction<char*(const char*, char*)> next_realpath("realpath");

__attribute__((constructor)) void find_tree() {
    const int saved = errno;
    // Not from whoever started a set-uid program, which /etc/ld.so.preload reaches too.
    const char* tree = secure_getenv(kTreeVariable);
    PathBuffer only;
    if (tree == nullptr && find_only_vnic(kVnicDirectory, only)) {
        tree = only.text;
    }
    PathBuffer real;
    const char* real_tree = tree == nullptr ? nullptr : next_realpath.get()(tree, real.text);
    redirection.set(tree, real_tree);
    errno = saved;
}

const char* into_tree(const char* path, PathBuffer& buffer) {
    return redirection.into_tree(path, buffer);
}

bool takes_a_mode(int flags) {
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

// The mode argument of an open call, when there is one.
template <typename Arguments>
unsigned mode_of(int flags, Arguments& arguments) {
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the caller has started it
    return takes_a_mode(flags) ? va_arg(arguments, unsigned) : 0;
}

}  // namespace

// open and its relatives ----------------------------------------------------------------------

EXPORT int hook_open(const char* path, int flags, ...) __asm__("open");
int hook_open(const char* path, int flags, ...) {
    static constinit NextFunction<int(const char*, int, ...)> next("open");
    va_list arguments;
    va_start(arguments, flags);
    const unsigned mode = mode_of(flags, arguments);
    va_end(arguments);
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), flags, mode);
}

EXPORT int hook_open64(const char* path, int flags, ...) __asm__("open64");
int hook_open64(const char* path, int flags, ...) {
    static constinit NextFunction<int(const char*, int, ...)> next("open64");
    va_list arguments;
    va_start(arguments, flags);
    const unsigned mode = mode_of(flags, arguments);
    va_end(arguments);
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), flags, mode);
}

EXPORT int hook_openat(int directory, const char* path, int flags, ...) __asm__("openat");
int hook_openat(int directory, const char* path, int flags, ...) {
    static constinit NextFunction<int(int, const char*, int, ...)> next("openat");
    va_list arguments;
    va_start(arguments, flags);
    const unsigned mode = mode_of(flags, arguments);
    va_end(arguments);
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), flags, mode);
}

EXPORT int hook_openat64(int directory, const char* path, int flags, ...) __asm__("openat64");
int hook_openat64(int directory, const char* path, int flags, ...) {
    static constinit NextFunction<int(int, const char*, int, ...)> next("openat64");
    va_list arguments;
    va_start(arguments, flags);
    const unsigned mode = mode_of(flags, arguments);
    va_end(arguments);
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), flags, mode);
}

// The variants of programs compiled with _FORTIFY_SOURCE.
EXPORT int hook_open_2(const char* path, int flags) __asm__("__open_2");
int hook_open_2(const char* path, int flags) {
    static constinit NextFunction<int(const char*, int)> next("__open_2");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), flags);
}

EXPORT int hook_open64_2(const char* path, int flags) __asm__("__open64_2");
int hook_open64_2(const char* path, int flags) {
    static constinit NextFunction<int(const char*, int)> next("__open64_2");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), flags);
}

EXPORT int hook_openat_2(int directory, const char* path, int flags) __asm__("__openat_2");
int hook_openat_2(int directory, const char* path, int flags) {
    static constinit NextFunction<int(int, const char*, int)> next("__openat_2");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), flags);
}

EXPORT int hook_openat64_2(int directory, const char* path, int flags) __asm__("__openat64_2");
int hook_openat64_2(int directory, const char* path, int flags) {
    static constinit NextFunction<int(int, const char*, int)> next("__openat64_2");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), flags);
}

EXPORT FILE* hook_fopen(const char* path, const char* mode) __asm__("fopen");
FILE* hook_fopen(const char* path, const char* mode) {
    static constinit NextFunction<FILE*(const char*, const char*)> next("fopen");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), mode);
}

EXPORT FILE* hook_fopen64(const char* path, const char* mode) __asm__("fopen64");
FILE* hook_fopen64(const char* path, const char* mode) {
    static constinit NextFunction<FILE*(const char*, const char*)> next("fopen64");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), mode);
}

// stat and its relatives ----------------------------------------------------------------------

EXPORT int hook_stat(const char* path, void* status) __asm__("stat");
int hook_stat(const char* path, void* status) {
    static constinit NextFunction<int(const char*, void*)> next("stat");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), status);
}

EXPORT int hook_stat64(const char* path, void* status) __asm__("stat64");
int hook_stat64(const char* path, void* status) {
    static constinit NextFunction<int(const char*, void*)> next("stat64");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), status);
}

EXPORT int hook_lstat(const char* path, void* status) __asm__("lstat");
int hook_lstat(const char* path, void* status) {
    static constinit NextFunction<int(const char*, void*)> next("lstat");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), status);
}

EXPORT int hook_lstat64(const char* path, void* status) __asm__("lstat64");
int hook_lstat64(const char* path, void* status) {
    static constinit NextFunction<int(const char*, void*)> next("lstat64");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), status);
}

EXPORT int hook_fstatat(int directory, const char* path, void* status,
                        int flags) __asm__("fstatat");
int hook_fstatat(int directory, const char* path, void* status, int flags) {
    static constinit NextFunction<int(int, const char*, void*, int)> next("fstatat");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), status, flags);
}

EXPORT int hook_fstatat64(int directory, const char* path, void* status,
                          int flags) __asm__("fstatat64");
int hook_fstatat64(int directory, const char* path, void* status, int flags) {
    static constinit NextFunction<int(int, const char*, void*, int)> next("fstatat64");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), status, flags);
}

EXPORT int hook_statx(int directory, const char* path, int flags, unsigned mask,
                      void* status) __asm__("statx");
int hook_statx(int directory, const char* path, int flags, unsigned mask, void* status) {
    static constinit NextFunction<int(int, const char*, int, unsigned, void*)> next("statx");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), flags, mask, status);
}

// What programs built before glibc 2.33 call; the first argument is a version of struct stat, of
// which x86-64 has one.
EXPORT int hook_xstat(int version, const char* path, void* status) __asm__("__xstat");
int hook_xstat(int version, const char* path, void* status) {
    static constinit NextFunction<int(int, const char*, void*)> next("__xstat", "GLIBC_2.2.5");
    PathBuffer buffer;
    return next.get()(version, into_tree(path, buffer), status);
}

EXPORT int hook_xstat64(int version, const char* path, void* status) __asm__("__xstat64");
int hook_xstat64(int version, const char* path, void* status) {
    static constinit NextFunction<int(int, const char*, void*)> next("__xstat64", "GLIBC_2.2.5");
    PathBuffer buffer;
    return next.get()(version, into_tree(path, buffer), status);
}

EXPORT int hook_lxstat(int version, const char* path, void* status) __asm__("__lxstat");
int hook_lxstat(int version, const char* path, void* status) {
    static constinit NextFunction<int(int, const char*, void*)> next("__lxstat", "GLIBC_2.2.5");
    PathBuffer buffer;
    return next.get()(version, into_tree(path, buffer), status);
}

EXPORT int hook_lxstat64(int version, const char* path, void* status) __asm__("__lxstat64");
int hook_lxstat64(int version, const char* path, void* status) {
    static constinit NextFunction<int(int, const char*, void*)> next("__lxstat64", "GLIBC_2.2.5");
    PathBuffer buffer;
    return next.get()(version, into_tree(path, buffer), status);
}

EXPORT int hook_fxstatat(int version, int directory, const char* path, void* status,
                         int flags) __asm__("__fxstatat");
int hook_fxstatat(int version, int directory, const char* path, void* status, int flags) {
    static constinit NextFunction<int(int, int, const char*, void*, int)> next("__fxstatat",
                                                                               "GLIBC_2.4");
    PathBuffer buffer;
    return next.get()(version, directory, into_tree(path, buffer), status, flags);
}

EXPORT int hook_fxstatat64(int version, int directory, const char* path, void* status,
                           int flags) __asm__("__fxstatat64");
int hook_fxstatat64(int version, int directory, const char* path, void* status, int flags) {
    static constinit NextFunction<int(int, int, const char*, void*, int)> next("__fxstatat64",
                                                                               "GLIBC_2.4");
    PathBuffer buffer;
    return next.get()(version, directory, into_tree(path, buffer), status, flags);
}

// access --------------------------------------------------------------------------------------

EXPORT int hook_access(const char* path, int mode) __asm__("access");
int hook_access(const char* path, int mode) {
    static constinit NextFunction<int(const char*, int)> next("access");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), mode);
}

EXPORT int hook_eaccess(const char* path, int mode) __asm__("eaccess");
int hook_eaccess(const char* path, int mode) {
    static constinit NextFunction<int(const char*, int)> next("eaccess");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), mode);
}

EXPORT int hook_euidaccess(const char* path, int mode) __asm__("euidaccess");
int hook_euidaccess(const char* path, int mode) {
    static constinit NextFunction<int(const char*, int)> next("euidaccess");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), mode);
}

EXPORT int hook_faccessat(int directory, const char* path, int mode,
                          int flags) __asm__("faccessat");
int hook_faccessat(int directory, const char* path, int mode, int flags) {
    static constinit NextFunction<int(int, const char*, int, int)> next("faccessat");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), mode, flags);
}

// Directories ---------------------------------------------------------------------------------

EXPORT void* hook_opendir(const char* path) __asm__("opendir");
void* hook_opendir(const char* path) {
    static constinit NextFunction<void*(const char*)> next("opendir");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer));
}

EXPORT int hook_scandir(const char* path, void* list, void* filter, void* order) __asm__("scandir");
int hook_scandir(const char* path, void* list, void* filter, void* order) {
    static constinit NextFunction<int(const char*, void*, void*, void*)> next("scandir");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), list, filter, order);
}

EXPORT int hook_scandir64(const char* path, void* list, void* filter,
                          void* order) __asm__("scandir64");
int hook_scandir64(const char* path, void* list, void* filter, void* order) {
    static constinit NextFunction<int(const char*, void*, void*, void*)> next("scandir64");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), list, filter, order);
}

EXPORT int hook_chdir(const char* path) __asm__("chdir");
int hook_chdir(const char* path) {
    static constinit NextFunction<int(const char*)> next("chdir");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer));
}

// Links ---------------------------------------------------------------------------------------

EXPORT ssize_t hook_readlink(const char* path, char* target, size_t size) __asm__("readlink");
ssize_t hook_readlink(const char* path, char* target, size_t size) {
    static constinit NextFunction<ssize_t(const char*, char*, size_t)> next("readlink");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), target, size);
}

EXPORT ssize_t hook_readlink_chk(const char* path, char* target, size_t size,
                                 size_t room) __asm__("__readlink_chk");
ssize_t hook_readlink_chk(const char* path, char* target, size_t size, size_t room) {
    static constinit NextFunction<ssize_t(const char*, char*, size_t, size_t)> next(
        "__readlink_chk");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), target, size, room);
}

EXPORT ssize_t hook_readlinkat(int directory, const char* path, char* target,
                               size_t size) __asm__("readlinkat");
ssize_t hook_readlinkat(int directory, const char* path, char* target, size_t size) {
    static constinit NextFunction<ssize_t(int, const char*, char*, size_t)> next("readlinkat");
    PathBuffer buffer;
    return next.get()(directory, into_tree(path, buffer), target, size);
}

// A resolved path inside the tree is given back under the name it has for the program.
EXPORT char* hook_realpath(const char* path, char* resolved) __asm__("realpath");
char* hook_realpath(const char* path, char* resolved) {
    PathBuffer buffer;
    char* found = next_realpath.get()(into_tree(path, buffer), resolved);
    if (found != nullptr) {
        redirection.out_of_tree(found);
    }
    return found;
}

EXPORT char* hook_realpath_chk(const char* path, char* resolved,
                               size_t room) __asm__("__realpath_chk");
char* hook_realpath_chk(const char* path, char* resolved, size_t room) {
    static constinit NextFunction<char*(const char*, char*, size_t)> next("__realpath_chk");
    PathBuffer buffer;
    char* found = next.get()(into_tree(path, buffer), resolved, room);
    if (found != nullptr) {
        redirection.out_of_tree(found);
    }
    return found;
}

EXPORT char* hook_canonicalize_file_name(const char* path) __asm__("canonicalize_file_name");
char* hook_canonicalize_file_name(const char* path) {
    return hook_realpath(path, nullptr);
}

// Attributes (ls -l asks for them) ----------------------------------------------------------

EXPORT ssize_t hook_getxattr(const char* path, const char* name, void* value,
                             size_t size) __asm__("getxattr");
ssize_t hook_getxattr(const char* path, const char* name, void* value, size_t size) {
    static constinit NextFunction<ssize_t(const char*, const char*, void*, size_t)> next(
        "getxattr");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), name, value, size);
}

EXPORT ssize_t hook_lgetxattr(const char* path, const char* name, void* value,
                              size_t size) __asm__("lgetxattr");
ssize_t hook_lgetxattr(const char* path, const char* name, void* value, size_t size) {
    static constinit NextFunction<ssize_t(const char*, const char*, void*, size_t)> next(
        "lgetxattr");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), name, value, size);
}

EXPORT ssize_t hook_listxattr(const char* path, char* list, size_t size) __asm__("listxattr");
ssize_t hook_listxattr(const char* path, char* list, size_t size) {
    static constinit NextFunction<ssize_t(const char*, char*, size_t)> next("listxattr");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), list, size);
}

EXPORT ssize_t hook_llistxattr(const char* path, char* list, size_t size) __asm__("llistxattr");
ssize_t hook_llistxattr(const char* path, char* list, size_t size) {
    static constinit NextFunction<ssize_t(const char*, char*, size_t)> next("llistxattr");
    PathBuffer buffer;
    return next.get()(into_tree(path, buffer), list, size);
}

// Discovery -----------------------------------------------------------------------------------

EXPORT int hook_socket(int domain, int type, int protocol) __asm__("socket");
int hook_socket(int domain, int type, int protocol) {
    static constinit NextFunction<int(int, int, int)> next("socket");
    PathBuffer buffer;
    const bool redirects = into_tree("/dev/infiniband", buffer) == buffer.text;
    if (redirects && domain == AF_NETLINK && protocol == NETLINK_RDMA) {
        errno = EPROTONOSUPPORT;
        return -1;
    }
    return next.get()(domain, type, protocol);
}
