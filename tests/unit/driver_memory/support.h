#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "driver/memory/memory_map.h"
#include "driver/memory/vma.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VRDMA_SANITIZED 1
#else
#define VRDMA_SANITIZED 0
#endif

namespace vrdma::tenant_memory {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = 1ull << 20;
constexpr uint64_t kGiB = 1ull << 30;

// Private anonymous memory with inaccessible neighbours far enough to look like no guard page, so
// that no other mapping of the test program merges with it.
class Memory {
  public:
    explicit Memory(uint64_t bytes, int protection = PROT_READ | PROT_WRITE, int flags = 0)
        : bytes_(bytes) {
        outer_ = static_cast<char*>(mmap(nullptr, bytes + 2 * kFence, PROT_NONE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        EXPECT_NE(outer_, MAP_FAILED);
        EXPECT_EQ(
            mmap(data(), bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0),
            data());
    }
    ~Memory() { munmap(outer_, bytes_ + 2 * kFence); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    char* data() const { return outer_ + kFence; }
    uint64_t address(uint64_t offset = 0) const {
        return reinterpret_cast<uint64_t>(data()) + offset;
    }
    uint64_t size() const { return bytes_; }
    uint64_t& word(uint64_t offset) const { return *reinterpret_cast<uint64_t*>(data() + offset); }

  private:
    static constexpr uint64_t kFence = 1ull << 20;
    uint64_t bytes_;
    char* outer_;
};

inline MemoryMap& map() {
    return MemoryMap::instance();
}

inline Pin pinned(uint64_t address, uint64_t length, bool need_write = true) {
    auto pin = map().pin(address, length, need_write);
    EXPECT_TRUE(pin.has_value()) << (pin ? "" : pin.error().text);
    return pin ? *pin : Pin{};
}

inline Reach reach_of(const Pin& pin) {
    EXPECT_EQ(pin.ranges.size(), 1u);
    return pin.ranges.empty() ? Reach::Process : pin.ranges[0].reach;
}

inline uint64_t covered_bytes(const Pin& pin) {
    uint64_t sum = 0;
    for (const Range& range : pin.ranges) {
        sum += range.length;
    }
    return sum;
}

// Whether userfaultfd is granted here, so that memory is adopted under several threads.
inline bool can_withhold() {
    Policy many;
    many.foreign_threads = 2;
    map().set_policy(many);
    const bool can = map().adoption_text().find("not adopted") == std::string::npos;
    map().set_policy(Policy{});
    return can;
}

// The mapping at an address.
inline Vma mapping_at(uint64_t address, VmaReader::Source source = VmaReader::Source::Maps) {
    VmaReader reader(source);
    Vma vma;
    while (reader.next(vma)) {
        if (vma.start <= address && address < vma.end) {
            return vma;
        }
    }
    return Vma{};
}

inline bool is_private_anonymous(uint64_t address) {
    const Vma vma = mapping_at(address);
    return vma.end != 0 && !vma.shared && vma.inode == 0;
}

inline uint32_t mapping_count() {
    VmaReader reader(VmaReader::Source::Maps);
    Vma vma;
    uint32_t count = 0;
    while (reader.next(vma)) {
        count++;
    }
    return count;
}

inline uint32_t descriptor_count() {
    DIR* directory = opendir("/proc/self/fd");
    uint32_t count = 0;
    while (readdir(directory) != nullptr) {
        count++;
    }
    closedir(directory);
    return count;
}

// The dataplane's view of a Shared or Adopted range.
class View {
  public:
    explicit View(const Range& range) {
        const uint64_t skew = range.fd_offset % kPage;
        bytes_ = range.length + skew;
        base_ = mmap(nullptr, bytes_, PROT_READ | (range.writable ? PROT_WRITE : 0), MAP_SHARED,
                     range.fd, static_cast<off_t>(range.fd_offset - skew));
        EXPECT_NE(base_, MAP_FAILED);
        data_ = static_cast<char*>(base_) + skew;
    }
    ~View() { munmap(base_, bytes_); }
    View(const View&) = delete;
    View& operator=(const View&) = delete;

    char* data() const { return data_; }
    uint64_t& word(uint64_t offset) const { return *reinterpret_cast<uint64_t*>(data_ + offset); }

  private:
    void* base_;
    char* data_;
    uint64_t bytes_;
};

// Every test starts and ends with an empty map and the policy of a program.
class MemoryTest : public testing::Test {
  protected:
    void SetUp() override { map().set_policy(Policy{}); }
    void TearDown() override {
        map().set_policy(Policy{});
        const MemoryMap::Census census = map().census();
        EXPECT_EQ(census.pins, 0u);
        EXPECT_EQ(census.pieces, 0u);
        EXPECT_EQ(census.file_bytes, 0u);
    }
};

}  // namespace vrdma::tenant_memory
