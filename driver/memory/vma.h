#pragma once

// One mapping of this process as /proc tells it, and a reader for /proc/thread-self/maps and
// .../smaps. The reader calls nothing but the kernel and allocates nothing, so it also runs while
// pages are withheld and in the child of a fork.
//
// thread-self and not self: the directory of a process whose first thread has left is empty.

#include <cstdint>

namespace vrdma::tenant_memory {

// VmFlags of /proc/PID/smaps (man 5 proc) that matter here.
enum VmaFlag : uint32_t {
    kVmaLocked = 1u << 0,        // lo: mlocked
    kVmaGrowsDown = 1u << 1,     // gd: a stack
    kVmaPfn = 1u << 2,           // pf: raw page frames of a device
    kVmaIo = 1u << 3,            // io: device memory
    kVmaMixed = 1u << 4,         // mm: page frames and pages mixed
    kVmaDontFork = 1u << 5,      // dc: absent in a child
    kVmaWipeOnFork = 1u << 6,    // wf: zero in a child
    kVmaDontDump = 1u << 7,      // dd: not in a core file
    kVmaHuge = 1u << 8,          // hg: MADV_HUGEPAGE
    kVmaNoHuge = 1u << 9,        // nh: MADV_NOHUGEPAGE
    kVmaHugetlb = 1u << 10,      // ht
    kVmaShadowStack = 1u << 11,  // ss
    kVmaFlagsKnown = 1u << 31,   // the VmFlags line was read
};

constexpr uint32_t kVmaPathBytes = 256;

struct Vma {
    Vma() { path[0] = 0; }

    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t offset = 0;
    uint64_t inode = 0;
    uint32_t device_major = 0;
    uint32_t device_minor = 0;
    uint32_t flags = 0;  // VmaFlag; only from smaps
    bool read = false;
    bool write = false;
    bool execute = false;
    bool shared = false;
    bool path_cut = false;     // the path was longer than fits
    char path[kVmaPathBytes];  // as printed, NUL-terminated; empty when there is none
};

class VmaReader {
  public:
    enum class Source : uint8_t { Maps, Smaps };

    explicit VmaReader(Source source);
    ~VmaReader();
    VmaReader(const VmaReader&) = delete;
    VmaReader& operator=(const VmaReader&) = delete;

    // 0, or the errno (negative) with which opening failed.
    int error() const;

    // The next mapping in ascending order; false at the end. Flags are filled from smaps only.
    bool next(Vma& vma);

  private:
    int peek();
    int take();
    uint64_t number(uint64_t base);
    void read_header(Vma& vma);
    void read_attribute(Vma& vma);

    Source source_;
    int fd_ = -1;
    uint32_t at_ = 0;
    uint32_t held_ = 0;
    char buffer_[1024];
};

}  // namespace vrdma::tenant_memory
