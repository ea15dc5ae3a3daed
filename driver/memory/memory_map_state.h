#pragma once

// The state behind MemoryMap, shared by memory_map.cpp (pins) and fork.cpp (what fork does to
// them).

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tl/expected.hpp>
#include <tuple>
#include <vector>

#include "driver/memory/adoption_file.h"
#include "driver/memory/memory_map.h"
#include "driver/memory/pieces.h"
#include "driver/memory/plan.h"
#include "driver/memory/userfault.h"

namespace vrdma::tenant_memory {

inline uint64_t page_bytes() {
    return static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

inline void close_and_forget(int& fd) {
    if (fd >= 0) {
        close(fd);
        fd = -1;
    }
}

class MemoryMapState {
  public:
    MemoryMapState() : policy_(Policy::from_environment()), pieces_(file_) {}

    tl::expected<Pin, Error> pin(uint64_t address, uint64_t length, bool need_write);
    void unpin(PinId id);
    MemoryMap::Census census();
    std::string adoption_text();
    void count_own_thread(int32_t change);
    void set_device(int fd);
    void set_policy(const Policy& policy);

    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

  private:
    using FileKey = std::tuple<uint32_t, uint32_t, uint64_t, bool>;  // device, inode, writable
    struct HeldFile {
        int fd = -1;
        uint32_t references = 0;
        std::string where;
    };
    struct Interval {
        uint64_t start = 0;
        uint64_t end = 0;
    };
    struct Record {
        std::vector<uint64_t> pieces;  // offsets, one reference each
        std::vector<FileKey> files;    // one reference each
        std::vector<Interval> inner;   // of the adoption file: pages that are wholly the pin's
    };
    struct Draft {
        Pin pin;
        Record record;
        uint64_t start;
        uint64_t end;
    };

    std::unique_lock<std::mutex> lock();
    tl::expected<void, Error> realize(const AddressSpace& space, const Segment& segment,
                                      Draft& draft);
    tl::expected<void, Error> add_process(const Segment& segment, const std::string& reason,
                                          Draft& draft);
    bool share(const Segment& segment, Draft& draft, std::string& reason);
    void add(const Segment& segment, Range range, Draft& draft);
    tl::expected<int, Error> process_memory();
    void note_inner_pages(Draft& draft) const;
    void let_go(const Record& record);
    void collect();
    Withholding withholding() { return find_withholding(policy_, device(), own_threads_); }
    // The userfaultfd device that was offered, or -1: none, or the program closed it under us.
    [[nodiscard]] int device() const;
    void privatize(const Vma& vma) const;
    Interval next_inner(uint64_t offset) const;
    void copy_pages(const Vma& vma, uint64_t start, uint64_t end) const;

    std::mutex mutex_;
    Policy policy_;
    AdoptionFile file_;
    Pieces pieces_;
    std::map<uint64_t, Record> pins_;
    std::map<FileKey, HeldFile> files_;
    uint64_t next_pin_ = 1;
    uint32_t own_threads_ = 0;
    int device_fd_ = -1;
    uint64_t device_inode_ = 0;
    uint64_t device_of_inode_ = 0;
    int process_fd_ = -1;
    ino_t process_inode_ = 0;
    int fork_pipe_[2] = {-1, -1};
    bool forked_ = false;  // we are a child and have not cleared what we inherited
};

}  // namespace vrdma::tenant_memory
