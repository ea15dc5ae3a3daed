// The view is tried on the real /sys/class, in a child with a mount namespace of its own, so it
// needs CAP_SYS_ADMIN; what can be refused before any mount is tried everywhere.
#include "dataplane/platform/system_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "tests/unit/dataplane_platform/temporary_directory.h"

namespace vrdma::platform {
namespace {

namespace fs = std::filesystem;

#define REQUIRE(condition)                                               \
    do {                                                                 \
        if (!(condition)) {                                              \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return 1;                                                    \
        }                                                                \
    } while (false)

constexpr int kCannotMount = 77;

// Runs body in a child that has its own mounts.
int in_private_mounts(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        if (unshare(CLONE_NEWNS) != 0 ||
            mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            std::perror("private mount namespace");
            _exit(kCannotMount);
        }
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

DeviceDescription device(const std::string& vnic) {
    DeviceDescription device;
    device.vnic = vnic;
    device.gids = {GidBytes{0xfe, 0x80}};
    device.socket_path = "/run/vrdma/vnic/" + vnic + "/device.sock";
    device.firmware_version = "0.1.0";
    return device;
}

std::size_t mounts_at(const std::string& point) {
    std::ifstream table("/proc/self/mountinfo");
    std::size_t count = 0;
    for (std::string line; std::getline(table, line);) {
        count += line.find(" " + point + " ") != std::string::npos ? 1U : 0U;
    }
    return count;
}

class SystemViewTest : public testing::Test {
  protected:
    void SetUp() override {
        fs::create_directory(directory_.path() / "dev");
        places_ = {.directory = directory_.path() / "with space,comma:colon" / "system",
                   .sys_class = "/sys/class",
                   .dev = directory_.path() / "dev",
                   .state_file = directory_.path() / "state"};
    }

    void require_mounts(const std::function<int()>& body) {
        if (!may_mount()) {
            GTEST_SKIP() << "this process may not mount (no CAP_SYS_ADMIN)";
        }
        if (fs::exists("/sys/class/infiniband") || kernel_has_rdma_core()) {
            GTEST_SKIP() << "this machine has RDMA devices or a system view already";
        }
        const int result = in_private_mounts(body);
        if (result == kCannotMount) {
            GTEST_SKIP() << "this process may not have a mount namespace of its own";
        }
        EXPECT_EQ(result, 0);
    }

    TemporaryDirectory directory_;
    SystemViewPlaces places_;
};

TEST_F(SystemViewTest, devices_come_and_go) {
    require_mounts([&] {
        auto view = SystemView::open(places_);
        REQUIRE(view);
        REQUIRE(fs::is_empty("/sys/class/infiniband"));
        REQUIRE(contents_of("/sys/class/infiniband_verbs/abi_version") == "6\n");
        REQUIRE((*view)->add(device("one")) == 0U);
        REQUIRE((*view)->add(device("two")) == 1U);
        REQUIRE(contents_of("/sys/class/infiniband/vrdma1/node_desc") == "vrdma two\n");
        REQUIRE(contents_of("/sys/class/infiniband_verbs/uverbs0/ibdev") == "vrdma0\n");
        REQUIRE(fs::is_character_file(places_.dev / "infiniband/uverbs1"));

        REQUIRE((*view)->remove("one"));
        REQUIRE(!fs::exists("/sys/class/infiniband/vrdma0"));
        REQUIRE(fs::exists("/sys/class/infiniband/vrdma1"));
        REQUIRE((*view)->add(device("three")) == 0U);
        REQUIRE((*view)->add(device("two")) == 1U);
        REQUIRE((*view)->remove("never added"));
        return 0;
    });
}

TEST_F(SystemViewTest, rest_of_sys_class_stays_usable) {
    require_mounts([&] {
        std::size_t before = 0;
        for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/sys/class")) {
            ++before;
        }
        auto view = SystemView::open(places_);
        REQUIRE(view);
        std::size_t after = 0;
        for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/sys/class")) {
            ++after;
        }
        REQUIRE(after == before + 2);
        REQUIRE(fs::is_directory("/sys/class/net/lo"));  // a link out of the class directory
        // A file that is written, where there is one: opening it does not meet a read-only mount.
        if (fs::exists("/sys/class/firmware/timeout")) {
            const int fd = open("/sys/class/firmware/timeout", O_WRONLY | O_CLOEXEC);
            REQUIRE(fd >= 0);
            close(fd);
        }
        return 0;
    });
}

TEST_F(SystemViewTest, close_removes_exactly_what_was_made) {
    require_mounts([&] {
        auto view = SystemView::open(places_);
        REQUIRE(view);
        REQUIRE((*view)->add(device("one")));
        REQUIRE((*view)->close());
        REQUIRE(!fs::exists("/sys/class/infiniband"));
        REQUIRE(mounts_at("/sys/class") == 0);
        REQUIRE(!fs::exists(places_.dev / "infiniband"));
        REQUIRE(!fs::exists(places_.state_file));
        REQUIRE(fs::is_empty(places_.directory));
        return 0;
    });
}

TEST_F(SystemViewTest, directory_that_was_there_before_stays) {
    require_mounts([&] {
        fs::create_directory(places_.dev / "infiniband");
        std::ofstream(places_.dev / "infiniband/rdma_cm") << "theirs";
        auto view = SystemView::open(places_);
        REQUIRE(view);
        REQUIRE((*view)->close());
        REQUIRE(contents_of(places_.dev / "infiniband/rdma_cm") == "theirs");
        return 0;
    });
}

TEST_F(SystemViewTest, view_of_a_dead_service_is_cleaned_up) {
    require_mounts([&] {
        const pid_t service = fork();
        if (service == 0) {
            auto view = SystemView::open(places_);
            const bool shown = view && (*view)->add(device("ghost"));
            _exit(shown ? 0 : 1);  // without a word: as if killed
        }
        int status = 0;
        waitpid(service, &status, 0);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        REQUIRE(fs::exists("/sys/class/infiniband/vrdma0"));

        auto view = SystemView::open(places_);
        REQUIRE(view);
        REQUIRE(fs::is_empty("/sys/class/infiniband"));
        REQUIRE(mounts_at("/sys/class") == 1);
        REQUIRE((*view)->close());
        REQUIRE(mounts_at("/sys/class") == 0);
        REQUIRE(!fs::exists(places_.dev / "infiniband"));
        return 0;
    });
}

TEST_F(SystemViewTest, dead_service_with_another_directory_is_cleaned_up) {
    require_mounts([&] {
        const pid_t service = fork();
        if (service == 0) {
            _exit(SystemView::open(places_) ? 0 : 1);
        }
        int status = 0;
        waitpid(service, &status, 0);
        fs::remove_all(places_.directory);  // even when its tree is gone
        SystemViewPlaces mine = places_;
        mine.directory = directory_.path() / "elsewhere";
        auto view = SystemView::open(mine);
        REQUIRE(view);
        REQUIRE(mounts_at("/sys/class") == 1);
        return 0;
    });
}

TEST_F(SystemViewTest, second_service_is_refused) {
    require_mounts([&] {
        auto view = SystemView::open(places_);
        REQUIRE(view);
        SystemViewPlaces second = places_;
        second.directory = directory_.path() / "second";
        const auto refused = SystemView::open(second);
        REQUIRE(!refused);
        REQUIRE(refused.error().problem.find("another vrdma service") != std::string::npos);
        REQUIRE(fs::exists("/sys/class/infiniband"));
        return 0;
    });
}

TEST_F(SystemViewTest, mount_of_somebody_else_on_top_is_left_and_reported) {
    require_mounts([&] {
        auto view = SystemView::open(places_);
        REQUIRE(view);
        REQUIRE(mount("theirs", "/sys/class/infiniband", "tmpfs", 0, nullptr) == 0);
        const auto closed = (*view)->close();
        REQUIRE(!closed);
        REQUIRE(closed.error().problem.find("something else") != std::string::npos);
        REQUIRE(fs::exists(places_.state_file));  // what is left to undo is still written down
        return 0;
    });
}

TEST_F(SystemViewTest, machine_with_devices_of_its_own_is_refused) {
    if (!may_mount()) {
        GTEST_SKIP() << "this process may not mount (no CAP_SYS_ADMIN)";
    }
    places_.sys_class = directory_.path() / "class";
    fs::create_directories(places_.sys_class / "infiniband/mlx5_0");
    const auto refused = SystemView::open(places_);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().problem.find("RDMA devices of its own"), std::string::npos);
    EXPECT_NE(refused.error().remedy.find("vrdma-run"), std::string::npos);
    EXPECT_FALSE(fs::exists(places_.dev / "infiniband"));
    EXPECT_FALSE(fs::exists(places_.state_file));
}

TEST_F(SystemViewTest, process_that_may_not_mount_is_refused) {
    const pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && setuid(65534) != 0) {
            _exit(2);
        }
        const auto refused = SystemView::open(places_);
        _exit(!refused && refused.error().problem.find("CAP_SYS_ADMIN") != std::string::npos ? 0
                                                                                             : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vrdma::platform
