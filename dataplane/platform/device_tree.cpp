// Writes the sysfs tree of a vNIC. Which files exist is what libibverbs 44 to 65, UCX, NCCL, ibstat
// and perftest were seen to read; which do not is as deliberate: no device/ (a PCI modalias would
// let another provider claim the device) and no gid_attrs/ndevs (libibverbs fails the whole GID
// table when the interface named there does not exist in the program's network namespace). An empty
// GID has a type all the same, since libibverbs reads the type before it skips the entry.
//
// A device is built in a staging directory of the same file system and moved into place, the part
// that discovery lists (uverbsN) last; removal goes the other way round. So a reader that sees
// uverbsN finds everything it leads to. A reader in the middle of a device that goes away sees
// files vanish, as with a real one.
//
// The module keeps no state: the tree is the state.
#include "dataplane/platform/device_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>
#include <system_error>

namespace vrdma::platform {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kFileMode = 0644;
constexpr std::string_view kStagingPrefix = ".staging-";
constexpr std::string_view kUverbsAbiVersion = "6";  // of the (absent) kernel interface: 3..6 pass
constexpr std::string_view kProviderAbiVersion = "1";  // what our provider matches
constexpr std::string_view kRemedy = "check the space and the permissions of that directory";

// Path relative to the device's directory -> contents.
using Files = std::map<std::string, std::string>;

VisibilityError file_error(const std::string& doing, const fs::path& path, int error) {
    return system_error("cannot " + doing + " " + path.string(), error, std::string(kRemedy));
}

std::string hex_groups(const std::uint8_t* bytes, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        char digits[3];
        std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
        if (i != 0 && i % 2 == 0) {
            text += ':';
        }
        text += digits;
    }
    return text;
}

Files uverbs_files(unsigned index, const DeviceDescription& device) {
    return {
        {"ibdev", ib_device_name(index)},
        {"dev", std::to_string(device.device_major) + ":" + std::to_string(device.device_minor)},
        {"abi_version", std::string(kProviderAbiVersion)},
    };
}

Files ib_device_files(const DeviceDescription& device) {
    const std::string guid = hex_groups(device.guid.data(), device.guid.size());
    Files files = {
        {"node_type", "1: CA"},
        {"node_guid", guid},
        {"sys_image_guid", guid},
        {"node_desc", "vrdma " + device.vnic},
        {"fw_ver", device.firmware_version},
        {"board_id", "vrdma"},
        {"hca_type", "vrdma"},
        {"hw_rev", "0"},
        {"vrdma_socket", device.socket_path.string()},
        {"ports/1/state", device.port.state},
        {"ports/1/phys_state", device.port.phys_state},
        {"ports/1/rate", device.port.rate},
        {"ports/1/link_layer", device.port.link_layer},
        {"ports/1/lid", "0x0"},
        {"ports/1/lid_mask_count", "0"},
        {"ports/1/sm_lid", "0x0"},
        {"ports/1/sm_sl", "0"},
        {"ports/1/cap_mask", "0x00010000"},
        {"ports/1/pkeys/0", "0xffff"},
    };
    for (std::size_t i = 0; i < device.gids.size(); ++i) {
        const GidBytes& gid = device.gids[i];
        files["ports/1/gids/" + std::to_string(i)] = hex_groups(gid.data(), gid.size());
        files["ports/1/gid_attrs/types/" + std::to_string(i)] = "RoCE v2";
    }
    return files;
}

Visibility<void> make_directory(const fs::path& path) {
    if (mkdir(path.c_str(), kDirectoryMode) != 0) {
        struct stat status {};
        if (errno != EEXIST || stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
            return tl::unexpected(file_error("create directory", path, errno));
        }
        return {};
    }
    if (chmod(path.c_str(), kDirectoryMode) != 0) {
        return tl::unexpected(file_error("set the mode of", path, errno));
    }
    return {};
}

