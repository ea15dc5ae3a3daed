// Finds files relative to this program, so that a build tree, a staged installation and an unpacked
// archive work without any setting:
//   build tree   tools/vrdma-run/vrdma-run   lib/               tools/preload/ tools/vrdma-run/
//   installed    bin/vrdma-run               LIBDIR/libibverbs/ LIBDIR/              DATADIR/vrdma/
// libibverbs itself loads NAME-rdmavNN.so for each NAME in RDMAV_DRIVERS, NN being its private ABI.
#include "tools/vrdma-run/installation.h"

#include <algorithm>
#include <system_error>
#include <vector>

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSystemDriverFile = "/etc/libibverbs.d/vrdma.driver";
constexpr const char* kPreloadLibrary = "libvrdma-preload.so";

fs::path own_directory() {
    std::error_code error;
    return fs::read_symlink("/proc/self/exe", error).parent_path();
}

bool holds_provider(const fs::path& directory) {
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name.starts_with("libvrdma-rdmav") && name.ends_with(".so")) {
            return true;
        }
    }
    return false;
}

std::string driver_in(const fs::path& directory) {
    std::error_code error;
    return fs::weakly_canonical(directory, error) / "libvrdma";
}

}  // namespace

Outcome<std::optional<std::string>> provider_driver(
    const std::optional<std::string>& given_directory) {
    if (given_directory) {
        if (!holds_provider(*given_directory)) {
            return refuse("there is no libvrdma-rdmavNN.so in " + *given_directory +
                          "; give --provider (or VRDMA_PROVIDER_DIR) the directory that has it");
        }
        return driver_in(*given_directory);
    }
    const fs::path here = own_directory();
    for (const char* relative : {"../../lib", "../" VRDMA_LIBDIR "/libibverbs"}) {
        if (holds_provider(here / relative)) {
            return driver_in(here / relative);
        }
    }
    std::error_code error;
    if (fs::exists(kSystemDriverFile, error)) {
        return std::nullopt;
    }
    return refuse(std::string("the vrdma provider for libibverbs is not installed (") +
                  kSystemDriverFile +
                  " is missing, and it is not next to vrdma-run either); install it, or give its "
                  "directory with --provider");
}

Outcome<fs::path> nccl_settings_file() {
    const fs::path here = own_directory();
    for (const char* relative : {"nccl.conf", "../" VRDMA_DATADIR "/vrdma/nccl.conf"}) {
        std::error_code error;
        const fs::path file = fs::weakly_canonical(here / relative, error);
        if (fs::exists(file, error)) {
            return file;
        }
    }
    return refuse("cannot find nccl.conf next to vrdma-run (" + here.string() +
                  "); install it, or set what docs/consumers.md names");
}

Outcome<fs::path> preload_library() {
    const fs::path here = own_directory();
    for (const char* relative : {"../preload", "../" VRDMA_LIBDIR}) {
        std::error_code error;
        const fs::path library = fs::weakly_canonical(here / relative / kPreloadLibrary, error);
        if (!fs::exists(library, error)) {
            continue;
        }
        // LD_PRELOAD separates its entries by spaces and colons and has no way to quote them.
        if (library.string().find_first_of(" :") != std::string::npos) {
            return refuse("LD_PRELOAD cannot name " + library.string() +
                          ", which has a space or a colon in its path; move the installation or "
                          "use --mode mount");
        }
        return library;
    }
    return refuse(std::string("cannot find ") + kPreloadLibrary + " next to vrdma-run (" +
                  here.string() + "); install it, or use --mode mount");
}

}  // namespace vrdma::run
