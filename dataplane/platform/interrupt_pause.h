// Keeps DPDK's interrupt thread, which runs callbacks of drivers, out of a driver's way. Control
// thread.
#pragma once

namespace vrdma::platform {

// Once, after rte_eal_init(). False: the operating system or DPDK refuses.
[[nodiscard]] bool prepare_interrupt_pause();

// No callback runs while an object lives, if it is `wanted`. They may be nested.
class InterruptPause {
  public:
    explicit InterruptPause(bool wanted);
    ~InterruptPause();
    InterruptPause(const InterruptPause&) = delete;
    InterruptPause& operator=(const InterruptPause&) = delete;

  private:
    const bool wanted_;
};

// No callback runs until the process ends.
void end_interrupts();

}  // namespace vrdma::platform
