// vrdma-run as a user meets it: the real program, a runtime directory without a service behind it,
// and the machine's own libibverbs with a small provider.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "dataplane/platform/class_view.h"
#include "tests/unit/dataplane_platform/temporary_directory.h"
#include "tests/unit/tools_run/child_program.h"
#include "tests/unit/tools_run/fake_service.h"

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

bool become_nobody() {
    return setgid(kNobody) == 0 && setuid(kNobody) == 0;
}

// A mount namespace with a /dev of its own, with or without /dev/infiniband.
bool private_dev(bool with_infiniband) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("dev", "/dev", "tmpfs", 0, "mode=755") != 0) {
        return false;
    }
    umask(0);
    return mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) == 0 &&
           mknod("/dev/full", S_IFCHR | 0666, makedev(1, 7)) == 0 &&
           mknod("/dev/zero", S_IFCHR | 0666, makedev(1, 5)) == 0 &&
           (!with_infiniband || mkdir("/dev/infiniband", 0755) == 0);
}

class VrdmaRun : public testing::Test {
  protected:
    void SetUp() override {
        chmod(directory_.path().c_str(), 0755);
        for (const char* variable : {"LD_PRELOAD", "RDMAV_DRIVERS", "IBV_DRIVERS", "VRDMA_TREE",
                                     "VRDMA_PROVIDER_DIR", "SYSFS_PATH", "NCCL_CONF_FILE",
                                     "NCCL_IB_HCA", "NCCL_GIN_TYPE", "NCCL_NET_GDR_LEVEL"}) {
            unsetenv(variable);
        }
        setenv("HOME", directory_.path().c_str(), 1);
        // A program built with the address sanitizer wants nothing preloaded before its runtime.
        setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
        service_.listen_for_control();
        service_.add_vnic("one");
        ASSERT_TRUE(service_.whole());
    }

    [[nodiscard]] fs::path runtime() const { return directory_.path() / "runtime"; }

    // vrdma-run with a runtime directory, a provider, and these words behind them.
    [[nodiscard]] std::vector<std::string> words(const std::vector<std::string>& more) const {
        std::vector<std::string> command = {VRDMA_RUN, "--runtime-dir", runtime().string(),
                                            "--provider", PROVIDER_DIR};
        command.insert(command.end(), more.begin(), more.end());
        return command;
    }

    [[nodiscard]] Ended run(
        const std::vector<std::string>& more,
        const std::function<bool()>& prepare = [] { return true; }) const {
        return run_program(words(more), prepare);
    }

    static void expect_refused(const Ended& ended, const std::string& problem,
                               const std::string& remedy) {
        EXPECT_EQ(ended.status, 2) << ended.errors;
        EXPECT_NE(ended.errors.find(problem), std::string::npos) << ended.errors;
        EXPECT_NE(ended.errors.find(remedy), std::string::npos) << ended.errors;
        EXPECT_EQ(std::count(ended.errors.begin(), ended.errors.end(), '\n'), 1) << ended.errors;
        EXPECT_EQ(ended.output, "");
    }

    // Skips where mount mode cannot be tried.
    static bool can_mount() { return platform::may_mount() && !platform::kernel_has_rdma_core(); }

    platform::TemporaryDirectory directory_;
    FakeService service_{directory_.path() / "runtime"};
};

TEST_F(VrdmaRun, help_succeeds) {
    const Ended ended = run_program({VRDMA_RUN, "--help"});
    EXPECT_EQ(ended.status, 0);
    EXPECT_NE(ended.output.find("--vnic"), std::string::npos);
}

TEST_F(VrdmaRun, missing_vnic_option_is_refused) {
    EXPECT_EQ(run_program({VRDMA_RUN, "--", "/bin/true"}).status, 2);
}

TEST_F(VrdmaRun, unknown_mode_is_refused) {
    EXPECT_EQ(run({"--vnic", "one", "--mode", "magic", "--", "/bin/true"}).status, 2);
}

TEST_F(VrdmaRun, missing_program_is_refused) {
    expect_refused(run({"--vnic", "one"}), "no program to run", "give one");
    expect_refused(run({"--vnic", "one", "--"}), "no program to run", "give one");
}

