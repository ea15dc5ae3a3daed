#pragma once

// An installed libnccl.so.2 and the network transports inside it.

#include <cstdint>
#include <string>

#include "tests/interop/nccl/elf_file.h"
#include "tests/interop/nccl/net_interface.h"
#include "tools/verbs_util/error.h"

namespace vrdma::nccl_net {

/// Exit status of the program when this library cannot be driven, whatever the device does.
constexpr int kExitUnusable = 77;

class Library {
  public:
    /// Loads it for as long as the process lives. Errors of kind kUsage: this library is unusable.
    [[nodiscard]] static verbs_util::Result<Library> load(const std::string& path);

    [[nodiscard]] const std::string& version() const { return version_; }  ///< "2.28.9"
    [[nodiscard]] int interface_version() const { return interface_version_; }

    /// The transport of that symbol, "ncclNetIb" or "ncclNetSocket".
    [[nodiscard]] verbs_util::Result<const NetTable*> transport(const std::string& symbol) const;

    /// Makes the library's own cudaGetDevice() answer 0. The Socket transport, unlike the IB one,
    /// asks for the current GPU when it connects, and fails where there is none.
    [[nodiscard]] verbs_util::Result<void> pretend_a_gpu() const;

  private:
    Library(ElfFile file, std::string path, std::uintptr_t base)
        : file_(std::move(file)), path_(std::move(path)), base_(base) {}

    [[nodiscard]] verbs_util::Result<void> find_version(int number);

    ElfFile file_;
    std::string path_;
    std::uintptr_t base_ = 0;
    std::string version_;
    int interface_version_ = 0;
};

}  // namespace vrdma::nccl_net
