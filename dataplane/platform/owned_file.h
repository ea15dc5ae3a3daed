// A descriptor of our own, closed with its owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace vrdma::platform {

class OwnedFile {
  public:
    OwnedFile() = default;
    explicit OwnedFile(int file) : file_(file) {}
    OwnedFile(OwnedFile&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    OwnedFile& operator=(OwnedFile&& other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }
    OwnedFile(const OwnedFile&) = delete;
    OwnedFile& operator=(const OwnedFile&) = delete;
    ~OwnedFile() {
        if (file_ >= 0) {
            close(file_);
        }
    }

    [[nodiscard]] int get() const { return file_; }
    [[nodiscard]] bool is_open() const { return file_ >= 0; }

  private:
    int file_ = -1;
};

}  // namespace vrdma::platform
