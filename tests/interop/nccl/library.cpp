// Which interface a transport's table has follows from the library's version. Two checks keep a
// newer NCCL from being driven by a wrong declaration: the table's size in the symbol table, and
// the names of the plug-in interfaces that the library can load, the newest of which is its own.
#include "tests/interop/nccl/library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vrdma::nccl_net {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

constexpr int kOldest = 22600;  // NCCL 2.26
constexpr int kNewestInterface = 12;

int interface_of(int number) {
    return number < 22800 ? 10 : number < 23000 ? 11 : 12;
}

}  // namespace

Result<Library> Library::load(const std::string& path) {
    auto file = ElfFile::open(path);
    if (!file) {
        return tl::make_unexpected(file.error());
    }
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        return fail(ErrorKind::kUsage, fmt::format("cannot load {}: {}", path, dlerror()));
    }
    link_map* map = nullptr;
    auto* get_version = reinterpret_cast<NcclResult (*)(int*)>(dlsym(handle, "ncclGetVersion"));
    if (get_version == nullptr || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        return fail(ErrorKind::kUsage, path + " has no ncclGetVersion", "give NCCL's library");
    }
    int number = 0;
    if (get_version(&number) != NcclResult::kSuccess) {
        return fail(ErrorKind::kUsage, path + " does not say its version");
    }
    Library library(std::move(*file), path, map->l_addr);
    if (auto found = library.find_version(number); !found) {
        return tl::make_unexpected(found.error());
    }
    return library;
}

Result<void> Library::find_version(int number) {
    version_ = fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
    if (number < kOldest) {
        return fail(ErrorKind::kUsage, "NCCL " + version_ + " is older than 2.26",
                    "its network interface is not declared here");
    }
    interface_version_ = interface_of(number);
    const std::string newer = fmt::format("ncclNetPlugin_v{}", kNewestInterface + 1);
    if (file_.constants_contain(newer)) {
        return fail(ErrorKind::kUsage,
                    fmt::format("NCCL {} knows {}, a newer network interface than is declared here",
                                version_, newer));
    }
    return {};
}

Result<const NetTable*> Library::transport(const std::string& symbol) const {
    const auto found = file_.symbol(symbol);
    if (!found) {
        return fail(
            ErrorKind::kUsage,
            fmt::format("{} has no symbol {}{}", path_, symbol,
                        file_.has_symbol_table() ? "" : ": it is stripped, without .symtab"));
    }
    const std::size_t expected = interface_version_ == 10 ? kTableBytes10 : kTableBytes11;
    if (found->size != expected) {
        return fail(ErrorKind::kUsage,
                    fmt::format("{} of NCCL {} has {} bytes, expected {} for interface version {}",
                                symbol, version_, found->size, expected, interface_version_));
    }
    return reinterpret_cast<const NetTable*>(base_ + found->address);
}

Result<void> Library::pretend_a_gpu() const {
    // xor eax,eax; mov [rdi],eax; ret
    constexpr std::array<unsigned char, 5> kAnswerZero = {0x31, 0xc0, 0x89, 0x07, 0xc3};
    const auto found = file_.symbol("cudaGetDevice");
    if (!found || found->size < kAnswerZero.size()) {
        return fail(ErrorKind::kUsage, path_ + " has no function cudaGetDevice of its own");
    }
    const std::uintptr_t address = base_ + found->address;
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    auto* first = reinterpret_cast<void*>(address & ~(page - 1));
    if (mprotect(first, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        return fail_errno(ErrorKind::kSetup, "cannot change the code of " + path_, errno);
    }
    std::memcpy(reinterpret_cast<void*>(address), kAnswerZero.data(), kAnswerZero.size());
    (void)mprotect(first, 2 * page, PROT_READ | PROT_EXEC);
    return {};
}

}  // namespace vrdma::nccl_net
