// Reading /proc/thread-self/maps and smaps.
#include "driver/memory/vma.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

TEST(Vma, mapping_of_a_file_is_read_with_all_fields) {
    const int fd = memfd_create("a name with spaces", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 8 * kPage), 0);
    struct stat file {};
    fstat(fd, &file);
    void* data = mmap(nullptr, 4 * kPage, PROT_READ, MAP_SHARED, fd, 2 * kPage);
    const uint64_t address = reinterpret_cast<uint64_t>(data);
    const Vma vma = mapping_at(address + kPage);
    EXPECT_EQ(vma.start, address);
    EXPECT_EQ(vma.end, address + 4 * kPage);
    EXPECT_EQ(vma.offset, 2 * kPage);
    EXPECT_EQ(vma.inode, file.st_ino);
    EXPECT_TRUE(vma.read && vma.shared);
    EXPECT_FALSE(vma.write || vma.execute);
    EXPECT_STREQ(vma.path, "/memfd:a name with spaces (deleted)");
    EXPECT_FALSE(vma.path_cut);
    munmap(data, 4 * kPage);
    close(fd);
}

TEST(Vma, maps_and_smaps_tell_the_same_mappings) {
    // Reading may itself grow the heap of neither reader: both keep everything on the stack.
    VmaReader maps(VmaReader::Source::Maps);
    VmaReader smaps(VmaReader::Source::Smaps);
    Vma plain;
    Vma detailed;
    uint32_t count = 0;
    while (maps.next(plain)) {
        ASSERT_TRUE(smaps.next(detailed));
        if (strcmp(plain.path, "[stack]") != 0) {  // grows while we read
            EXPECT_EQ(plain.start, detailed.start);
        }
        EXPECT_STREQ(plain.path, detailed.path);
        EXPECT_NE(detailed.flags & kVmaFlagsKnown, 0u);
        EXPECT_EQ(plain.flags, 0u);
        count++;
    }
    EXPECT_FALSE(smaps.next(detailed));
    EXPECT_GT(count, 10u);
}

TEST(Vma, flags_are_read_from_smaps) {
    const Memory memory(4 * kPage);
    EXPECT_EQ(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kVmaDontFork, 0u);
    madvise(memory.data(), memory.size(), MADV_DONTFORK);
    EXPECT_NE(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kVmaDontFork, 0u);
}

TEST(Vma, path_longer_than_fits_is_cut_and_says_so) {
    const std::string name = "/dev/shm/" + std::string(250, 'x');
    const int fd = open(name.c_str(), O_RDWR | O_CREAT, 0600);
    if (fd < 0) {
        GTEST_SKIP() << "/dev/shm cannot be written here";
    }
    unlink(name.c_str());
    ASSERT_EQ(ftruncate(fd, kPage), 0);
    void* data = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
    const Vma vma = mapping_at(reinterpret_cast<uint64_t>(data));
    EXPECT_TRUE(vma.path_cut);
    EXPECT_EQ(strlen(vma.path), kVmaPathBytes - 1);
    munmap(data, kPage);
    close(fd);
}

}  // namespace
}  // namespace vrdma::tenant_memory
