// What is not adopted and why, what is refused, and the way through the process.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

class PolicyTest : public MemoryTest {
  protected:
    // Pins, expects the process with this in the reason, unpins.
    static void expect_process(uint64_t address, uint64_t length, const char* reason,
                               bool need_write = true) {
        const Pin pin = pinned(address, length, need_write);
        EXPECT_EQ(reach_of(pin), Reach::Process);
        EXPECT_NE(pin.ranges[0].reason.find(reason), std::string::npos) << pin.ranges[0].reason;
        EXPECT_EQ(pin.ranges[0].fd_offset, address);
        map().unpin(pin.id);
    }
    static Error expect_error(uint64_t address, uint64_t length, bool need_write, int code) {
        auto pin = map().pin(address, length, need_write);
        EXPECT_FALSE(pin.has_value());
        if (pin) {
            map().unpin(pin->id);
            return Error{};
        }
        EXPECT_EQ(pin.error().code, code);
        return pin.error();
    }
    static void use(Policy::Userfault userfault, uint32_t threads) {
        Policy policy;
        policy.userfault = userfault;
        policy.foreign_threads = threads;
        map().set_policy(policy);
    }
};

TEST_F(PolicyTest, userfaultfd_refused_with_other_threads_goes_through_the_process) {
    const Memory memory(4 * kPage);
    use(Policy::Userfault::Refused, 2);
    expect_process(memory.address(), memory.size(), "userfaultfd refused");
    EXPECT_NE(map().adoption_text().find("not adopted"), std::string::npos);
}

TEST_F(PolicyTest, userfaultfd_for_user_mode_only_with_other_threads_goes_through_the_process) {
    const Memory memory(4 * kPage);
    use(Policy::Userfault::UserOnly, 2);
    expect_process(memory.address(), memory.size(), "user mode only");
}

TEST_F(PolicyTest, single_thread_adopts_and_restores_without_userfaultfd) {
    for (const auto userfault : {Policy::Userfault::Refused, Policy::Userfault::UserOnly}) {
        const Memory memory(4 * kPage);
        memory.word(0) = 1;
        use(userfault, 1);
        const Pin pin = pinned(memory.address(), memory.size());
        ASSERT_EQ(reach_of(pin), Reach::Adopted);
        EXPECT_NE(pin.ranges[0].reason.find("single thread"), std::string::npos);
        View(pin.ranges[0]).word(kPage) = 2;
        map().unpin(pin.id);
        EXPECT_TRUE(is_private_anonymous(memory.address()));
        EXPECT_EQ(memory.word(0), 1u);
        EXPECT_EQ(memory.word(kPage), 2u);
    }
}

TEST_F(PolicyTest, piece_that_cannot_be_given_back_lingers_until_it_can) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    use(Policy::Userfault::Refused, 1);
    const Pin pin = pinned(memory.address(), memory.size());
    use(Policy::Userfault::Refused, 2);
    map().unpin(pin.id);
    EXPECT_EQ(map().census().lingering, 1u);
    EXPECT_FALSE(is_private_anonymous(memory.address()));
    const Pin again = pinned(memory.address(), kPage);
    EXPECT_EQ(again.ranges[0].piece_id, pin.ranges[0].piece_id);
    EXPECT_EQ(map().census().lingering, 0u);
    map().set_policy(Policy{});
    map().unpin(again.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_EQ(memory.word(0), 1u);
}

TEST_F(PolicyTest, threads_of_ours_do_not_count) {
    Policy policy;
    policy.userfault = Policy::Userfault::Refused;
    map().set_policy(policy);
    const Memory memory(4 * kPage);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    std::thread own([&] {
        map().note_own_thread();
        char c = 0;
        EXPECT_EQ(write(ready[1], "x", 1), 1);
        EXPECT_EQ(read(ends[0], &c, 1), 1);
        map().forget_own_thread();
    });
    char c = 0;
    EXPECT_EQ(read(ready[0], &c, 1), 1);
    if (!VRDMA_SANITIZED) {  // a sanitizer may run threads of its own
        const Pin pin = pinned(memory.address(), memory.size());
        EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
        map().unpin(pin.id);
    }
    EXPECT_EQ(write(ends[1], "x", 1), 1);
    own.join();
    for (const int fd : {ends[0], ends[1], ready[0], ready[1]}) {
        close(fd);
    }
}

