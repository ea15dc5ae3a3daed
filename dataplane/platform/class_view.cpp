// Mounts, and only mounts. /sys/class is part of sysfs, which refuses mkdir, so directories that
// the kernel does not have can only appear through an overlay: of a skeleton with two empty
// directories over the real /sys/class. The live directories are then bound on the empty ones,
// because an overlay must not be asked to follow changes below it: a name once looked up and not
// found stays hidden when it appears later. Bound directories show every change at once.
//
// An overlay without an upper directory is read-only. Some classes have files that are written
// (net/bonding_masters, zram-control/hot_remove), so each class directory with such a file is bound
// over the overlay from the real sysfs. Classes the kernel adds later come through the overlay.
//
// Ours are recognised in /proc/self/mountinfo: the overlay by its source name, a bound directory by
// the path it was bound from, which ends as a tree's directories do.
#include "dataplane/platform/class_view.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>

#include "dataplane/platform/device_tree.h"

namespace vrdma::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOverlaySource = "vrdma-view";
constexpr mode_t kDirectoryMode = 0755;

struct MountEntry {
    std::string root;  // the mounted directory inside its file system
    std::string point;
    std::string type;
    std::string source;
};

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescaped(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && text.size() - i > 3) {
            plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                       (text[i + 3] - '0'));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

std::optional<MountEntry> parse_mount(const std::string& line) {
    // id parent major:minor root point options [optional fields] - type source super_options
    std::istringstream fields(line);
    std::string skip;
    MountEntry entry;
    fields >> skip >> skip >> skip >> entry.root >> entry.point >> skip;
    while (fields >> skip && skip != "-") {
    }
    if (!(fields >> entry.type >> entry.source)) {
        return std::nullopt;
    }
    entry.root = unescaped(entry.root);
    entry.point = unescaped(entry.point);
    return entry;
}

// The mount that path shows: of several on one point the last one listed.
std::optional<MountEntry> mount_at(const fs::path& path) {
    std::ifstream table("/proc/self/mountinfo");
    std::optional<MountEntry> found;
    for (std::string line; std::getline(table, line);) {
        if (auto entry = parse_mount(line); entry && entry->point == path) {
            found = std::move(entry);
        }
    }
    return found;
}

bool is_ours(const MountEntry& entry) {
    if (entry.type == "overlay") {
        return entry.source == kOverlaySource;
    }
    // A directory that was deleted since is listed as "/path//deleted".
    const std::string_view root = entry.root;
    const std::array ends = {infiniband_directory("").string(),
                             infiniband_verbs_directory("").string(),
                             dev_infiniband_directory("").string()};
    return std::ranges::any_of(ends, [&](const std::string& end) {
        return root.ends_with("/" + end) || root.ends_with("/" + end + "//deleted");
    });
}

VisibilityError mount_error(const std::string& what, const fs::path& point, int error) {
    return system_error("cannot mount " + what + " on " + point.string(), error,
                        "run as root with CAP_SYS_ADMIN, or run programs with vrdma-run");
}

Visibility<void> bind(const fs::path& from, const fs::path& point) {
    if (mount(from.c_str(), point.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        return tl::unexpected(mount_error(from.string(), point, errno));
    }
    return {};
}

Visibility<void> recorded_bind(const fs::path& from, const fs::path& point,
                               const RecordStep& record) {
    if (auto recorded = record({ViewStep::Kind::mount, point}); !recorded) {
        return recorded;
    }
    return bind(from, point);
}

bool directory_exists(const fs::path& path) {
    std::error_code error;
    return fs::is_directory(path, error);
}

Visibility<void> make_directory(const fs::path& path) {
    if (mkdir(path.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
        return tl::unexpected(system_error("cannot create directory " + path.string(), errno,
                                           "check the permissions of its parent directory"));
    }
    return {};
}

// A path inside overlay's options, where ':' separates directories and ',' options.
std::string overlay_escaped(const fs::path& path) {
    std::string escaped;
    for (const char c : path.string()) {
        if (c == '\\' || c == ':' || c == ',') {
            escaped += '\\';
        }
        escaped += c;
    }
    return escaped;
}

// Class directories of the real sysfs that hold a file somebody may write.
std::vector<std::string> writable_classes(const fs::path& sys_class) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(sys_class, error), end; !error && entry != end;
         entry.increment(error)) {
        std::error_code inner;
        for (fs::directory_iterator file(entry->path(), inner), last; !inner && file != last;
             file.increment(inner)) {
            const fs::file_status status = file->symlink_status(inner);
            constexpr fs::perms kWrite =
                fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write;
            if (fs::is_regular_file(status) && (status.permissions() & kWrite) != fs::perms::none) {
                names.push_back(entry->path().filename().string());
                break;
            }
        }
    }
    return names;
}

