// Memory that is a shared mapping already.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/shm.h>
#include <sys/vfs.h>

#include <string>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

class SharedTest : public MemoryTest {
  protected:
    static constexpr uint64_t kBytes = 8 * kPage;

    void TearDown() override {
        if (data_ != MAP_FAILED) {
            munmap(data_, kBytes);
        }
        MemoryTest::TearDown();
    }
    char* map_file(int fd, int protection = PROT_READ | PROT_WRITE) {
        data_ = mmap(nullptr, kBytes, protection, MAP_SHARED, fd, 0);
        EXPECT_NE(data_, MAP_FAILED);
        return static_cast<char*>(data_);
    }
    uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }
    static int memory_file(unsigned flags = MFD_CLOEXEC) {
        const int fd = memfd_create("test", flags);
        EXPECT_EQ(ftruncate(fd, kBytes), 0);
        return fd;
    }
    static void forbid_reopening() {
        Policy policy;
        policy.reopen = false;
        map().set_policy(policy);
    }

    void* data_ = MAP_FAILED;
};

TEST_F(SharedTest, memfd_of_the_process_is_found_by_inode) {
    const int fd = memory_file();
    char* data = map_file(fd);
    forbid_reopening();
    const Pin pin = pinned(address() + kPage + 5, 100);
    ASSERT_EQ(reach_of(pin), Reach::Shared) << pin.ranges[0].reason;
    EXPECT_EQ(pin.ranges[0].fd_offset, kPage + 5);
    EXPECT_TRUE(pin.ranges[0].writable);
    EXPECT_EQ(pwrite(pin.ranges[0].fd, "z", 1, kPage + 5), 1);
    EXPECT_EQ(data[kPage + 5], 'z');
    map().unpin(pin.id);
    close(fd);
}

TEST_F(SharedTest, descriptor_of_a_pin_survives_the_programs_close) {
    const int fd = memory_file();
    map_file(fd);
    const Pin pin = pinned(address(), kBytes);
    close(fd);
    ASSERT_EQ(reach_of(pin), Reach::Shared);
    EXPECT_EQ(pwrite(pin.ranges[0].fd, "z", 1, 0), 1);
    const uint32_t held = descriptor_count();
    map().unpin(pin.id);
    EXPECT_EQ(descriptor_count(), held - 1);
}

TEST_F(SharedTest, pins_of_one_file_share_a_descriptor) {
    const int fd = memory_file();
    map_file(fd);
    const Pin first = pinned(address(), kPage);
    const Pin second = pinned(address() + kPage, kPage);
    EXPECT_EQ(first.ranges[0].fd, second.ranges[0].fd);
    map().unpin(first.id);
    EXPECT_EQ(pwrite(second.ranges[0].fd, "z", 1, 0), 1);
    map().unpin(second.id);
    close(fd);
}

TEST_F(SharedTest, file_in_dev_shm_is_reopened_by_its_path) {
    const std::string path = "/dev/shm/vrdma_test_" + std::to_string(getpid());
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        GTEST_SKIP() << "/dev/shm cannot be written here";
    }
    ASSERT_EQ(ftruncate(fd, kBytes), 0);
    map_file(fd);
    close(fd);
    const Pin pin = pinned(address(), kBytes);
    EXPECT_EQ(reach_of(pin), Reach::Shared) << pin.ranges[0].reason;
    EXPECT_TRUE(pin.ranges[0].writable);
    map().unpin(pin.id);

    // Another file at the same path is not the mapped one.
    unlink(path.c_str());
    const int other = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    const Pin again = pinned(address(), kBytes);
    if (again.ranges[0].reach == Reach::Shared) {
        EXPECT_NE(again.ranges[0].reason.find("map_files"), std::string::npos);
    }
    map().unpin(again.id);
    close(other);
    unlink(path.c_str());
}

TEST_F(SharedTest, file_that_cannot_be_found_is_reached_through_the_process) {
    const int fd = memory_file();
    char* data = map_file(fd);
    close(fd);
    forbid_reopening();
    const Pin pin = pinned(address(), kBytes);
    ASSERT_EQ(reach_of(pin), Reach::Process);
    EXPECT_NE(pin.ranges[0].reason.find("no longer be opened"), std::string::npos);
    EXPECT_EQ(pwrite(pin.ranges[0].fd, "z", 1, static_cast<off_t>(pin.ranges[0].fd_offset)), 1);
    EXPECT_EQ(data[0], 'z');
    map().unpin(pin.id);
}