TEST_F(PolicyTest, offered_device_is_used_when_the_system_call_is_refused) {
    const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        GTEST_SKIP() << "/dev/userfaultfd cannot be opened here";
    }
    map().offer_userfault_device(device);
    // Without privileges the system call is refused and only the offered device is left.
    const pid_t child = fork();
    if (child == 0) {
        if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0 ||
            prctl(PR_SET_DUMPABLE, 1) != 0) {  // else /proc/self would be root's
            _exit(2);
        }
        std::thread other([] { pause(); });
        const Memory memory(4 * kPage);
        auto pin = map().pin(memory.address(), memory.size(), true);
        _exit(pin && pin->ranges[0].reach == Reach::Adopted && syscall(SYS_userfaultfd, 0) < 0 ? 0
                                                                                               : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    map().offer_userfault_device(-1);
    EXPECT_EQ(status, 0);
}

TEST_F(PolicyTest, file_that_took_the_number_of_an_offered_device_stays_open) {
    const int device = open("/dev/null", O_RDWR | O_CLOEXEC);
    ASSERT_GE(device, 0);
    map().offer_userfault_device(device);
    close(device);  // as daemons do
    const int own = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(own, device);
    map().offer_userfault_device(-1);
    EXPECT_GE(fcntl(own, F_GETFD), 0);
    close(own);
}

TEST_F(PolicyTest, environment_forces_the_process) {
    setenv("VRDMA_MEMORY", "process", 1);
    map().set_policy(Policy::from_environment());
    const Memory memory(4 * kPage);
    expect_process(memory.address(), memory.size(), "VRDMA_MEMORY=process");
    unsetenv("VRDMA_MEMORY");
}

TEST_F(PolicyTest, environment_not_understood_is_an_error) {
    setenv("VRDMA_MEMORY", "fast", 1);
    map().set_policy(Policy::from_environment());
    const Memory memory(4 * kPage);
    const Error error = expect_error(memory.address(), memory.size(), true, EINVAL);
    EXPECT_NE(error.text.find("expected auto or process"), std::string::npos);
    setenv("VRDMA_MEMORY", "auto", 1);
    EXPECT_TRUE(Policy::from_environment().complaint.empty());
    EXPECT_FALSE(Policy::from_environment().process_only);
    unsetenv("VRDMA_MEMORY");
}

TEST_F(PolicyTest, empty_or_overflowing_range_is_refused) {
    expect_error(kPage, 0, true, EINVAL);
    expect_error(UINT64_MAX - 10, 100, true, EINVAL);
    expect_error(kPage, UINT64_MAX - kPage, true, EINVAL);
}

TEST_F(PolicyTest, hole_is_refused_with_its_address) {
    const Memory memory(6 * kPage);
    munmap(memory.data() + 2 * kPage, kPage);
    const Error error = expect_error(memory.address(), memory.size(), true, EFAULT);
    char hole[32];
    snprintf(hole, sizeof(hole), "0x%lx", memory.address(2 * kPage));
    EXPECT_NE(error.text.find(hole), std::string::npos) << error.text;
    EXPECT_NE(error.text.find("nothing is mapped"), std::string::npos);
    EXPECT_EQ(map().census().pieces, 0u);
}

TEST_F(PolicyTest, inaccessible_memory_is_refused) {
    const Memory memory(4 * kPage);
    mprotect(memory.data() + kPage, kPage, PROT_NONE);
    const Error error = expect_error(memory.address(), memory.size(), false, EFAULT);
    EXPECT_NE(error.text.find("not readable"), std::string::npos);
}

TEST_F(PolicyTest, read_only_memory_is_refused_for_writing) {
    const Memory memory(4 * kPage);
    mprotect(memory.data(), memory.size(), PROT_READ);
    const Error error = expect_error(memory.address(), memory.size(), true, EFAULT);
    EXPECT_NE(error.text.find("read-only memory"), std::string::npos);
}

TEST_F(PolicyTest, stacks_are_reached_through_the_process) {
    char here[64] = "main";
    const uint64_t address = reinterpret_cast<uint64_t>(here);
    expect_process(address, sizeof(here), "stack");
    // Another thread's stack, seen from here and from there.
    std::thread other([address] {
        char there[64] = "thread";
        const uint64_t own = reinterpret_cast<uint64_t>(there);
        expect_process(own, sizeof(there), "the calling thread's stack");
        expect_process(address, sizeof(there), "stack");
        std::thread third([own] { expect_process(own, 64, "stack"); });
        third.join();
    });
    other.join();
}