TEST_F(VrdmaRun, words_before_the_separator_are_refused) {
    expect_refused(run({"--vnic", "one", "ls", "--", "x"}), "'ls' before --", "behind --");
}

TEST_F(VrdmaRun, missing_service_is_refused) {
    const Ended ended = run_program({VRDMA_RUN, "--runtime-dir", directory_.path() / "absent",
                                     "--vnic", "one", "--", "/bin/true"});
    expect_refused(ended, (directory_.path() / "absent").string(), "start vrdmad");
}

TEST_F(VrdmaRun, dead_service_is_refused) {
    service_.stop();
    expect_refused(run({"--vnic", "one", "--", "/bin/true"}),
                   (service_.vnic("one") / "device.sock").string(), "start vrdmad");
}

TEST_F(VrdmaRun, unknown_vnic_is_refused_with_those_that_exist) {
    service_.add_vnic("two");
    expect_refused(run({"--vnic", "three", "--", "/bin/true"}), "no vNIC 'three'",
                   "choose one of these: one, two");
}

TEST_F(VrdmaRun, unknown_vnic_of_an_empty_service_is_refused) {
    FakeService empty(directory_.path() / "empty");
    empty.listen_for_control();
    const Ended ended = run_program({VRDMA_RUN, "--runtime-dir", directory_.path() / "empty",
                                     "--vnic", "one", "--", "/bin/true"});
    expect_refused(ended, "no vNIC 'one'", "service's configuration");
}

TEST_F(VrdmaRun, vnic_name_that_leads_elsewhere_is_refused) {
    expect_refused(run({"--vnic", "../vnic/one", "--", "/bin/true"}), "not a vNIC name", "one");
}

TEST_F(VrdmaRun, incomplete_tree_is_refused) {
    ASSERT_TRUE(platform::remove_device(service_.vnic("one"), 0));
    expect_refused(run({"--vnic", "one", "--", "/bin/true"}), "not complete", "restart vrdmad");
}

TEST_F(VrdmaRun, socket_of_others_is_refused) {
    if (getuid() != 0) {
        GTEST_SKIP() << "only root can become another user";
    }
    service_.add_vnic("private", 0600);
    const Ended ended = run({"--vnic", "private", "--", "/bin/true"}, become_nobody);
    if (ended.status == kNotPrepared) {
        GTEST_SKIP() << "another user cannot execute " << VRDMA_RUN;
    }
    expect_refused(ended, "permission denied on", "ask the operator");
    EXPECT_NE(ended.errors.find("mode 0600"), std::string::npos);
}

TEST_F(VrdmaRun, set_uid_program_is_refused) {
    if (getuid() != 0) {
        GTEST_SKIP() << "only root can make a program of another user set-uid";
    }
    const fs::path program = directory_.path() / "set-uid";
    fs::copy_file("/bin/true", program);
    ASSERT_EQ(chown(program.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(chmod(program.c_str(), 04755), 0);
    expect_refused(run({"--vnic", "one", "--", program}), "is set-uid", "system_view");
}

TEST_F(VrdmaRun, directory_without_provider_is_refused) {
    const Ended ended = run_program({VRDMA_RUN, "--runtime-dir", runtime(), "--provider",
                                     directory_.path(), "--vnic", "one", "--", "/bin/true"});
    expect_refused(ended, "no libvrdma-rdmavNN.so", "--provider");
}

TEST_F(VrdmaRun, program_that_does_not_exist_is_127) {
    EXPECT_EQ(run({"--vnic", "one", "--", "/no/such/program"}).status, 127);
    const Ended ended = run({"--vnic", "one", "--", "no-such-program"});
    EXPECT_EQ(ended.status, 127);
    EXPECT_NE(ended.errors.find("'no-such-program' in PATH"), std::string::npos);
}

TEST_F(VrdmaRun, file_that_is_no_program_is_126) {
    EXPECT_EQ(run({"--vnic", "one", "--", "/etc/passwd"}).status, 126);
    EXPECT_EQ(run({"--vnic", "one", "--", "/tmp"}).status, 126);
}

TEST_F(VrdmaRun, exit_status_passes_through) {
    EXPECT_EQ(run({"--vnic", "one", "--mode", "preload", "--", "sh", "-c", "exit 42"}).status, 42);
}

TEST_F(VrdmaRun, program_is_this_very_process) {
    const Ended ended =
        run({"--vnic", "one", "--mode", "preload", "--", "sh", "-c", "echo $$; kill -TERM $$"});
    EXPECT_EQ(ended.output, std::to_string(ended.pid) + "\n");
    EXPECT_EQ(ended.status, -SIGTERM);
}

TEST_F(VrdmaRun, arguments_behind_the_program_are_the_programs) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "echo", "--vnic", "-v", "x y"});
    EXPECT_EQ(ended.output, "--vnic -v x y\n") << ended.errors;
}

