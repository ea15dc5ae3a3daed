// NCCL takes a setting from the environment, else from the file that NCCL_CONF_FILE names or else
// ~/.nccl.conf, else from /etc/nccl.conf. To name a file of ours in NCCL_CONF_FILE would hide the
// user's and overrule the system's; so the variables themselves are set, one by one, each only when
// nobody has said anything about it.
#include "tools/vrdma-run/nccl_settings.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <utility>

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSystemFile = "/etc/nccl.conf";

using Setting = std::pair<std::string, std::string>;

// As NCCL reads such a file: a line that begins with '#' is a comment, NAME is all before the '='.
std::vector<Setting> settings_in(const fs::path& path) {
    std::vector<Setting> settings;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const std::size_t equals = line.find('=');
        if (!line.starts_with('#') && equals != std::string::npos) {
            settings.emplace_back(line.substr(0, equals), line.substr(equals + 1));
        }
    }
    return settings;
}

std::vector<fs::path> users_files() {
    std::vector<fs::path> files;
    const char* named = std::getenv("NCCL_CONF_FILE");
    const char* home = std::getenv("HOME");
    if (named != nullptr && *named != '\0') {
        files.emplace_back(named);
    } else if (home != nullptr) {
        files.push_back(fs::path(home) / ".nccl.conf");
    }
    files.emplace_back(kSystemFile);
    return files;
}

std::optional<std::string> where_the_user_has(const std::string& name) {
    if (std::getenv(name.c_str()) != nullptr) {
        return "the environment";
    }
    for (const fs::path& file : users_files()) {
        for (const auto& [theirs, value] : settings_in(file)) {
            if (theirs == name) {
                return file.string();
            }
        }
    }
    return std::nullopt;
}

}  // namespace

NcclSettings give_nccl_settings(const fs::path& file) {
    NcclSettings result;
    for (const auto& [name, value] : settings_in(file)) {
        if (const auto where = where_the_user_has(name)) {
            result.kept.push_back(name + " (" + *where + ")");
        } else if (setenv(name.c_str(), value.c_str(), 0) == 0) {
            result.given.push_back(name + "=" + value);
        }
    }
    return result;
}

}  // namespace vrdma::run
