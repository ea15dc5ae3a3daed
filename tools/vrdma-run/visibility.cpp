// Two ways, and the choice between them.
//
// mount: a mount namespace of our own in which the vNIC's directories lie over /sys/class and
// /dev/infiniband. Nothing in the program can miss them, not even static code, but it takes
// CAP_SYS_ADMIN, a directory /dev/infiniband to mount on (it cannot be made without changing the
// machine), and a kernel without RDMA core, which libibverbs would ask instead. Mounts made on the
// machine later still arrive (slave propagation); ours do not leave.
//
// preload: LD_PRELOAD of a library that redirects the paths. Works for every user and on every
// kernel, for dynamically linked programs.
//
// auto takes mount when its conditions hold, and preload otherwise; it falls back as well when a
// mount is refused after all (a security module, a container's seccomp filter), after taking back
// what was mounted.
#include "tools/vrdma-run/visibility.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <optional>
#include <system_error>
#include <vector>

#include "dataplane/platform/class_view.h"
#include "tools/preload/redirection.h"
#include "tools/vrdma-run/installation.h"

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNodes = "/dev/infiniband";

// Why the mount mode cannot work here; nothing when it can.
std::optional<std::string> mount_obstacle() {
    if (!platform::may_mount()) {
        return "mounting needs CAP_SYS_ADMIN, which this process does not have";
    }
    if (platform::kernel_has_rdma_core()) {
        return "the kernel's RDMA core is loaded, which libibverbs asks instead of looking at /sys";
    }
    std::error_code error;
    if (!fs::is_directory(kNodes, error)) {
        return std::string(kNodes) +
               " does not exist and cannot be made without changing the machine";
    }
    return std::nullopt;
}

Outcome<void> mount_tree(const fs::path& vnic_directory) {
    if (unshare(CLONE_NEWNS) != 0) {
        return refuse("cannot make a mount namespace: " + std::generic_category().message(errno) +
                      "; use --mode preload");
    }
    if (mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
        return refuse("cannot make the mounts private: " + std::generic_category().message(errno) +
                      "; use --mode preload");
    }
    std::vector<platform::ViewStep> steps;
    const platform::RecordStep remember =
        [&](const platform::ViewStep& step) -> platform::Visibility<void> {
        steps.push_back(step);
        return {};
    };
    platform::ViewPlaces places;
    places.root = vnic_directory;
    auto shown = platform::show_nodes(places, remember);
    if (shown) {
        shown = platform::show_class(places, remember);
    }
    if (shown) {
        return {};
    }
    std::string sentence = shown.error().sentence();
    if (auto undone = platform::undo_steps(steps); !undone) {
        sentence += " (and " + undone.error().problem + ")";
    }
    return refuse(sentence);
}

void append_to_environment(const char* variable, const std::string& entry) {
    const char* before = std::getenv(variable);
    const std::string value =
        before == nullptr || *before == '\0' ? entry : std::string(before) + ":" + entry;
    setenv(variable, value.c_str(), 1);
}

Outcome<void> preload(const fs::path& vnic_directory) {
    const auto library = preload_library();
    if (!library) {
        return tl::unexpected(library.error());
    }
    append_to_environment("LD_PRELOAD", library->string());
    setenv(preload::kTreeVariable, vnic_directory.c_str(), 1);
    return {};
}

}  // namespace

Outcome<void> make_visible(Mode mode, const fs::path& vnic_directory, const Program& program,
                           const Say& explain, const Say& warn) {
    if (mode != Mode::preload) {
        std::optional<std::string> obstacle = mount_obstacle();
        if (!obstacle) {
            const auto mounted = mount_tree(vnic_directory);
            if (mounted) {
                explain("mode mount: " + vnic_directory.string() +
                        " is mounted over /sys/class and " + kNodes + " for this program");
                return {};
            }
            obstacle = mounted.error().sentence;
        }
        if (mode == Mode::mount) {
            return refuse("--mode mount does not work here: " + *obstacle + "; use --mode preload");
        }
        explain("mode mount does not work here: " + *obstacle);
    }
    if (auto done = preload(vnic_directory); !done) {
        return done;
    }
    explain("mode preload: LD_PRELOAD=" + std::string(std::getenv("LD_PRELOAD")) + " " +
            preload::kTreeVariable + "=" + vnic_directory.string());
    if (program.linkage == Linkage::static_) {
        warn(program.path.string() +
             " is statically linked, so LD_PRELOAD has no effect on it and it will not see the "
             "device; use --mode mount");
    }
    return {};
}

}  // namespace vrdma::run