TEST_F(VrdmaRun, preload_shows_the_device_through_every_call) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "--", PATH_PROBE});
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_EQ(ended.errors, "");
}

TEST_F(VrdmaRun, preload_reaches_programs_that_the_program_starts) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "--", "sh", "-c",
                             "cat /sys/class/infiniband/vrdma0/node_desc; ls -l /dev/infiniband/"});
    EXPECT_NE(ended.output.find("vrdma one\n"), std::string::npos);
    EXPECT_NE(ended.output.find("uverbs0 -> /dev/full"), std::string::npos);
    EXPECT_EQ(ended.errors, "");
}

TEST_F(VrdmaRun, preload_works_for_any_user) {
    if (getuid() != 0) {
        GTEST_SKIP() << "only root can become another user";
    }
    const Ended ended = run(
        {"--vnic", "one", "--", "cat", "/sys/class/infiniband/vrdma0/node_type"}, become_nobody);
    if (ended.status == kNotPrepared) {
        GTEST_SKIP() << "another user cannot execute " << VRDMA_RUN;
    }
    EXPECT_EQ(ended.output, "1: CA\n") << ended.errors;
}

// The library does not exist: the loader says so and goes on, and only the variable matters here.
TEST_F(VrdmaRun, preload_adds_to_what_is_preloaded_already) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "--", "printenv", "LD_PRELOAD"},
                            [] { return setenv("LD_PRELOAD", "libother.so", 1) == 0; });
    EXPECT_TRUE(ended.output.starts_with("libother.so:/")) << ended.output;
    EXPECT_TRUE(ended.output.ends_with("/libvrdma-preload.so\n")) << ended.output;
}

TEST_F(VrdmaRun, provider_is_added_to_the_drivers) {
    const Ended ended =
        run({"--vnic", "one", "--mode", "preload", "--", "printenv", "RDMAV_DRIVERS"},
            [] { return setenv("RDMAV_DRIVERS", "mlx5", 1) == 0; });
    EXPECT_EQ(ended.output, "mlx5:" PROVIDER_DIR "/libvrdma\n");
}

TEST_F(VrdmaRun, provider_directory_comes_from_the_environment_too) {
    const Ended ended =
        run_program({VRDMA_RUN, "--runtime-dir", runtime(), "--vnic", "one", "--mode", "preload",
                     "--", "printenv", "IBV_DRIVERS"},
                    [] { return setenv("VRDMA_PROVIDER_DIR", PROVIDER_DIR, 1) == 0; });
    EXPECT_EQ(ended.output, PROVIDER_DIR "/libvrdma\n") << ended.errors;
}

TEST_F(VrdmaRun, provider_of_the_build_tree_is_found) {
    const Ended ended = run_program({VRDMA_RUN, "--runtime-dir", runtime(), "--vnic", "one",
                                     "--mode", "preload", "--", "printenv", "RDMAV_DRIVERS"});
    EXPECT_EQ(ended.output, BUILT_DRIVER "\n") << ended.errors;
}

TEST_F(VrdmaRun, nccl_learns_what_it_needs_and_verbose_says_so) {
    const Ended ended = run({"--vnic", "one", "-v", "--", "/usr/bin/env"});
    EXPECT_NE(ended.output.find("\nNCCL_GIN_TYPE=0\n"), std::string::npos) << ended.output;
    EXPECT_NE(ended.output.find("\nNCCL_IB_HCA=vrdma\n"), std::string::npos) << ended.output;
    EXPECT_NE(ended.errors.find("for NCCL, from "), std::string::npos) << ended.errors;
    EXPECT_NE(ended.errors.find("nccl.conf: NCCL_IB_HCA=vrdma NCCL_GIN_TYPE=0"), std::string::npos)
        << ended.errors;
    EXPECT_EQ(ended.errors.find("as the user has it"), std::string::npos) << ended.errors;
}

