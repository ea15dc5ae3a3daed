// 3FS supports libraries without ibv_query_gid_ex and so reads the type of a GID where the kernel
// would say it, below the device's ibdev_path. The descriptor of asynchronous events does not
// block: an event loop asks it, and a call that waited would stop everything.
#include "tests/interop/storage_socket/storage_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

constexpr std::uint8_t kPort = 1;
constexpr int kMostGids = 32;
constexpr int kSharedAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                              IBV_ACCESS_REMOTE_READ | IBV_ACCESS_RELAXED_ORDERING;

bool is_zero_or_link_local(const ibv_gid& gid) {
    in6_addr address{};
    std::memcpy(&address, gid.raw, sizeof address);
    return IN6_IS_ADDR_UNSPECIFIED(&address) || IN6_IS_ADDR_LINKLOCAL(&address);
}

}  // namespace

Result<void> do_not_block(int fd, const char* what) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return fail_errno(ErrorKind::kSetup, fmt::format("O_NONBLOCK for the {}", what), errno);
    }
    return {};
}

Result<StorageDevice> StorageDevice::open() {
    if (const int rc = ibv_fork_init(); rc != 0) {
        return fail_errno(ErrorKind::kSetup, "ibv_fork_init", rc);
    }
    int count = 0;
    const std::unique_ptr<ibv_device*, void (*)(ibv_device**)> list(ibv_get_device_list(&count),
                                                                    ibv_free_device_list);
    if (!list || count == 0) {
        return fail(ErrorKind::kNoDevice, "there is no RDMA device");
    }
    StorageDevice device;
    device.context_.reset(ibv_open_device(list.get()[0]));
    if (!device.context_) {
        return fail_errno(ErrorKind::kNoDevice, "ibv_open_device", errno);
    }
    device.pd_.reset(ibv_alloc_pd(device.context()));
    if (!device.pd_) {
        return fail_errno(ErrorKind::kSetup, "ibv_alloc_pd", errno);
    }
    if (const int rc = ibv_query_port(device.context(), kPort, &device.port_); rc != 0) {
        return fail_errno(ErrorKind::kSetup, "ibv_query_port", rc);
    }
    if (device.port_.state != IBV_PORT_ACTIVE) {
        return fail(ErrorKind::kNoDevice, "the port is not active");
    }
    if (auto done = device.choose_gid(); !done) {
        return tl::make_unexpected(done.error());
    }
    if (auto done = do_not_block(device.context()->async_fd, "asynchronous events"); !done) {
        return tl::make_unexpected(done.error());
    }
    return device;
}

Result<void> StorageDevice::choose_gid() {
    for (int index = 0; index < kMostGids; ++index) {
        ibv_gid gid{};
        if (const int rc = ibv_query_gid(context(), kPort, index, &gid); rc != 0) {
            return fail_errno(ErrorKind::kSetup, fmt::format("ibv_query_gid of {}", index), errno);
        }
        if (is_zero_or_link_local(gid)) {
            continue;
        }
        const std::string path = fmt::format("{}/ports/{}/gid_attrs/types/{}",
                                             context()->device->ibdev_path, kPort, index);
        std::ifstream file(path);
        std::string type;
        if (!std::getline(file, type)) {
            return fail(ErrorKind::kSetup, "cannot read " + path);
        }
        if (type.starts_with("RoCE v2")) {
            gid_ = gid;
            gid_index_ = static_cast<std::uint8_t>(index);
            return {};
        }
    }
    return fail(ErrorKind::kSetup, "there is no GID of RoCE v2");
}

Result<void> StorageDevice::take_async_events() const {
    ibv_async_event event{};
    while (ibv_get_async_event(context(), &event) == 0) {
        fmt::print("event: {}\n", ibv_event_type_str(event.event_type));
        ibv_ack_async_event(&event);
    }
    if (errno != EAGAIN) {
        return fail_errno(ErrorKind::kTransfer, "ibv_get_async_event", errno);
    }
    return {};
}

Result<Region> Region::create(const StorageDevice& device, std::size_t bytes) {
    Region region;
    region.bytes_.resize(bytes);
    region.mr_.reset(ibv_reg_mr(device.pd(), region.data(), bytes, kSharedAccess));
    if (!region.mr_) {
        return fail_errno(ErrorKind::kSetup, fmt::format("ibv_reg_mr of {} bytes", bytes), errno);
    }
    return region;
}

}  // namespace vrdma::storage_socket