// base exists; every directory of base/relative below it is made.
Visibility<void> make_directories(const fs::path& base, const fs::path& relative) {
    fs::path path = base;
    for (const fs::path& part : relative) {
        path /= part;
        if (auto made = make_directory(path); !made) {
            return made;
        }
    }
    return {};
}

Visibility<void> write_file(const fs::path& path, const std::string& contents) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode);
    if (fd < 0) {
        return tl::unexpected(file_error("create", path, errno));
    }
    const std::string line = contents + '\n';  // as sysfs has it
    const ssize_t written = write(fd, line.data(), line.size());
    const int error = written < 0 ? errno : ENOSPC;
    const bool complete =
        written == static_cast<ssize_t>(line.size()) && fchmod(fd, kFileMode) == 0;
    close(fd);
    if (!complete) {
        return tl::unexpected(file_error("write", path, error));
    }
    return {};
}

Visibility<void> write_files(const fs::path& directory, const Files& files) {
    if (auto made = make_directory(directory); !made) {
        return made;
    }
    for (const auto& [name, contents] : files) {
        const fs::path relative(name);
        if (auto made = make_directories(directory, relative.parent_path()); !made) {
            return made;
        }
        if (auto wrote = write_file(directory / relative, contents); !wrote) {
            return wrote;
        }
    }
    return {};
}

bool has_contents(const fs::path& path, const std::string& contents) {
    std::ifstream file(path);
    const std::string found{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    return found == contents + '\n';
}

// directory holds these files, these contents, and no others.
bool holds_exactly(const fs::path& directory, const Files& files) {
    std::error_code error;
    std::size_t count = 0;
    for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
        count += entry->is_directory(error) ? 0U : 1U;
    }
    if (error || count != files.size()) {
        return false;
    }
    return std::ranges::all_of(
        files, [&](const auto& file) { return has_contents(directory / file.first, file.second); });
}

// A directory on the tree's file system that vanishes with its contents.
class Staging {
  public:
    explicit Staging(const fs::path& root) {
        std::string name = (root / (std::string(kStagingPrefix) + "XXXXXX")).string();
        if (mkdtemp(name.data()) == nullptr) {
            error_ = errno;
        }
        path_ = name;
    }
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging() {
        std::error_code ignored;  // left over at worst: create_tree removes it
        fs::remove_all(path_, ignored);
    }
    [[nodiscard]] Visibility<void> made() const {
        if (error_ != 0) {
            return tl::unexpected(file_error("create directory", path_, error_));
        }
        return {};
    }
    [[nodiscard]] const fs::path& path() const { return path_; }

  private:
    fs::path path_;
    int error_ = 0;
};

Visibility<void> move(const fs::path& from, const fs::path& to) {
    if (rename(from.c_str(), to.c_str()) != 0) {
        return tl::unexpected(file_error("move into place", to, errno));
    }
    return {};
}

Visibility<void> move_away(const fs::path& from, const fs::path& to) {
    if (rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT) {
        return tl::unexpected(file_error("remove", from, errno));
    }
    return {};
}

struct DevicePaths {
    fs::path uverbs;
    fs::path ib_device;
    fs::path node;
};

DevicePaths paths_of(const fs::path& root, unsigned index) {
    return {.uverbs = infiniband_verbs_directory(root) / uverbs_name(index),
            .ib_device = infiniband_directory(root) / ib_device_name(index),
            .node = dev_infiniband_directory(root) / uverbs_name(index)};
}

Visibility<void> take_out(const DevicePaths& paths, const fs::path& trash) {
    if (auto moved = move_away(paths.uverbs, trash / "old-uverbs"); !moved) {
        return moved;
    }
    if (auto moved = move_away(paths.ib_device, trash / "old-device"); !moved) {
        return moved;
    }
    return move_away(paths.node, trash / "old-node");
}

}  // namespace

std::string ib_device_name(unsigned index) {
    return "vrdma" + std::to_string(index);
}

std::string uverbs_name(unsigned index) {
    return "uverbs" + std::to_string(index);
}

