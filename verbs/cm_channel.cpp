// The counter is only changed together with the queue, by whoever holds the lock of the connection
// manager: so a read of it never blocks, and a program that polls it sees exactly whether there is
// an event, as with the kernel's channel.
#include "verbs/cm_channel.h"

#include <infiniband/verbs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace vrdma::verbs {

std::shared_ptr<CmChannel> CmChannel::open() {
    const int fd = ::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
    if (fd < 0) {
        return nullptr;
    }
    auto channel = std::make_shared<CmChannel>();
    channel->fd = fd;
    return channel;
}

void CmChannel::push(CmEvent event) {
    events.push_back(std::move(event));
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
}

CmEvent CmChannel::pop(std::size_t place) {
    std::uint64_t one = 0;
    [[maybe_unused]] const ssize_t taken = ::read(fd, &one, sizeof one);
    const auto position = events.begin() + static_cast<std::ptrdiff_t>(place);
    CmEvent event = std::move(*position);
    events.erase(position);
    return event;
}

bool CmId::datagram() const {
    return qp_type == IBV_QPT_UD;
}

}  // namespace vrdma::verbs