TEST_F(VrdmaRun, nccl_setting_of_the_environment_stays) {
    setenv("NCCL_IB_HCA", "mlx5_0", 1);
    const Ended ended = run({"--vnic", "one", "-v", "--", "/usr/bin/env"});
    unsetenv("NCCL_IB_HCA");
    EXPECT_NE(ended.output.find("\nNCCL_IB_HCA=mlx5_0\n"), std::string::npos) << ended.output;
    EXPECT_NE(ended.output.find("\nNCCL_GIN_TYPE=0\n"), std::string::npos) << ended.output;
    EXPECT_NE(ended.errors.find("as the user has it: NCCL_IB_HCA (the environment)"),
              std::string::npos)
        << ended.errors;
}

TEST_F(VrdmaRun, nccl_setting_of_the_users_file_stays) {
    std::ofstream(directory_.path() / ".nccl.conf") << "#NCCL_GIN_TYPE=1\nNCCL_IB_HCA=^mlx5\n";
    const Ended ended = run({"--vnic", "one", "-v", "--", "/usr/bin/env"});
    EXPECT_EQ(ended.output.find("NCCL_IB_HCA="), std::string::npos) << ended.output;
    EXPECT_NE(ended.output.find("\nNCCL_GIN_TYPE=0\n"), std::string::npos) << ended.output;
    EXPECT_NE(ended.errors.find(".nccl.conf)"), std::string::npos) << ended.errors;
}

TEST_F(VrdmaRun, nccl_file_that_the_user_names_counts_instead_of_the_one_at_home) {
    std::ofstream(directory_.path() / ".nccl.conf") << "NCCL_IB_HCA=^mlx5\n";
    std::ofstream(directory_.path() / "mine.conf") << "NCCL_GIN_TYPE=2\n";
    setenv("NCCL_CONF_FILE", (directory_.path() / "mine.conf").c_str(), 1);
    const Ended ended = run({"--vnic", "one", "--", "/usr/bin/env"});
    unsetenv("NCCL_CONF_FILE");
    EXPECT_EQ(ended.output.find("NCCL_GIN_TYPE="), std::string::npos) << ended.output;
    EXPECT_NE(ended.output.find("\nNCCL_IB_HCA=vrdma\n"), std::string::npos) << ended.output;
}

TEST_F(VrdmaRun, preload_of_a_static_program_warns_and_runs_it) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "--", STATIC_PROGRAM});
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(ended.output, "no device\n");
    EXPECT_NE(ended.errors.find("statically linked"), std::string::npos);
    EXPECT_NE(ended.errors.find("--mode mount"), std::string::npos);
}

TEST_F(VrdmaRun, program_for_musl_is_refused_in_every_mode) {
    for (const char* mode : {"auto", "mount", "preload"}) {
        expect_refused(run({"--vnic", "one", "--mode", mode, "--", MUSL_PROGRAM}),
                       "musl_program is a program for the musl C library", "use a build of it");
    }
}

TEST_F(VrdmaRun, script_with_an_interpreter_for_musl_is_refused) {
    const fs::path script = directory_.path() / "script";
    std::ofstream(script) << "#!" << MUSL_PROGRAM << "\n";
    fs::permissions(script, fs::perms::owner_all);
    expect_refused(run({"--vnic", "one", "--", script}),
                   "script is a program for the musl C library", "use a build of it");
}

TEST_F(VrdmaRun, preload_shows_the_device_to_libibverbs) {
    const Ended ended = run({"--vnic", "one", "--mode", "preload", "--", VERBS_PROGRAM});
    EXPECT_EQ(ended.status, 0) << ended.errors;
    EXPECT_EQ(ended.output, "vrdma0 gid3=10.1.2.3\n");
}

TEST_F(VrdmaRun, mount_without_the_capability_is_refused) {
    if (getuid() != 0) {
        expect_refused(run({"--vnic", "one", "--mode", "mount", "--", "/bin/true"}),
                       "CAP_SYS_ADMIN", "--mode preload");
        return;
    }
    const Ended ended = run({"--vnic", "one", "--mode", "mount", "--", "/bin/true"}, become_nobody);
    if (ended.status == kNotPrepared) {
        GTEST_SKIP() << "another user cannot execute " << VRDMA_RUN;
    }
    expect_refused(ended, "CAP_SYS_ADMIN", "--mode preload");
}

