// A vNIC is usable when its attach socket accepts a connection: the socket's permissions are the
// vNIC's access control, and a service that died leaves a socket that refuses. The connection is
// closed at once; the service sees a tenant that said nothing.
//
// A container may have only the vNIC's own directory mounted and no control socket, so the control
// socket is consulted just to tell "no service" from "no such vNIC".
#include "tools/vrdma-run/vnic_directory.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <system_error>

#include "dataplane/control/runtime_directory.h"
#include "dataplane/platform/device_tree.h"

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSystemRuntimeDirectory = "/run/vrdma";

// [a-z0-9][a-z0-9-]{0,31}: in particular no '/', so that a name cannot lead out of the directory.
bool is_vnic_name(std::string_view name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !name.empty() && name.size() <= 32 && plain(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return plain(c) || c == '-'; });
}

// Names in DIR/vnic, sorted; nothing when that directory is not there or not readable.
std::vector<std::string> vnics_in(const fs::path& runtime) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(runtime / "vnic", error), end; !error && entry != end;
         entry.increment(error)) {
        names.push_back(entry->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : ", ") + word;
    }
    return text;
}

// errno of connecting to the SOCK_SEQPACKET socket at path; 0: somebody answers.
int try_connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return ENAMETOOLONG;
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    const int result =
        connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
    close(fd);
    return result == EAGAIN ? 0 : result;  // a full backlog: it is there, and busy
}

std::string access_of(const fs::path& socket_path) {
    struct stat status {};
    if (stat(socket_path.c_str(), &status) != 0) {
        return "";
    }
    char text[64];
    std::snprintf(text, sizeof text, " (owner %u, group %u, mode %04o)", status.st_uid,
                  status.st_gid, static_cast<unsigned>(status.st_mode & 07777));
    return text;
}

Outcome<void> check_socket(const fs::path& directory, const std::string& vnic) {
    const fs::path socket_path = directory / "device.sock";
    const int error = try_connect(socket_path.string());
    switch (error) {
        case 0:
            return {};
        case EACCES:
        case EPERM:
            return refuse("permission denied on " + socket_path.string() + access_of(socket_path) +
                          "; ask the operator to set owner, group or mode of vNIC '" + vnic + "'");
        case ENOENT:
        case ECONNREFUSED:
            return refuse("no service answers at " + socket_path.string() + ": " +
                          std::generic_category().message(error) + "; start vrdmad");
        default:
            return refuse("cannot connect to " + socket_path.string() + ": " +
                          std::generic_category().message(error) +
                          "; check the runtime directory (--runtime-dir)");
    }
}

Outcome<void> check_tree(const fs::path& directory) {
    std::error_code error;
    const fs::path listed = platform::infiniband_verbs_directory(directory) / "uverbs0";
    if (!fs::exists(listed, error)) {
        return refuse("the device tree of this vNIC is not complete (" + listed.string() +
                      " is missing); restart vrdmad, or mount the whole directory " +
                      directory.string() + " into the container");
    }
    return {};
}

RunError no_vnic(const std::vector<fs::path>& runtimes, const std::string& vnic) {
    std::vector<std::string> places;
    for (const fs::path& runtime : runtimes) {
        places.push_back(runtime.string());
        const std::vector<std::string> existing = vnics_in(runtime);
        std::error_code error;
        if (existing.empty() && !fs::exists(runtime / "control.sock", error)) {
            continue;
        }
        return {.sentence =
                    "there is no vNIC '" + vnic + "' in " + runtime.string() +
                    (existing.empty() ? " and no other; add one to the service's configuration"
                                      : "; choose one of these: " + joined(existing))};
    }
    return {.sentence = "no vrdma service found: there is no control.sock in " + joined(places) +
                        "; start vrdmad, or name its directory with --runtime-dir"};
}

}  // namespace

std::vector<fs::path> runtime_directories(const std::optional<std::string>& given) {
    std::error_code error;
    if (given) {
        return {fs::absolute(*given, error)};
    }
    const fs::path own = control::default_runtime_directory();
    if (own == kSystemRuntimeDirectory) {
        return {own};
    }
    return {own, kSystemRuntimeDirectory};
}

Outcome<fs::path> find_vnic(const std::vector<fs::path>& runtimes, const std::string& vnic) {
    if (!is_vnic_name(vnic)) {
        return refuse("'" + vnic +
                      "' is not a vNIC name (expected [a-z0-9][a-z0-9-]{0,31}); choose one of: " +
                      joined(vnics_in(runtimes.front())));
    }
    for (const fs::path& runtime : runtimes) {
        const fs::path directory = runtime / "vnic" / vnic;
        std::error_code error;
        const bool exists = fs::exists(directory, error);
        if (error && error.value() == EACCES) {
            return refuse("permission denied on " + directory.string() +
                          "; ask the operator for access to it");
        }
        if (!exists) {
            continue;
        }
        if (auto checked = check_socket(directory, vnic); !checked) {
            return tl::unexpected(checked.error());
        }
        if (auto checked = check_tree(directory); !checked) {
            return tl::unexpected(checked.error());
        }
        return directory;
    }
    return tl::unexpected(no_vnic(runtimes, vnic));
}

}  // namespace vrdma::run
