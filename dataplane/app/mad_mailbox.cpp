// The worker writes the eventfd only for the first datagram since the control thread looked, so a
// flood costs it a copy each and no system call. The control thread takes the notice back before it
// empties the ring: what comes in between makes a new one.
#include "dataplane/app/mad_mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/base/check.h"

namespace vrdma::app {

MadMailbox::MadMailbox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    VR_CHECK(event_ >= 0);
}

MadMailbox::~MadMailbox() {
    close(event_);
}

bool MadMailbox::receive(const Mad& mad) {
    if (!mads_.push(mad)) {
        return false;
    }
    if (!noticed_.exchange(true)) {
        const uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
    }
    return true;
}

void MadMailbox::take_notice() {
    uint64_t value = 0;
    [[maybe_unused]] const ssize_t taken = read(event_, &value, sizeof value);
    noticed_.store(false);
}

std::optional<Mad> MadMailbox::take() {
    Mad mad;
    if (!mads_.pop(mad)) {
        return std::nullopt;
    }
    return mad;
}

}  // namespace vrdma::app
