#pragma once

// Finds a descriptor for the file behind a shared mapping of this process.

#include <cstdint>
#include <string>

#include "driver/memory/vma.h"

namespace vrdma::tenant_memory {

struct SharedFile {
    int fd = -1;  // owned by the receiver; -1: none usable
    bool writable = false;
    std::string text;  // where it was found, or why none can be used
};

// want_write: the mapping is writable. A file that can be opened for reading only then answers fd
// with writable == false. reopen: besides descriptors of this process, also try to open files.
[[nodiscard]] SharedFile find_shared_file(const Vma& vma, bool want_write, bool reopen);

}  // namespace vrdma::tenant_memory