TEST_F(PolicyTest, thread_local_memory_is_reached_through_the_process) {
    static thread_local char mine[64];
    std::thread other([] { expect_process(reinterpret_cast<uint64_t>(mine), 64, "thread"); });
    other.join();
    const Pin pin = pinned(reinterpret_cast<uint64_t>(mine), sizeof(mine));
    EXPECT_EQ(reach_of(pin), Reach::Process);
    map().unpin(pin.id);
}

TEST_F(PolicyTest, growing_mapping_is_reached_through_the_process) {
    const Memory memory(4 * kPage, PROT_READ | PROT_WRITE, MAP_GROWSDOWN);
    expect_process(memory.address(), memory.size(), "stack");
    EXPECT_TRUE(is_private_anonymous(memory.address()));
}

TEST_F(PolicyTest, locked_memory_is_reached_through_the_process_and_stays_locked) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    if (syscall(SYS_mlock, memory.data(), memory.size()) != 0) {
        GTEST_SKIP() << "mlock is not permitted here";
    }
    expect_process(memory.address(), memory.size(), "locked");
    EXPECT_NE(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kVmaLocked, 0u);
    EXPECT_EQ(memory.word(0), 1u);
}

TEST_F(PolicyTest, wiped_on_fork_memory_is_reached_through_the_process) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    madvise(memory.data(), memory.size(), MADV_WIPEONFORK);
    expect_process(memory.address(), memory.size(), "WIPEONFORK");
    EXPECT_EQ(memory.word(0), 1u);
    EXPECT_NE(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kVmaWipeOnFork, 0u);
}

TEST_F(PolicyTest, executable_memory_is_reached_through_the_process) {
    const Memory memory(4 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
    expect_process(memory.address(), memory.size(), "executable");
}

TEST_F(PolicyTest, private_file_mapping_is_reached_through_the_process) {
    const int fd = memfd_create("test", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, 4 * kPage), 0);
    void* data = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    expect_process(reinterpret_cast<uint64_t>(data), 4 * kPage, "private mapping of a file");
    munmap(data, 4 * kPage);
    close(fd);
}

TEST_F(PolicyTest, kernels_own_mappings_are_reached_through_the_process) {
    VmaReader reader(VmaReader::Source::Maps);
    Vma vma;
    while (reader.next(vma)) {
        if (strcmp(vma.path, "[vdso]") == 0) {
            expect_process(vma.start, kPage, "kernel's own", false);
            return;
        }
    }
    GTEST_SKIP() << "this process has no vdso";
}

TEST_F(PolicyTest, memory_in_too_many_mappings_becomes_one_process_range) {
    const Memory memory(600 * kPage);
    for (uint64_t page = 0; page < 600; page += 2) {
        mprotect(memory.data() + page * kPage, kPage, PROT_READ);
    }
    const Pin pin = pinned(memory.address(), memory.size(), false);
    EXPECT_EQ(reach_of(pin), Reach::Process);
    EXPECT_FALSE(pin.ranges[0].writable);
    EXPECT_EQ(pin.ranges[0].length, memory.size());
    map().unpin(pin.id);
}

TEST_F(PolicyTest, range_under_the_programs_own_userfaultfd_is_reached_through_the_process) {
    const Memory memory(4 * kPage);
    memset(memory.data(), 1, memory.size());
    const int own = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    uffdio_api api{UFFD_API, 0, 0};
    uffdio_register range{{memory.address(), memory.size()}, UFFDIO_REGISTER_MODE_MISSING, 0};
    if (!can_withhold() || own < 0 || ioctl(own, UFFDIO_API, &api) != 0 ||
        ioctl(own, UFFDIO_REGISTER, &range) != 0) {
        GTEST_SKIP() << "userfaultfd is not permitted here";
    }
    expect_process(memory.address(), memory.size(), "the program uses userfaultfd");
    EXPECT_EQ(memory.data()[100], 1);
    close(own);
}

