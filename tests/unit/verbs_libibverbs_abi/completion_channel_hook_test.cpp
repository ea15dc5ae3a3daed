// Each case hooks an object once, and the hook serves one object in a process, so each runs in a
// child.
#include "verbs/libibverbs_abi/completion_channel_hook.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <rdma/ib_user_verbs.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

namespace vrdma::verbs_abi {
namespace {

constexpr int kChannelFd = 77;
ibv_context* asked_for = nullptr;

int create_channel(ibv_context* context) {
    asked_for = context;
    return kChannelFd;
}

int refuse_channel(ibv_context*) {
    errno = ENFILE;
    return -1;
}

struct Object {
    long (*write)(int, const void*, std::size_t);
    int (*ioctl)(int, unsigned long, void*);
    link_map* map;
};

Object load(const char* path) {
    void* handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    Object object{};
    if (handle == nullptr) {
        std::fprintf(stderr, "%s\n", dlerror());
        return object;
    }
    object.write = reinterpret_cast<decltype(object.write)>(dlsym(handle, "object_write"));
    object.ioctl = reinterpret_cast<decltype(object.ioctl)>(dlsym(handle, "object_ioctl"));
    dlinfo(handle, RTLD_DI_LINKMAP, &object.map);
    return object;
}

// Runs body in a child; it returns the line that failed, or 0.
int line_that_failed(int (*body)(const char*), const char* path) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body(path));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define REQUIRE(condition)                                               \
    do {                                                                 \
        if (!(condition)) {                                              \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return 1;                                                    \
        }                                                                \
    } while (false)

struct Request {
    ib_uverbs_cmd_hdr header;
    ib_uverbs_create_comp_channel command;
};

Request channel_request(ib_uverbs_create_comp_channel_resp& response) {
    Request request{};
    request.header.command = IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL;
    request.header.in_words = sizeof request / 4;
    request.header.out_words = sizeof response / 4;
    request.command.response = reinterpret_cast<std::uintptr_t>(&response);
    return request;
}

int answers_own_descriptors(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    const int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    auto* context = reinterpret_cast<ibv_context*>(0x1000);
    REQUIRE(add_command_fd(fd));

    ib_uverbs_create_comp_channel_resp response{};
    const Request request = channel_request(response);
    REQUIRE(object.write(fd, &request, sizeof request) == -1 && errno == EAGAIN);
    set_command_context(fd, context);
    REQUIRE(object.write(fd, &request, sizeof request) == sizeof request);
    REQUIRE(response.fd == kChannelFd && asked_for == context);
    REQUIRE(object.ioctl(fd, 0xc0181b01, nullptr) == -1 && errno == ENOTTY);

    remove_command_fd(fd);
    REQUIRE(object.write(fd, &request, sizeof request) == -1 &&
            errno == ENOSPC);  // /dev/full's answer
    return 0;
}

int passes_foreign_descriptors(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    REQUIRE(add_command_fd(500));
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    // Twice: the first call of a lazily bound import must not undo the hook.
    for (int i = 0; i < 2; ++i) {
        char got = 0;
        int available = 0;
        REQUIRE(object.write(ends[1], "x", 1) == 1);
        REQUIRE(object.ioctl(ends[0], FIONREAD, &available) == 0 && available == 1);
        REQUIRE(read(ends[0], &got, 1) == 1 && got == 'x');
        REQUIRE(object.write(500, "x", 1) == -1 && errno == EOPNOTSUPP);
    }
    return 0;
}

int hooks_after_first_use(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    REQUIRE(object.write(ends[1], "x", 1) == 1);
    REQUIRE(install_hook(object.map, create_channel));
    REQUIRE(object.write(ends[1], "x", 1) == 1);
    REQUIRE(add_command_fd(500));
    REQUIRE(object.write(500, "x", 1) == -1 && errno == EOPNOTSUPP);
    return 0;
}

int leaves_other_objects_alone(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    const int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    REQUIRE(add_command_fd(fd));
    REQUIRE(write(fd, "x", 1) == -1 && errno == ENOSPC);
    return 0;
}

// The dynamic section is in RELRO: its page must be read-only as ld.so left it.
int leaves_relro_read_only(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    const auto address = reinterpret_cast<std::uintptr_t>(object.map->l_ld);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        char permissions[5] = "";
        REQUIRE(std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) == 3);
        if (address >= begin && address < end) {
            REQUIRE(std::string(permissions) == "r--p");
            return 0;
        }
    }
    return 1;
}