fs::path class_directory(const fs::path& root) {
    return root / "sys/class";
}

fs::path infiniband_directory(const fs::path& root) {
    return class_directory(root) / "infiniband";
}

fs::path infiniband_verbs_directory(const fs::path& root) {
    return class_directory(root) / "infiniband_verbs";
}

fs::path dev_infiniband_directory(const fs::path& root) {
    return root / "dev/infiniband";
}

fs::path skeleton_directory(const fs::path& root) {
    return root / "skeleton";
}

Visibility<void> create_tree(const fs::path& root) {
    std::error_code error;
    for (fs::directory_iterator entry(root, error), end; !error && entry != end;
         entry.increment(error)) {
        if (entry->path().filename().string().starts_with(kStagingPrefix)) {
            std::error_code ignored;  // a staging directory of a dead writer does no harm
            fs::remove_all(entry->path(), ignored);
        }
    }
    if (error) {
        return tl::unexpected(file_error("read directory", root, error.value()));
    }
    for (const char* directory :
         {"sys/class/infiniband", "sys/class/infiniband_verbs", "dev/infiniband",
          "skeleton/infiniband", "skeleton/infiniband_verbs"}) {
        if (auto made = make_directories(root, directory); !made) {
            return made;
        }
    }
    const fs::path abi_version = infiniband_verbs_directory(root) / "abi_version";
    if (has_contents(abi_version, std::string(kUverbsAbiVersion))) {
        return {};
    }
    const Staging staging(root);
    if (auto made = staging.made(); !made) {
        return made;
    }
    if (auto wrote = write_file(staging.path() / "abi_version", std::string(kUverbsAbiVersion));
        !wrote) {
        return wrote;
    }
    return move(staging.path() / "abi_version", abi_version);
}

Visibility<void> write_device(const fs::path& root, unsigned index,
                              const DeviceDescription& device) {
    if (device.gids.size() > kMaxTreeGids) {
        return tl::unexpected(VisibilityError{
            .problem = "vNIC " + device.vnic + " has " + std::to_string(device.gids.size()) +
                       " GIDs, more than " + std::to_string(kMaxTreeGids),
            .remedy = "give it fewer addresses"});
    }
    const DevicePaths paths = paths_of(root, index);
    const Files uverbs = uverbs_files(index, device);
    const Files ib_device = ib_device_files(device);
    std::error_code error;
    if (holds_exactly(paths.uverbs, uverbs) && holds_exactly(paths.ib_device, ib_device) &&
        fs::read_symlink(paths.node, error) == "/dev/full") {
        return {};
    }
    const Staging staging(root);
    if (auto made = staging.made(); !made) {
        return made;
    }
    const fs::path& stage = staging.path();
    if (auto wrote = write_files(stage / "uverbs", uverbs); !wrote) {
        return wrote;
    }
    if (auto wrote = write_files(stage / "device", ib_device); !wrote) {
        return wrote;
    }
    if (symlink("/dev/full", (stage / "node").c_str()) != 0) {
        return tl::unexpected(file_error("create", stage / "node", errno));
    }
    if (auto out = take_out(paths, stage); !out) {
        return out;
    }
    if (auto moved = move(stage / "node", paths.node); !moved) {
        return moved;
    }
    if (auto moved = move(stage / "device", paths.ib_device); !moved) {
        return moved;
    }
    return move(stage / "uverbs", paths.uverbs);
}

Visibility<void> remove_device(const fs::path& root, unsigned index) {
    const Staging staging(root);
    if (auto made = staging.made(); !made) {
        return made;
    }
    return take_out(paths_of(root, index), staging.path());
}

Visibility<void> remove_tree(const fs::path& root) {
    std::error_code error;
    for (const char* directory : {"sys/class/infiniband_verbs", "sys", "dev", "skeleton"}) {
        fs::remove_all(root / directory, error);
        if (error) {
            return tl::unexpected(file_error("remove", root / directory, error.value()));
        }
    }
    return {};
}

}  // namespace vrdma::platform