TEST_F(VrdmaRun, mount_without_a_directory_for_the_node_is_refused) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    const Ended ended = run({"--vnic", "one", "--mode", "mount", "--", "/bin/true"},
                            [] { return private_dev(false); });
    expect_refused(ended, "/dev/infiniband does not exist", "--mode preload");
}

TEST_F(VrdmaRun, auto_preloads_where_it_cannot_mount_and_says_why) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    const Ended ended =
        run({"--vnic", "one", "-v", "--", "cat", "/sys/class/infiniband/vrdma0/node_type"},
            [] { return private_dev(false); });
    EXPECT_EQ(ended.output, "1: CA\n");
    EXPECT_NE(ended.errors.find("/dev/infiniband does not exist"), std::string::npos);
    EXPECT_NE(ended.errors.find("mode preload: LD_PRELOAD="), std::string::npos);
}

TEST_F(VrdmaRun, auto_mounts_where_it_can) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    const Ended ended = run({"--vnic", "one", "-v", "--", "sh", "-c",
                             "cat /sys/class/infiniband/vrdma0/node_type; echo $LD_PRELOAD"},
                            [] { return private_dev(true); });
    EXPECT_EQ(ended.output, "1: CA\n\n") << ended.errors;
    EXPECT_NE(ended.errors.find("mode mount:"), std::string::npos);
}

TEST_F(VrdmaRun, mount_shows_the_device_even_to_static_programs) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    const Ended ended = run({"--vnic", "one", "--mode", "mount", "--", STATIC_PROGRAM},
                            [] { return private_dev(true); });
    EXPECT_EQ(ended.output, "1: CA\n") << ended.errors;
    EXPECT_EQ(ended.errors, "");
}

TEST_F(VrdmaRun, mount_shows_the_device_to_libibverbs) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    const Ended ended = run({"--vnic", "one", "--mode", "mount", "--", VERBS_PROGRAM},
                            [] { return private_dev(true); });
    EXPECT_EQ(ended.status, 0) << ended.errors;
    EXPECT_EQ(ended.output, "vrdma0 gid3=10.1.2.3\n");
}

TEST_F(VrdmaRun, mount_covers_another_view_for_this_program_only) {
    if (!can_mount()) {
        GTEST_SKIP() << "this process may not mount, or the RDMA core is loaded";
    }
    service_.add_vnic("two");
    // A program of vNIC one starts a program of vNIC two, then looks again.
    const std::string inner = std::string(VRDMA_RUN) + " --runtime-dir " + runtime().string() +
                              " --provider " PROVIDER_DIR " --vnic two --mode mount -- ";
    const std::string look = "cat /sys/class/infiniband/vrdma0/node_desc; ";
    const Ended ended =
        run({"--vnic", "one", "--mode", "mount", "--", "sh", "-c", look + inner + look + look},
            [] { return private_dev(true); });
    EXPECT_EQ(ended.output, "vrdma one\nvrdma two\nvrdma one\n") << ended.errors;
}

TEST_F(VrdmaRun, mount_leaves_the_rest_of_the_machine_as_it_was) {
    if (!can_mount() || fs::exists("/sys/class/infiniband")) {
        GTEST_SKIP() << "this process may not mount, or this machine has RDMA devices";
    }
    const std::string run_one = std::string(VRDMA_RUN) + " --runtime-dir " + runtime().string() +
                                " --provider " PROVIDER_DIR " --vnic one --mode mount -- ";
    const Ended ended = run_program(
        {"/bin/sh", "-c",
         "mounts() { cat /proc/self/mountinfo | sort; }; before=$(mounts); " + run_one +
             "/bin/true || exit 3; test \"$before\" = \"$(mounts)\" || exit 4; "
             "test ! -e /sys/class/infiniband || exit 5; test ! -e /dev/infiniband/uverbs0"},
        [] { return private_dev(true); });
    EXPECT_EQ(ended.status, 0) << ended.errors;
}

}  // namespace
}  // namespace vrdma::run
