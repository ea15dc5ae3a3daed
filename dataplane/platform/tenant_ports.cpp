// Events are datagrams sent with MSG_DONTWAIT: a tenant that does not read them loses its own
// events and delays nobody. A tenant whose other end is gone swallows everything until its context
// is torn down.
#include "dataplane/platform/tenant_ports.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "dataplane/platform/tenant_files.h"

namespace vrdma::platform {
namespace {

bool send_whole(int file, const void* data, size_t size) {
    const ssize_t sent = send(file, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == static_cast<ssize_t>(size) ||
           (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
}

}  // namespace

bool SystemProcessMemory::read(int file, uint64_t address, std::byte* to, size_t length) {
    while (length > 0) {
        const ssize_t done = pread(file, to, length, static_cast<off_t>(address));
        if (done <= 0) {
            return false;
        }
        to += done;
        address += static_cast<uint64_t>(done);
        length -= static_cast<size_t>(done);
    }
    return true;
}

bool SystemProcessMemory::write(int file, uint64_t address, const std::byte* from, size_t length) {
    while (length > 0) {
        const ssize_t done = pwrite(file, from, length, static_cast<off_t>(address));
        if (done <= 0) {
            return false;
        }
        from += done;
        address += static_cast<uint64_t>(done);
        length -= static_cast<size_t>(done);
    }
    return true;
}

bool SystemNotifier::completion(int channel_file, uint64_t cookie) {
    return send_whole(channel_file, &cookie, sizeof cookie);
}

bool SystemNotifier::asynchronous(int event_file, const vrdma_event& event) {
    return send_whole(event_file, &event, sizeof event);
}

void DeferredReclaimer::unmap(std::byte* base, uint64_t) {
    const std::scoped_lock lock(mutex_);
    mappings_.push_back(base);
}

void DeferredReclaimer::close(int file) {
    const std::scoped_lock lock(mutex_);
    files_.push_back(file);
}

void DeferredReclaimer::reclaim() {
    std::vector<std::byte*> mappings;
    std::vector<int> files;
    {
        const std::scoped_lock lock(mutex_);
        mappings.swap(mappings_);
        files.swap(files_);
    }
    for (std::byte* base : mappings) {
        unmap_shared(base);
    }
    for (const int file : files) {
        ::close(file);
    }
}

}  // namespace vrdma::platform
