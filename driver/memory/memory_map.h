#pragma once

// Makes memory of this process reachable for the dataplane (docs/memory.md). It knows nothing of
// the command protocol: pin() answers what to hand over, the caller hands it over.
//
// Shape. A pin covers exactly [address, address+length) with an ordered list of ranges; each range
// is a piece of a file: mmap (or, for Reach::Process, pread/pwrite) fd at fd_offset, length bytes.
// fd_offset has the alignment of the address, so it need not be a multiple of the page size (nor,
// for hugetlbfs, of the huge page size): whoever maps it rounds outward.
// Units. Bytes everywhere.
// Ownership. Descriptors in ranges belong to the MemoryMap and are good until unpin() of that pin.
// The caller sends or dups them, and never closes them.
// Threads. Every function may be called from any thread at any time; calls exclude each other.
// After fork() the child starts with an empty map: the pins of the parent do not exist there,
// unpin() of one is ignored. Not for signal handlers.
// Errors. Error::code is an errno, Error::text says what was wrong and what to do:
//   EINVAL     empty range, range past the end of the address space, or VRDMA_MEMORY not understood
//   EFAULT     nothing is mapped at an address of the range, or its protection forbids the access
//   ENOENT     /proc is not there
//   others     /proc/self/mem could not be opened (EACCES: the process is not dumpable; EMFILE)
// Memory that cannot be adopted is not an error: it becomes Reach::Process, and `reason` says why.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace vrdma::tenant_memory {

enum class Reach : uint8_t {
    Shared,   // a shared mapping of memory already: map the same file
    Adopted,  // private memory that now lives in the adoption file: map that
    Process,  // pread/pwrite on /proc/self/mem at the virtual address
};
[[nodiscard]] const char* name_of(Reach reach);

struct Range {
    uint64_t address = 0;
    uint64_t length = 0;
    Reach reach = Reach::Process;
    int fd = -1;
    uint64_t fd_offset = 0;
    uint64_t piece_id = 0;  // of an adopted piece: 1 and up, never reused; else 0
    bool writable = false;  // the mapping and the descriptor both allow writing
    std::string reason;     // for people: why this reach
};

enum class PinId : uint64_t {};

struct Pin {
    PinId id{};
    std::vector<Range> ranges;
};

struct Error {
    int code = 0;
    std::string text;
};

// What the process may do, for tests and tools that want a branch taken. The defaults are what a
// program gets.
struct Policy {
    enum class Userfault : uint8_t {
        Ask,       // take what the kernel grants
        UserOnly,  // as if only UFFD_USER_MODE_ONLY were granted
        Refused,   // as if userfaultfd were refused
    };
    bool process_only = false;  // VRDMA_MEMORY=process
    Userfault userfault = Userfault::Ask;
    std::optional<uint32_t> foreign_threads;  // instead of counting them, the caller included
    bool pagemap_scan = true;                 // false: as on a kernel before 6.7
    bool reopen = true;                       // false: as if only /proc/self/fd could be used
    std::string complaint;                    // not empty: every pin fails with EINVAL and this

    // VRDMA_MEMORY=auto|process, read with secure_getenv.
    [[nodiscard]] static Policy from_environment();
};

constexpr uint32_t kMaxRangesPerPin = 256;  // memory in more pieces becomes one Process range

class MemoryMapState;

class MemoryMap {
  public:
    // The one of this process. The first call installs the fork handlers.
    static MemoryMap& instance();

    [[nodiscard]] tl::expected<Pin, Error> pin(uint64_t address, uint64_t length, bool need_write);

    // Ends a pin; an id that is not (or no longer) one is ignored. When the last pin over an
    // adopted piece goes, what is still mapped of it becomes private anonymous memory again, with
    // its contents. The dataplane must have let go of the ranges before.
    void unpin(PinId id);

    // Tells that one thread, which exists already, is the driver's own and never writes memory of
    // the program. Forgotten when forget_own_thread() is called, which the thread does before it
    // ends.
    void note_own_thread();
    void forget_own_thread();

    // An open /dev/userfaultfd, handed over by the service, for processes that may not open one.
    // The MemoryMap owns the descriptor from now on.
    void offer_userfault_device(int fd);

    // For tests and tools. Affects later pins only.
    void set_policy(const Policy& policy);

    struct Census {
        uint32_t pins = 0;
        uint32_t pieces = 0;      // adopted pieces alive
        uint32_t lingering = 0;   // of these, without a pin: giving them back had to be put off
        uint64_t file_bytes = 0;  // memory that the adoption file occupies
    };
    [[nodiscard]] Census census() const;

    // How memory is adopted in this process, or why it cannot be: a line for people.
    [[nodiscard]] std::string adoption_text() const;

    MemoryMap(const MemoryMap&) = delete;
    MemoryMap& operator=(const MemoryMap&) = delete;

  private:
    MemoryMap();
    ~MemoryMap() = delete;  // lives as long as the process: a pin may outlive static destructors

    MemoryMapState* state_;
};

}  // namespace vrdma::tenant_memory
