// Looks at what is around the verbs: which libibverbs this process has and what it is told, how
// /sys and /dev are shown, what the kernel permits. All of it is read the way libibverbs reads it,
// through the same C library, so that the preload library shows the doctor what it shows a program.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/userfaultfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tools/vrdma-doctor/look.h"

namespace vrdma::doctor {
namespace {

namespace fs = std::filesystem;

constexpr int kNetlinkRdma = 20;
constexpr char kDriverDirectory[] = "/etc/libibverbs.d";

std::string text_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string value_of(const Settings& settings, const char* name) {
    const auto found = settings.find(name);
    return found == settings.end() ? "" : found->second.value;
}

// libibverbs exports its private functions under a version IBVERBS_PRIVATE_NN.
int private_interface_of(const std::string& path) {
    constexpr std::string_view kMark = "IBVERBS_PRIVATE_";
    const std::string bytes = text_of(path);
    const std::size_t at = bytes.find(kMark);
    int number = 0;
    if (at != std::string::npos) {
        const char* digits = bytes.data() + at + kMark.size();
        (void)std::from_chars(digits, bytes.data() + bytes.size(), number);
    }
    return number;
}

// "/dir/libvrdma" or "vrdma", as RDMAV_DRIVERS and a .driver file name a provider.
bool names_vrdma(const std::string& driver) {
    const std::string name = fs::path(driver).filename();
    return name == "vrdma" || name == "libvrdma";
}

std::string file_of(const std::string& driver, const Library& library) {
    const std::string ending = "-rdmav" + std::to_string(library.private_interface) + ".so";
    if (driver.starts_with('/')) {
        return driver + ending;
    }
    return fs::path(library.path).parent_path() / "libibverbs" / ("lib" + driver + ending);
}

bool from_variables(const Library& library, const Settings& settings, Provider& provider) {
    for (const char* variable : {"RDMAV_DRIVERS", "IBV_DRIVERS"}) {
        std::string list = value_of(settings, variable);
        for (char& letter : list) {
            letter = letter == ';' ? ':' : letter;
        }
        std::istringstream words(list);
        for (std::string word; std::getline(words, word, ':');) {
            if (names_vrdma(word)) {
                provider.configured_by = variable;
                provider.expected = file_of(word, library);
                return true;
            }
        }
    }
    return false;
}

void from_files(const Library& library, Provider& provider) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(kDriverDirectory, ignored)) {
        std::istringstream words(text_of(entry.path()));
        for (std::string word; words >> word;) {
            if (word == "driver" && words >> word && names_vrdma(word)) {
                provider.configured_by = entry.path();
                provider.expected = file_of(word, library);
            }
        }
    }
}

// uverbsN of a vNIC below the sysfs that libibverbs reads; empty: there is none.
std::string vrdma_node(const fs::path& sysfs) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(sysfs / "class/infiniband_verbs", ignored)) {
        std::istringstream name(text_of(entry.path() / "ibdev"));
        std::string device;
        if (name >> device &&
            access((sysfs / "class/infiniband" / device / "vrdma_socket").c_str(), F_OK) == 0) {
            return entry.path().filename();
        }
    }
    return "";
}

std::optional<std::uint64_t> limit_of(int resource) {
    rlimit limit{};
    if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY) {
        return std::nullopt;
    }
    return limit.rlim_cur;
}

bool userfaultfd_permitted() {
    const long made = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (made >= 0) {
        close(static_cast<int>(made));
        return true;
    }
    return access("/dev/userfaultfd", R_OK | W_OK) == 0;
}

struct Search {
    const std::string& beginning;
    std::string found;
};

int look_at_object(dl_phdr_info* object, std::size_t, void* data) {
    auto& search = *static_cast<Search*>(data);
    const fs::path path(object->dlpi_name == nullptr ? "" : object->dlpi_name);
    if (path.filename().string().starts_with(search.beginning)) {
        search.found = path;
        return 1;
    }
    return 0;
}

}  // namespace

std::string loaded_library(const std::string& beginning) {
    Search search{.beginning = beginning, .found = ""};
    (void)dl_iterate_phdr(look_at_object, &search);
    return search.found;
}

Library look_at_library() {
    Library library;
    std::error_code failed;
    const fs::path loaded = loaded_library("libibverbs.so");
    const fs::path real = fs::canonical(loaded, failed);
    library.path = failed ? loaded : real;
    const std::string name = fs::path(library.path).filename();
    const std::size_t version = name.find(".so.");
    library.version = version == std::string::npos ? "?" : name.substr(version + 4);
    library.private_interface = private_interface_of(library.path);
    return library;
}

Provider look_for_provider(const Library& library, const Settings& settings) {
    Provider provider;
    if (!from_variables(library, settings, provider)) {
        from_files(library, provider);
    }
    provider.exists = !provider.expected.empty() && access(provider.expected.c_str(), R_OK) == 0;
    return provider;
}

View look_at_view(const Settings& settings) {
    View view;
    if (const std::string tree = value_of(settings, "VRDMA_TREE"); !tree.empty()) {
        view.tree = tree;
        std::error_code ignored;
        view.tree_exists = fs::is_directory(fs::path(tree) / "sys", ignored);
    }
    view.preload_library = !loaded_library("libvrdma-preload.so").empty();
    const int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, kNetlinkRdma);
    if (netlink >= 0) {
        view.kernel_answers = true;
        close(netlink);
    }
    const std::string sysfs = value_of(settings, "SYSFS_PATH");
    const std::string node = vrdma_node(sysfs.empty() ? "/sys" : sysfs);
    view.vrdma_in_sysfs = !node.empty();
    view.node = view.vrdma_in_sysfs && access(("/dev/infiniband/" + node).c_str(), F_OK) == 0;
    return view;
}

Limits look_at_limits() {
    Limits limits;
    limits.locked_memory = limit_of(RLIMIT_MEMLOCK);
    limits.file_size = limit_of(RLIMIT_FSIZE);
    std::istringstream(text_of("/proc/sys/kernel/yama/ptrace_scope")) >> limits.ptrace_scope;
    limits.userfaultfd = userfaultfd_permitted();
    std::istringstream status(text_of("/proc/self/status"));
    for (std::string line; std::getline(status, line);) {
        limits.seccomp = limits.seccomp || line == "Seccomp:\t2";
    }
    return limits;
}

}  // namespace vrdma::doctor