TEST_F(SharedTest, anonymous_shared_memory_is_found_in_map_files_when_permitted) {
    data_ = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const Pin pin = pinned(address(), kBytes);
    const Reach reach = reach_of(pin);
    if (geteuid() == 0 && reach == Reach::Process) {
        GTEST_SKIP() << "map_files is not permitted here: " << pin.ranges[0].reason;
    }
    EXPECT_TRUE(reach == Reach::Shared || reach == Reach::Process);
    EXPECT_EQ(pwrite(pin.ranges[0].fd, "z", 1, static_cast<off_t>(pin.ranges[0].fd_offset)), 1);
    EXPECT_EQ(static_cast<char*>(data_)[0], 'z');
    map().unpin(pin.id);
}

TEST_F(SharedTest, read_only_mapping_is_not_writable) {
    const int fd = memory_file();
    map_file(fd, PROT_READ);
    const Pin pin = pinned(address(), kBytes, false);
    EXPECT_EQ(reach_of(pin), Reach::Shared);
    EXPECT_FALSE(pin.ranges[0].writable);
    map().unpin(pin.id);
    close(fd);
}

TEST_F(SharedTest, read_only_mapping_refuses_write_access) {
    const int fd = memory_file();
    map_file(fd, PROT_READ);
    const auto pin = map().pin(address(), kBytes, true);
    ASSERT_FALSE(pin.has_value());
    EXPECT_EQ(pin.error().code, EFAULT);
    EXPECT_NE(pin.error().text.find("read-only shared mapping"), std::string::npos);
    close(fd);
}

TEST_F(SharedTest, file_sealed_against_new_writers_is_reached_through_the_process) {
    const int fd = memory_file(MFD_CLOEXEC | MFD_ALLOW_SEALING);
    map_file(fd);
    ASSERT_EQ(fcntl(fd, F_ADD_SEALS, 0x0010 /* F_SEAL_FUTURE_WRITE */), 0);
    const Pin pin = pinned(address(), kBytes);
    EXPECT_EQ(reach_of(pin), Reach::Process);
    map().unpin(pin.id);
    close(fd);
}

TEST_F(SharedTest, file_on_a_disk_is_reached_through_the_process) {
    char path[] = "/var/tmp/vrdma_test_XXXXXX";
    const int fd = mkstemp(path);
    struct statfs system {};
    if (fd < 0 || fstatfs(fd, &system) != 0 || system.f_type == TMPFS_MAGIC) {
        GTEST_SKIP() << "/var/tmp is not on a disk here";
    }
    unlink(path);
    ASSERT_EQ(ftruncate(fd, kBytes), 0);
    map_file(fd);
    const Pin pin = pinned(address(), kBytes);
    EXPECT_EQ(reach_of(pin), Reach::Process);
    EXPECT_FALSE(pin.ranges[0].reason.empty());
    map().unpin(pin.id);
    close(fd);
}

TEST_F(SharedTest, range_over_several_mappings_has_several_ranges_in_order) {
    const Memory memory(6 * kPage);
    const int fd = memory_file();
    ASSERT_NE(mmap(memory.data() + 2 * kPage, 2 * kPage, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_FIXED, fd, 0),
              MAP_FAILED);
    const Pin pin = pinned(memory.address(10), 6 * kPage - 20);
    ASSERT_EQ(pin.ranges.size(), 3u);
    EXPECT_EQ(pin.ranges[0].reach, Reach::Adopted);
    EXPECT_EQ(pin.ranges[1].reach, Reach::Shared);
    EXPECT_EQ(pin.ranges[2].reach, Reach::Adopted);
    EXPECT_EQ(pin.ranges[0].address, memory.address(10));
    for (size_t i = 1; i < 3; i++) {
        EXPECT_EQ(pin.ranges[i].address, pin.ranges[i - 1].address + pin.ranges[i - 1].length);
    }
    EXPECT_EQ(covered_bytes(pin), 6 * kPage - 20);
    map().unpin(pin.id);
    close(fd);
}

TEST_F(SharedTest, hugetlb_mappings_are_shared_when_shared_and_process_when_private) {
    constexpr uint64_t kHuge = 2 * kMiB;
    const int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    void* shared = MAP_FAILED;
    if (fd < 0 || ftruncate(fd, kHuge) != 0 ||
        (shared = mmap(nullptr, kHuge, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
        GTEST_SKIP() << "no huge pages are reserved here";
    }
    const Pin pin = pinned(reinterpret_cast<uint64_t>(shared) + kPage, kPage);
    EXPECT_EQ(reach_of(pin), Reach::Shared) << pin.ranges[0].reason;
    EXPECT_EQ(pin.ranges[0].fd_offset, kPage);
    map().unpin(pin.id);
    munmap(shared, kHuge);
    close(fd);
    void* own = mmap(nullptr, kHuge, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (own != MAP_FAILED) {
        const Pin through = pinned(reinterpret_cast<uint64_t>(own), kPage);
        EXPECT_EQ(reach_of(through), Reach::Process);
        map().unpin(through.id);
        munmap(own, kHuge);
    }
}

}  // namespace
}  // namespace vrdma::tenant_memory
