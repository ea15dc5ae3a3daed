// The environment wins over files. NCCL reads the file that NCCL_CONF_FILE names, or else
// ~/.nccl.conf, then /etc/nccl.conf, and the first to say something counts. UCX reads ucx.conf in
// /etc/ucx, in the home directory, in UCX_CONFIG_DIR and in the working directory, and the last
// counts; here they are read backwards, so that the first counts as well.
#include "tools/vrdma-doctor/settings.h"

#include <fstream>
#include <string_view>
#include <vector>

namespace vrdma::doctor {
namespace {

namespace fs = std::filesystem;

std::string trimmed(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r";
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) {
        return "";
    }
    return std::string(text.substr(first, text.find_last_not_of(kBlank) - first + 1));
}

std::string value_of(const Settings& settings, const char* name) {
    const auto found = settings.find(name);
    return found == settings.end() ? "" : found->second.value;
}

}  // namespace

void add_settings_of(const fs::path& path, Settings& settings) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const std::size_t equals = line.find('=');
        const std::string name = trimmed(std::string_view(line).substr(0, equals));
        if (equals == std::string::npos || name.starts_with('#') || name.starts_with(';')) {
            continue;
        }
        settings.try_emplace(
            name, Setting{trimmed(std::string_view(line).substr(equals + 1)), path.string()});
    }
}

Settings read_settings(const char* const* environment, const fs::path& system_directory) {
    Settings settings;
    for (; *environment != nullptr; ++environment) {
        const std::string_view word(*environment);
        const std::size_t equals = word.find('=');
        if (equals != std::string_view::npos) {
            settings.try_emplace(std::string(word.substr(0, equals)),
                                 Setting{std::string(word.substr(equals + 1)), "the environment"});
        }
    }
    const std::string home = value_of(settings, "HOME");
    const std::string nccl = value_of(settings, "NCCL_CONF_FILE");
    const std::string ucx = value_of(settings, "UCX_CONFIG_DIR");
    if (!nccl.empty()) {
        add_settings_of(nccl, settings);
    } else if (!home.empty()) {
        add_settings_of(fs::path(home) / ".nccl.conf", settings);
    }
    add_settings_of(system_directory / "nccl.conf", settings);
    add_settings_of("ucx.conf", settings);
    if (!ucx.empty()) {
        add_settings_of(fs::path(ucx) / "ucx.conf", settings);
    }
    if (!home.empty()) {
        add_settings_of(fs::path(home) / "ucx.conf", settings);
    }
    add_settings_of(system_directory / "ucx" / "ucx.conf", settings);
    return settings;
}

}  // namespace vrdma::doctor
