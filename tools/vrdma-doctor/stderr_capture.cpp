// libibverbs and the provider say why a device is not there, cannot be opened or got a slow kind of
// memory in one place only: standard error. The doctor reads it there, so that what it reports is
// the reason itself and not a guess. Where there is no memory for it, it goes where it always went.
#include "tools/vrdma-doctor/stderr_capture.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace vrdma::doctor {

StderrCapture::StderrCapture()
    : before_(dup(STDERR_FILENO)), memory_(memfd_create("stderr", MFD_CLOEXEC)) {
    (void)std::fflush(stderr);
    if (before_ && memory_) {
        (void)dup2(memory_.get(), STDERR_FILENO);
    }
}

StderrCapture::~StderrCapture() {
    (void)std::fflush(stderr);
    if (before_ && memory_) {
        (void)dup2(before_.get(), STDERR_FILENO);
    }
}

std::string StderrCapture::take() {
    (void)std::fflush(stderr);
    std::string text;
    std::array<char, 4096> piece{};
    for (;;) {
        const ssize_t got = pread(memory_.get(), piece.data(), piece.size(), taken_);
        if (got <= 0) {
            return text;
        }
        text.append(piece.data(), static_cast<std::size_t>(got));
        taken_ += got;
    }
}

}  // namespace vrdma::doctor
