// memif's driver ends a connection where it notices its end: in the interrupt thread when the other
// side has gone, in ours when we stop the device. It does not expect both at once, and when both
// ends are in one process that is the rule: stopping one end is what the other notices, and both
// threads free the same rings. Nor does it take its listening socket out of the interrupt thread
// when it frees what belongs to it.
//
// So whoever stops such a device has the interrupt thread wait meanwhile: in a callback of our own,
// which is entered by writing to an eventfd. When the process ends it is not let go again, so that
// nothing that was freed is called: rte_eal_cleanup() needs no interrupt thread.
#include "dataplane/platform/interrupt_pause.h"

#include <rte_interrupts.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace vrdma::platform {
namespace {

// A callback of a driver that takes longer is not waited for: stopping has to go on.
constexpr auto kLongest = std::chrono::seconds(2);

struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    int event = -1;
    int pauses = 0;
    bool waiting = false;  // the interrupt thread is here
};

// Never destroyed: the interrupt thread may wait in it until the process is gone.
Gate& gate() {
    static Gate* const one = new Gate;
    return *one;
}

void wait_in_callback(void*) {
    Gate& g = gate();
    uint64_t value = 0;
    [[maybe_unused]] const ssize_t taken = read(g.event, &value, sizeof value);
    std::unique_lock lock(g.mutex);
    g.waiting = true;
    g.changed.notify_all();
    g.changed.wait(lock, [&] { return g.pauses == 0; });
    g.waiting = false;
}

void pause() {
    Gate& g = gate();
    std::unique_lock lock(g.mutex);
    ++g.pauses;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(g.event, &one, sizeof one);
    g.changed.wait_for(lock, kLongest, [&] { return g.waiting; });
}

}  // namespace

bool prepare_interrupt_pause() {
    Gate& g = gate();
    g.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rte_intr_handle* handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    const bool ready = g.event >= 0 && handle != nullptr && rte_intr_fd_set(handle, g.event) == 0 &&
                       rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) == 0 &&
                       rte_intr_callback_register(handle, wait_in_callback, nullptr) == 0;
    rte_intr_instance_free(handle);  // DPDK keeps a copy
    return ready;
}

InterruptPause::InterruptPause(bool wanted) : wanted_(wanted) {
    if (wanted_) {
        pause();
    }
}

InterruptPause::~InterruptPause() {
    if (!wanted_) {
        return;
    }
    Gate& g = gate();
    const std::lock_guard lock(g.mutex);
    --g.pauses;
    g.changed.notify_all();
}

void end_interrupts() {
    pause();
}

}  // namespace vrdma::platform