int rejects_other_commands(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    REQUIRE(add_command_fd(500));
    set_command_context(500, reinterpret_cast<ibv_context*>(0x1000));
    ib_uverbs_create_comp_channel_resp response{};
    Request request = channel_request(response);
    request.header.command = IB_USER_VERBS_CMD_CREATE_CQ;
    REQUIRE(object.write(500, &request, sizeof request) == -1 && errno == EOPNOTSUPP);
    request = channel_request(response);
    REQUIRE(object.write(500, &request, sizeof request - 1) == -1 && errno == EOPNOTSUPP);
    REQUIRE(response.fd == 0 && asked_for == nullptr);
    return 0;
}

int hands_the_callbacks_error_on(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, refuse_channel));
    REQUIRE(add_command_fd(500));
    set_command_context(500, reinterpret_cast<ibv_context*>(0x1000));
    ib_uverbs_create_comp_channel_resp response{};
    const Request request = channel_request(response);
    REQUIRE(object.write(500, &request, sizeof request) == -1 && errno == ENFILE);
    return 0;
}

int refuses_a_second_object(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    REQUIRE(install_hook(object.map, create_channel));
    const auto again = install_hook(object.map, create_channel);
    REQUIRE(!again && again.error() == HookError::already_hooked);
    return 0;
}

int refuses_an_object_without_write(const char* path) {
    const Object object = load(path);
    REQUIRE(object.map != nullptr);
    const auto result = install_hook(object.map, create_channel);
    REQUIRE(!result && result.error() == HookError::write_not_found);
    const auto none = install_hook(nullptr, create_channel);
    REQUIRE(!none && none.error() == HookError::no_relocations);
    return 0;
}

int bounds_the_descriptors(const char* path) {
    static_cast<void>(path);
    for (int fd = 0; fd < static_cast<int>(kMaxCommandFds); ++fd) {
        REQUIRE(add_command_fd(fd));
    }
    REQUIRE(!add_command_fd(100000));
    remove_command_fd(7);
    REQUIRE(add_command_fd(100000));
    return 0;
}

class Hook : public testing::TestWithParam<const char*> {};

TEST_P(Hook, own_descriptor_is_answered) {
    EXPECT_EQ(line_that_failed(answers_own_descriptors, GetParam()), 0);
}

TEST_P(Hook, foreign_descriptor_reaches_the_real_function) {
    EXPECT_EQ(line_that_failed(passes_foreign_descriptors, GetParam()), 0);
}

TEST_P(Hook, object_that_was_used_before_is_hooked) {
    EXPECT_EQ(line_that_failed(hooks_after_first_use, GetParam()), 0);
}

TEST_P(Hook, other_objects_keep_their_write) {
    EXPECT_EQ(line_that_failed(leaves_other_objects_alone, GetParam()), 0);
}

TEST_P(Hook, read_only_pages_are_read_only_again) {
    EXPECT_EQ(line_that_failed(leaves_relro_read_only, GetParam()), 0);
}

TEST_P(Hook, other_command_is_not_supported) {
    EXPECT_EQ(line_that_failed(rejects_other_commands, GetParam()), 0);
}

TEST_P(Hook, failing_callback_fails_the_write) {
    EXPECT_EQ(line_that_failed(hands_the_callbacks_error_on, GetParam()), 0);
}

TEST_P(Hook, second_install_is_refused) {
    EXPECT_EQ(line_that_failed(refuses_a_second_object, GetParam()), 0);
}

std::string linkage_name(const testing::TestParamInfo<const char*>& info) {
    constexpr std::array kNames = {"now", "lazy", "no_plt"};
    return kNames.at(info.index);
}

INSTANTIATE_TEST_SUITE_P(Linkage, Hook,
                         testing::Values(HOOKED_OBJECT_NOW, HOOKED_OBJECT_LAZY,
                                         HOOKED_OBJECT_NO_PLT),
                         linkage_name);

TEST(HookRefusal, object_without_write_is_refused) {
    EXPECT_EQ(line_that_failed(refuses_an_object_without_write, OBJECT_WITHOUT_WRITE), 0);
}

TEST(HookRefusal, descriptors_beyond_the_bound_are_refused) {
    EXPECT_EQ(line_that_failed(bounds_the_descriptors, ""), 0);
}

}  // namespace
}  // namespace vrdma::verbs_abi
