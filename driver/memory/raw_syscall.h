#pragma once

// System calls without libc: no errno (thread-local storage), no lazy binding (the link map lives
// on the heap), no cancellation, no interceptor of a sanitizer. For code that runs while pages of
// this process are withheld, and for the child of a fork.
// Answers as the kernel does: a value, or a negative errno.

#include <sys/syscall.h>

#include <cstdint>

// Inlined always: a shared out-of-line copy could be the one that a sanitizer watches.
#define VRDMA_ALONE [[gnu::always_inline]] static inline

namespace vrdma::tenant_memory {

#if defined(__x86_64__)
VRDMA_ALONE long raw_syscall(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                             uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
VRDMA_ALONE long raw_syscall(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                             uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
    register long x8 __asm__("x8") = number;
    register uint64_t x0 __asm__("x0") = a;
    register uint64_t x1 __asm__("x1") = b;
    register uint64_t x2 __asm__("x2") = c;
    register uint64_t x3 __asm__("x3") = d;
    register uint64_t x4 __asm__("x4") = e;
    register uint64_t x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return static_cast<long>(x0);
}
#else
#error "vRDMA: no system call sequence for this architecture; add one here"
#endif

VRDMA_ALONE uint64_t address_of(const void* pointer) {
    return reinterpret_cast<uint64_t>(pointer);
}

// -1 becomes all ones, which every call that takes a descriptor reads as -1 again.
VRDMA_ALONE uint64_t fd_argument(int fd) {
    return static_cast<uint64_t>(static_cast<int64_t>(fd));
}

}  // namespace vrdma::tenant_memory
