// Fork while memory is registered.
#include <fcntl.h>
#include <malloc.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

class ForkTest : public MemoryTest {};

// Runs `body` in a forked child; true when it answered true there.
template <typename Body>
bool in_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        _exit(body() ? 0 : 1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Lets the child and the parent take turns.
class Turns {
  public:
    Turns() {
        EXPECT_EQ(pipe(to_child_), 0);
        EXPECT_EQ(pipe(to_parent_), 0);
    }
    ~Turns() {
        for (const int fd : {to_child_[0], to_child_[1], to_parent_[0], to_parent_[1]}) {
            close(fd);
        }
    }
    Turns(const Turns&) = delete;
    Turns& operator=(const Turns&) = delete;
    void give_to_child() { give(to_child_[1]); }
    void give_to_parent() { give(to_parent_[1]); }
    void wait_in_child() { take(to_child_[0]); }
    void wait_in_parent() { take(to_parent_[0]); }

  private:
    static void give(int fd) { EXPECT_EQ(write(fd, "x", 1), 1); }
    static void take(int fd) {
        char c = 0;
        EXPECT_EQ(read(fd, &c, 1), 1);
    }
    int to_child_[2];
    int to_parent_[2];
};

TEST_F(ForkTest, child_writes_are_its_own_and_the_parent_goes_on_shared) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_TRUE(in_child([&] {
        const bool seen = memory.word(0) == 1;
        memory.word(0) = 2;
        memory.word(3 * kPage) = 2;
        return seen && memory.word(0) == 2;
    }));
    EXPECT_EQ(memory.word(0), 1u);
    EXPECT_EQ(memory.word(3 * kPage), 0u);
    {
        const View view(pin.ranges[0]);
        memory.word(kPage) = 5;
        EXPECT_EQ(view.word(kPage), 5u);
    }
    map().unpin(pin.id);
    EXPECT_EQ(memory.word(0), 1u);
}

TEST_F(ForkTest, pages_shared_with_other_data_are_the_childs_from_the_start) {
    const Memory memory(4 * kPage);
    memset(memory.data(), 1, memory.size());
    const Pin pin = pinned(memory.address(100), 2 * kPage);  // three pages, two of them in part
    Turns turns;
    const pid_t child = fork();
    if (child == 0) {
        turns.wait_in_child();
        _exit(memory.data()[0] == 1 && memory.data()[2 * kPage + 4000] == 1 ? 0 : 1);
    }
    memory.data()[0] = 2;
    memory.data()[2 * kPage + 4000] = 2;
    turns.give_to_child();
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    map().unpin(pin.id);
}

TEST_F(ForkTest, memory_that_is_no_longer_pinned_but_still_adopted_is_copied_for_the_child) {
    const Memory memory(8 * kPage);
    memset(memory.data(), 1, memory.size());
    const Pin all = pinned(memory.address(), memory.size());
    const Pin part = pinned(memory.address(4 * kPage), kPage);
    map().unpin(all.id);
    Turns turns;
    const pid_t child = fork();
    if (child == 0) {
        turns.wait_in_child();
        _exit(memory.data()[0] == 1 && memory.data()[7 * kPage] == 1 ? 0 : 1);
    }
    memset(memory.data(), 2, memory.size());
    turns.give_to_child();
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    map().unpin(part.id);
}

TEST_F(ForkTest, child_starts_with_an_empty_map_and_can_pin) {
    const Memory memory(4 * kPage);
    const Memory other(4 * kPage);
    other.word(0) = 3;
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_TRUE(in_child([&] {
        map().unpin(pin.id);  // the parent's: ignored
        if (map().census().pins != 0 || map().census().pieces != 0) {
            return false;
        }
        auto own = map().pin(other.address(), other.size(), true);
        const bool good = own && own->ranges[0].reach == Reach::Adopted && own->id != pin.id &&
                          View(own->ranges[0]).word(0) == 3;
        if (own) {
            map().unpin(own->id);
        }
        return good && is_private_anonymous(other.address());
    }));
    EXPECT_EQ(map().census().pins, 1u);
    map().unpin(pin.id);
}

TEST_F(ForkTest, child_holds_no_descriptor_of_the_parents_memory) {
    const Memory memory(4 * kPage);
    Policy policy;
    const Pin adopted = pinned(memory.address(), kPage);
    policy.process_only = true;
    map().set_policy(policy);
    const Pin process = pinned(memory.address(2 * kPage), kPage);
    const int fds[] = {adopted.ranges[0].fd, process.ranges[0].fd};
    EXPECT_TRUE(
        in_child([&] { return fcntl(fds[0], F_GETFD) == -1 && fcntl(fds[1], F_GETFD) == -1; }));
    map().unpin(adopted.id);
    map().unpin(process.id);
}

TEST_F(ForkTest, memory_marked_dontfork_is_absent_in_the_child) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    madvise(memory.data(), memory.size(), MADV_DONTFORK);
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
    EXPECT_TRUE(in_child([&] { return mapping_at(memory.address()).end == 0; }));
    map().unpin(pin.id);
}

TEST_F(ForkTest, heap_works_in_parent_and_child_with_registered_blocks) {
    std::vector<std::unique_ptr<char[]>> blocks;
    std::vector<Pin> pins;
    for (int i = 0; i < 30; i++) {
        blocks.emplace_back(new char[3000]);
        memset(blocks.back().get(), i, 3000);
        pins.push_back(pinned(reinterpret_cast<uint64_t>(blocks.back().get()), 3000));
    }
    const auto churn = [&] {
        for (size_t i = 0; i < 2000; i++) {
            const std::vector<char> some(i * 7, 1);
        }
        for (size_t i = 0; i < blocks.size(); i++) {
            if (blocks[i][1500] != static_cast<char>(i)) {
                return false;
            }
        }
        return true;
    };
    const pid_t child = fork();
    if (child == 0) {
        const bool good = churn();
        blocks.clear();
        malloc_trim(0);
        _exit(good ? 0 : 1);
    }
    EXPECT_TRUE(churn());
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    for (const Pin& pin : pins) {
        map().unpin(pin.id);
    }
}

TEST_F(ForkTest, fork_while_other_threads_pin_is_sane) {
    if (!can_withhold()) {
        GTEST_SKIP() << map().adoption_text();
    }
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) {
        threads.emplace_back([&stop] {
            const Memory own(64 * kPage);
            for (uint64_t round = 1; !stop; round++) {
                own.word(round % 64 * kPage) = round;
                map().unpin(pinned(own.address(8), 30 * kPage).id);
            }
        });
    }
    for (int round = 0; round < 50; round++) {
        const Memory memory(4 * kPage);
        memory.word(0) = 1;
        const Pin pin = pinned(memory.address(), memory.size());
        EXPECT_TRUE(in_child([&] {
            memory.word(0)++;
            return memory.word(0) == 2 && map().census().pins == 0;
        }));
        EXPECT_EQ(memory.word(0), 1u);
        map().unpin(pin.id);
    }
    stop = true;
    for (std::thread& thread : threads) {
        thread.join();
    }
}

TEST_F(ForkTest, fork_of_a_forked_child_is_sane) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_TRUE(in_child([&] {
        const Memory own(4 * kPage);
        auto mine = map().pin(own.address(), own.size(), true);
        const bool good = in_child([&] {
            memory.word(0) = 3;
            own.word(0) = 4;
            return map().census().pins == 0;
        });
        return good && mine && memory.word(0) == 1 && own.word(0) == 0;
    }));
    map().unpin(pin.id);
}

}  // namespace
}  // namespace vrdma::tenant_memory
