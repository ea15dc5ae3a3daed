// The files by which libibverbs, and programs that read /sys themselves, find a vNIC.
//
// Below a root directory (a vNIC's own directory, or that of the system-wide view):
//   sys/class/infiniband_verbs/abi_version
//   sys/class/infiniband_verbs/uverbsN/...   what discovery reads
//   sys/class/infiniband/vrdmaN/...          the device
//   dev/infiniband/uverbsN -> /dev/full      what opening a device opens
//   skeleton/infiniband{,_verbs}             empty, for class_view.h
// Directories are 0755 and files 0644 whatever the umask, for programs of any user.
//
// Threading: one writer for each root; readers are other processes at any time, and see a device
// whole or not at all. Errors: a sentence with the path and the system's reason; nothing is left
// half done.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dataplane/platform/visibility_error.h"

namespace vrdma::platform {

using GidBytes = std::array<std::uint8_t, 16>;  // network byte order
using GuidBytes = std::array<std::uint8_t, 8>;  // network byte order

inline constexpr std::size_t kMaxTreeGids = 256;

struct PortStrings {
    std::string state = "4: ACTIVE";
    std::string phys_state = "5: LinkUp";
    std::string rate = "200 Gb/sec (4X HDR)";
    std::string link_layer = "Ethernet";
};

struct DeviceDescription {
    std::string vnic;                   // its name, for node_desc
    GuidBytes guid{};                   // node_guid and sys_image_guid
    std::vector<GidBytes> gids;         // all zero: an empty entry; at most kMaxTreeGids
    std::filesystem::path socket_path;  // absolute: the attach socket the provider opens
    PortStrings port;
    std::string firmware_version;  // fw_ver
    // uverbsN/dev. 0:0 tells libibverbs not to compare numbers; it must stay so while the node is a
    // link to /dev/full.
    std::uint32_t device_major = 0;
    std::uint32_t device_minor = 0;
};

[[nodiscard]] std::string ib_device_name(unsigned index);  // "vrdma0"
[[nodiscard]] std::string uverbs_name(unsigned index);     // "uverbs0"

[[nodiscard]] std::filesystem::path class_directory(const std::filesystem::path& root);
[[nodiscard]] std::filesystem::path infiniband_directory(const std::filesystem::path& root);
[[nodiscard]] std::filesystem::path infiniband_verbs_directory(const std::filesystem::path& root);
[[nodiscard]] std::filesystem::path dev_infiniband_directory(const std::filesystem::path& root);
[[nodiscard]] std::filesystem::path skeleton_directory(const std::filesystem::path& root);

// An empty tree: directories and abi_version. What is already there stays; leftovers of a writer
// that died are removed.
[[nodiscard]] Visibility<void> create_tree(const std::filesystem::path& root);

// Puts device number index into the tree, replacing one of that number. A device that is there with
// the same contents stays untouched: running programs recognise a device by its modification time.
[[nodiscard]] Visibility<void> write_device(const std::filesystem::path& root, unsigned index,
                                            const DeviceDescription& device);

// Removing one that is not there is no error.
[[nodiscard]] Visibility<void> remove_device(const std::filesystem::path& root, unsigned index);

// Removes the whole tree, not root itself.
[[nodiscard]] Visibility<void> remove_tree(const std::filesystem::path& root);

}  // namespace vrdma::platform
