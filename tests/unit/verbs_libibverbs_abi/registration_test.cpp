// Loads a small provider into a libibverbs of each private ABI: stand-ins for all of them, and the
// one installed on this machine. A process gets one libibverbs, so each case runs in a child.
#include "verbs/libibverbs_abi/registration.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rdma/ib_user_verbs.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

namespace vrdma::verbs_abi {
namespace {

#define REQUIRE(condition)                                               \
    do {                                                                 \
        if (!(condition)) {                                              \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return 1;                                                    \
        }                                                                \
    } while (false)

int in_child(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string fake_library(const std::string& name) {
    return std::string(FAKE_DIR) + "/" + name + "/libibverbs.so.1";
}

std::string provider_for(int pabi) {
    return std::string(PROVIDER_DIR) + "/libsmall-rdmav" + std::to_string(pabi) + ".so";
}

template <typename Function>
Function symbol(void* handle, const char* name) {
    return reinterpret_cast<Function>(dlsym(handle, name));
}

struct Release {
    const char* name;  // of the stand-in's folder
    int pabi;
    Layout layout;
};

int full_life(const Release& release) {
    void* library = dlopen(fake_library(release.name).c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library != nullptr);
    void* provider = dlopen(provider_for(release.pabi).c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(provider != nullptr);
    REQUIRE(symbol<int (*)()>(provider, "small_result")() == static_cast<int>(release.layout));

    const auto* ops = symbol<const VerbsDeviceOps* (*)()>(library, "fake_registered")();
    REQUIRE(ops != nullptr && std::string(ops->name) == "vrdma");
    REQUIRE(ops->match_min_abi_version == 1 && ops->match_max_abi_version == 1);
    REQUIRE(ops->match_table[0].kind == MatchKind::modalias);
    REQUIRE(std::string(ops->match_table[0].u.modalias) == "rdma_device:*Nvrdma*");
    REQUIRE(ops->match_table[1].kind == MatchKind::sentinel);

    VerbsSysfsDev sysfs{};
    VerbsDevice* device = ops->alloc_device(&sysfs);
    const int cmd_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    VerbsContext* verbs_context = ops->alloc_context(&device->device, cmd_fd, nullptr);
    REQUIRE(verbs_context != nullptr);
    auto* context = reinterpret_cast<ibv_context*>(reinterpret_cast<char*>(verbs_context) +
                                                   sizes_of(release.layout).context_offset);
    REQUIRE(context->cmd_fd == cmd_fd && context->num_comp_vectors == 1);
    REQUIRE(symbol<void* (*)(ibv_context*)>(provider, "small_owner")(context) ==
            symbol<void* (*)()>(provider, "small_state")());

    const auto* table = symbol<const char* (*)()>(library, "fake_ops")();
    void* installed = nullptr;
    std::memcpy(&installed, table + *offset_of(release.layout, Op::modify_qp), sizeof installed);
    REQUIRE(installed == symbol<void* (*)()>(provider, "small_modify_qp")());

    struct {
        ib_uverbs_cmd_hdr header;
        ib_uverbs_create_comp_channel command;
    } request{};
    ib_uverbs_create_comp_channel_resp response{};
    response.fd = 9999;
    request.header.command = IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL;
    request.command.response = reinterpret_cast<std::uintptr_t>(&response);
    const auto library_write =
        symbol<long (*)(int, const void*, std::size_t)>(library, "fake_write");
    REQUIRE(library_write(cmd_fd, &request, sizeof request) == sizeof request);
    char zero = 1;
    REQUIRE(read(static_cast<int>(response.fd), &zero, 1) == 1 && zero == 0);
    REQUIRE(symbol<int (*)(int)>(library, "fake_ioctl")(cmd_fd) == -1 && errno == ENOTTY);

    std::memcpy(&installed, table + *offset_of(release.layout, Op::free_context), sizeof installed);
    reinterpret_cast<void (*)(ibv_context*)>(installed)(context);
    REQUIRE(fcntl(cmd_fd, F_GETFD) == -1 && errno == EBADF);
    ops->uninit_device(device);
    return 0;
}

class Registration : public testing::TestWithParam<Release> {};

TEST_P(Registration, provider_lives_a_full_life_in_every_release) {
    EXPECT_EQ(in_child([] { return full_life(GetParam()); }), 0);
}

std::string release_name(const testing::TestParamInfo<Release>& info) {
    return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Releases, Registration,
    testing::Values(Release{"v44", 34, Layout::A}, Release{"v57", 57, Layout::A},
                    Release{"v59", 59, Layout::B}, Release{"v62", 59, Layout::C},
                    Release{"v64", 64, Layout::D}, Release{"v65", 65, Layout::E}),
    release_name);

// Two libraries with one number, and the weak references lead to the other: it has the usual name
// and is in the global scope.
TEST(RegistrationChecks, library_that_loads_the_provider_gets_it) {
    EXPECT_EQ(in_child([] {
                  void* usual = dlopen(fake_library("v44").c_str(), RTLD_NOW | RTLD_GLOBAL);
                  const std::string name =
                      std::string(FAKE_DIR) + "/bundled/libibverbs-1de1263b.so.1";
                  void* bundled = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
                  REQUIRE(usual != nullptr && bundled != nullptr);
                  const auto load = symbol<void* (*)(const char*)>(bundled, "fake_load");
                  REQUIRE(load(provider_for(34).c_str()) != nullptr);
                  REQUIRE(symbol<const void* (*)()>(bundled, "fake_registered")() != nullptr);
                  REQUIRE(symbol<const void* (*)()>(usual, "fake_registered")() == nullptr);
                  return 0;
              }),
              0);
}

TEST(RegistrationChecks, context_of_unexpected_size_is_refused) {
    EXPECT_EQ(in_child([] {
                  void* library = dlopen(fake_library("grown").c_str(), RTLD_NOW | RTLD_LOCAL);
                  REQUIRE(library != nullptr);
                  void* provider = dlopen(provider_for(65).c_str(), RTLD_NOW | RTLD_LOCAL);
                  REQUIRE(provider != nullptr);
                  const auto* ops =
                      symbol<const VerbsDeviceOps* (*)()>(library, "fake_registered")();
                  VerbsSysfsDev sysfs{};
                  VerbsDevice* device = ops->alloc_device(&sysfs);
                  const int cmd_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
                  REQUIRE(ops->alloc_context(&device->device, cmd_fd, nullptr) == nullptr);
                  REQUIRE(errno == ENOSYS);
                  return 0;
              }),
              0);
}

TEST(RegistrationChecks, unknown_private_abi_is_refused) {
    EXPECT_EQ(in_child([] {
                  void* library = dlopen(fake_library("v99").c_str(), RTLD_NOW | RTLD_LOCAL);
                  REQUIRE(library != nullptr);
                  void* provider = dlopen(provider_for(65).c_str(), RTLD_NOW | RTLD_LOCAL);
                  REQUIRE(provider != nullptr);
                  REQUIRE(symbol<int (*)()>(provider, "small_result")() ==
                          -2 - static_cast<int>(RegisterError::unknown_private_abi));
                  REQUIRE(symbol<void* (*)()>(library, "fake_registered")() == nullptr);
                  return 0;
              }),
              0);
}

TEST(RegistrationChecks, of_two_libraries_the_one_that_loads_us_is_served) {
    EXPECT_EQ(
        in_child([] {
            void* first = dlopen(fake_library("v44").c_str(), RTLD_NOW | RTLD_GLOBAL);
            void* second = dlopen(fake_library("v65").c_str(), RTLD_NOW | RTLD_LOCAL);
            REQUIRE(first != nullptr && second != nullptr && first != second);
            void* provider = dlopen(provider_for(65).c_str(), RTLD_NOW | RTLD_LOCAL);
            REQUIRE(provider != nullptr);
            REQUIRE(symbol<int (*)()>(provider, "small_result")() == static_cast<int>(Layout::E));
            REQUIRE(symbol<void* (*)()>(first, "fake_registered")() == nullptr);
            REQUIRE(symbol<void* (*)()>(second, "fake_registered")() != nullptr);
            return 0;
        }),
        0);
}

// libibverbs of this machine: registration and hook in a real library (devices: see tools_run).
TEST(RegistrationChecks, installed_libibverbs_takes_the_provider) {
    const std::string library_name = "libibverbs.so.1";
    const int outcome = in_child([&] {
        void* library = dlopen(library_name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            return 77;
        }
        int pabi = 0;
        for (const int candidate : {34, 57, 59, 64, 65}) {
            if (dlsym(library, ("verbs_register_driver_" + std::to_string(candidate)).c_str())) {
                pabi = candidate;
            }
        }
        REQUIRE(pabi != 0);
        void* provider = dlopen(provider_for(pabi).c_str(), RTLD_NOW | RTLD_LOCAL);
        REQUIRE(provider != nullptr);
        REQUIRE(symbol<int (*)()>(provider, "small_result")() >= 0);
        return 0;
    });
    if (outcome == 77) {
        GTEST_SKIP() << "no libibverbs.so.1 on this machine";
    }
    EXPECT_EQ(outcome, 0);
}

}  // namespace
}  // namespace vrdma::verbs_abi