Visibility<void> mount_overlay(const ViewPlaces& places, const RecordStep& record) {
    const std::vector<std::string> writable = writable_classes(places.sys_class);
    const int real_class = open(places.sys_class.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (real_class < 0) {
        return tl::unexpected(
            system_error("cannot open " + places.sys_class.string(), errno, "mount sysfs on /sys"));
    }
    const auto overlay = [&]() -> Visibility<void> {
        if (auto recorded = record({ViewStep::Kind::mount, places.sys_class}); !recorded) {
            return recorded;
        }
        const std::string options = "lowerdir=" + overlay_escaped(skeleton_directory(places.root)) +
                                    ":" + overlay_escaped(places.sys_class);
        if (mount(kOverlaySource.data(), places.sys_class.c_str(), "overlay", 0, options.c_str()) !=
            0) {
            return tl::unexpected(mount_error("an overlay", places.sys_class, errno));
        }
        const fs::path real = "/proc/self/fd/" + std::to_string(real_class);
        for (const std::string& name : writable) {
            if (auto bound = bind(real / name, places.sys_class / name); !bound) {
                return bound;
            }
        }
        return {};
    };
    Visibility<void> result = overlay();
    close(real_class);
    return result;
}

Visibility<void> undo_mount(const fs::path& point) {
    const std::optional<MountEntry> entry = mount_at(point);
    if (!entry) {
        return {};
    }
    if (!is_ours(*entry)) {
        return tl::unexpected(
            VisibilityError{.problem = "something else (" + entry->type + " " + entry->source +
                                       ") is mounted over vrdma's view at " + point.string(),
                            .remedy = "unmount it, then start and stop vrdmad again"});
    }
    // Detached: programs that have a directory of it open keep theirs.
    if (umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
        return tl::unexpected(
            system_error("cannot unmount " + point.string(), errno, "unmount it by hand"));
    }
    return {};
}

Visibility<void> undo_directory(const fs::path& path) {
    // A directory that somebody else uses by now is not ours to remove.
    if (rmdir(path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) {
        return tl::unexpected(
            system_error("cannot remove " + path.string(), errno, "remove it by hand"));
    }
    return {};
}

}  // namespace

Visibility<void> show_class(const ViewPlaces& places, const RecordStep& record) {
    const fs::path infiniband = places.sys_class / "infiniband";
    const fs::path verbs = places.sys_class / "infiniband_verbs";
    if (!directory_exists(infiniband) || !directory_exists(verbs)) {
        if (auto mounted = mount_overlay(places, record); !mounted) {
            return mounted;
        }
    }
    if (auto bound = recorded_bind(infiniband_directory(places.root), infiniband, record); !bound) {
        return bound;
    }
    return recorded_bind(infiniband_verbs_directory(places.root), verbs, record);
}

Visibility<void> show_nodes(const ViewPlaces& places, const RecordStep& record) {
    const fs::path nodes = places.dev / "infiniband";
    if (!directory_exists(nodes)) {
        if (auto recorded = record({ViewStep::Kind::directory, nodes}); !recorded) {
            return recorded;
        }
        if (auto made = make_directory(nodes); !made) {
            return made;
        }
    }
    return recorded_bind(dev_infiniband_directory(places.root), nodes, record);
}

Visibility<void> undo_steps(const std::vector<ViewStep>& steps) {
    Visibility<void> first_error;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        Visibility<void> undone;
        switch (step->kind) {
            case ViewStep::Kind::mount:
                undone = undo_mount(step->path);
                break;
            case ViewStep::Kind::directory:
                undone = undo_directory(step->path);
                break;
        }
        if (!undone && first_error) {
            first_error = undone;
        }
    }
    return first_error;
}

bool kernel_has_rdma_core() {
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

bool may_mount() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (syscall(SYS_capget, &header, data.data()) != 0) {
        return false;
    }
    return (data[0].effective & (1U << CAP_SYS_ADMIN)) != 0;
}

}  // namespace vrdma::platform
