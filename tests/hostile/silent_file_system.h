// A file system in user space with one file, whose server answers until the file is open and never
// again. Every look at the file, every page of it and every close of it waits until the server is
// gone.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "driver/channel/unique_fd.h"

namespace vrdma::hostile {

class SilentFileSystem {
  public:
    SilentFileSystem() = default;
    SilentFileSystem(const SilentFileSystem&) = delete;
    SilentFileSystem& operator=(const SilentFileSystem&) = delete;
    // Ends the server: everything that waits for it goes on with an error.
    ~SilentFileSystem();

    // False where this process may not mount.
    [[nodiscard]] bool mount();
    // The file, for reading and writing; from now on nothing about it is answered.
    [[nodiscard]] driver::UniqueFd open();
    // Closing would wait: kept until the server is gone.
    void abandon(driver::UniqueFd file) { kept_.push_back(std::move(file)); }

  private:
    std::string place_;
    pid_t server_ = -1;
    std::vector<driver::UniqueFd> kept_;
};

}  // namespace vrdma::hostile