TEST_F(PolicyTest, process_with_pages_pinned_for_a_device_is_reached_through_itself) {
    const Memory memory(4 * kPage);
    const Memory fixed(4 * kPage);
    io_uring_params parameters{};
    const int ring = static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters));
    const iovec buffer{fixed.data(), fixed.size()};
    if (ring < 0 ||
        syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) != 0) {
        GTEST_SKIP() << "io_uring is not permitted here";
    }
    expect_process(memory.address(), memory.size(), "pinned for another device");
    close(ring);
}

TEST_F(PolicyTest, process_about_to_run_out_of_mappings_is_reached_through_itself) {
    const pid_t child = fork();
    if (child == 0) {
        const Memory memory(4 * kPage);
        // Every second page of other protection: as many mappings as there are pages.
        constexpr uint64_t kPages = 200000;
        const Memory many(kPages * kPage, PROT_NONE);
        for (uint64_t page = 0; page < kPages; page += 2) {
            if (mprotect(many.data() + page * kPage, kPage, PROT_READ) != 0) {
                auto pin = map().pin(memory.address(), memory.size(), true);
                _exit(pin && pin->ranges[0].reason.find("max_map_count") != std::string::npos ? 0
                                                                                              : 1);
            }
        }
        _exit(3);  // vm.max_map_count is higher than this test can reach
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 3) {
        GTEST_SKIP() << "vm.max_map_count is too high to reach here";
    }
    EXPECT_EQ(status, 0);
}

TEST_F(PolicyTest, another_process_reads_and_writes_through_the_descriptor) {
    const Memory memory(4 * kPage);
    memory.word(100 * 8) = 11;
    Policy policy;
    policy.process_only = true;
    map().set_policy(policy);
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    const pid_t child = fork();  // before the pin: the child gets the descriptor by message only
    if (child == 0) {
        Range range;
        char control[CMSG_SPACE(sizeof(int))];
        uint64_t place[2] = {0, 0};
        iovec part{place, sizeof(place)};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        if (recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) != sizeof(place)) {
            _exit(1);
        }
        int fd = -1;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
        uint64_t word = 0;
        if (pread(fd, &word, 8, static_cast<off_t>(place[0])) != 8 || word != 11) {
            _exit(2);
        }
        word = 22;
        _exit(pwrite(fd, &word, 8, static_cast<off_t>(place[0] + place[1] - 8)) == 8 ? 0 : 3);
    }
    const Pin pin = pinned(memory.address(100 * 8), 800);
    ASSERT_EQ(reach_of(pin), Reach::Process);
    uint64_t place[2] = {pin.ranges[0].fd_offset, pin.ranges[0].length};
    char control[CMSG_SPACE(sizeof(int))] = {};
    iovec part{place, sizeof(place)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &pin.ranges[0].fd, sizeof(int));
    EXPECT_EQ(sendmsg(pair[0], &message, 0), static_cast<ssize_t>(sizeof(place)));
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(memory.word(100 * 8 + 800 - 8), 22u);
    map().unpin(pin.id);
    close(pair[0]);
    close(pair[1]);
}

TEST_F(PolicyTest, file_size_limit_does_not_kill_the_process) {
    const pid_t child = fork();
    if (child == 0) {
        const rlimit limit{1 << 20, 1 << 20};
        const Memory memory(4 * kPage);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
            _exit(2);
        }
        auto pin = map().pin(memory.address(), memory.size(), true);
        _exit(pin && pin->ranges[0].reach == Reach::Process &&
                      pin->ranges[0].reason.find("ulimit -f") != std::string::npos
                  ? 0
                  : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

TEST_F(PolicyTest, closing_our_descriptors_does_not_endanger_the_programs_files) {
    const pid_t child = fork();
    if (child == 0) {
        const Memory memory(4 * kPage);
        auto pin = map().pin(memory.address(), memory.size(), true);
        if (!pin || pin->ranges[0].reach != Reach::Adopted) {
            _exit(2);
        }
        const int stolen = memfd_create("the program's", MFD_CLOEXEC);
        if (pwrite(stolen, "precious", 8, 0) != 8 || dup2(stolen, pin->ranges[0].fd) < 0) {
            _exit(3);
        }
        map().unpin(pin->id);
        const Memory other(4 * kPage);
        auto second = map().pin(other.address(), other.size(), true);
        char text[8] = {};
        const bool kept = pread(stolen, text, 8, 0) == 8 && memcmp(text, "precious", 8) == 0;
        _exit(kept && second && second->ranges[0].reach == Reach::Process ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vrdma::tenant_memory
