#pragma once

#include <chrono>

namespace vrdma::vrdmactl {

/// While it exists, signals that end a program (and a reader that closes our pipe) end only what it
/// is doing. One at a time.
class Interrupt {
  public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    [[nodiscard]] static bool came();
    /// Until the time is over or a signal comes.
    static void wait(std::chrono::nanoseconds time);
};

}  // namespace vrdma::vrdmactl
