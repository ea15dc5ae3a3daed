// Looks at the devices through the verbs, and registers memory to see what becomes of it. Of the
// memory only the provider knows, and it tells in its log, which the doctor asked for (main.cpp).
// The types of GIDs are read where NCCL and UCX read them, below /sys/class/infiniband, and not
// where libibverbs would: the two differ where only libibverbs was shown the device.
#include <arpa/inet.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <condition_variable>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/registration.h"
#include "tools/verbs_util/unique_fd.h"
#include "tools/vrdma-doctor/look.h"
#include "tools/vrdma-doctor/provider_log.h"

namespace vrdma::doctor {
namespace {

using verbs_util::Owned;

constexpr std::uint8_t kPort = 1;
constexpr std::size_t kRegistrationBytes = 64 << 10;

struct FreeList {
    void operator()(ibv_device** list) const { ibv_free_device_list(list); }
};
using DeviceList = std::unique_ptr<ibv_device*, FreeList>;

std::string line_of(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

std::string reason(int error) {
    return std::generic_category().message(error);
}

// Empty: somebody listens.
std::string why_nobody_listens(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return "the path is too long for a socket";
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const verbs_util::UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    return connect(fd.get(), where, sizeof address) == 0 ? "" : reason(errno);
}

void look_at_gids(ibv_context* context, int count, Device& device) {
    for (int i = 0; i < count; ++i) {
        ibv_gid gid{};
        ibv_gid none{};
        if (ibv_query_gid(context, kPort, i, &gid) != 0 ||
            std::memcmp(&gid, &none, sizeof gid) == 0) {
            continue;
        }
        in6_addr address{};
        std::memcpy(&address, gid.raw, sizeof address);
        std::array<char, INET6_ADDRSTRLEN> text{};
        (void)inet_ntop(AF_INET6, &address, text.data(), text.size());
        device.gids.push_back({.index = static_cast<std::uint32_t>(i),
                               .text = text.data(),
                               .ipv4 = IN6_IS_ADDR_V4MAPPED(&address) != 0,
                               .type = line_of("/sys/class/infiniband/" + device.name +
                                               "/ports/1/gid_attrs/types/" + std::to_string(i))});
    }
}

Device look_at(ibv_device* listed, StderrCapture& stderr_capture) {
    Device device;
    device.name = ibv_get_device_name(listed);
    device.socket = line_of(std::string(listed->ibdev_path) + "/vrdma_socket");
    device.vrdma = !device.socket.empty();
    if (device.vrdma) {
        device.socket_error = why_nobody_listens(device.socket);
    }
    const Owned<ibv_context> context(ibv_open_device(listed));
    device.complaint = last_line(stderr_capture.take());
    ibv_device_attr attributes{};
    ibv_port_attr port{};
    if (context == nullptr || ibv_query_device(context.get(), &attributes) != 0 ||
        ibv_query_port(context.get(), kPort, &port) != 0) {
        return device;
    }
    device.opened = true;
    device.service_version = attributes.fw_ver;
    device.port_active = port.state == IBV_PORT_ACTIVE;
    device.port_state = ibv_port_state_str(port.state);
    device.mtu = 128U << port.active_mtu;
    look_at_gids(context.get(), port.gid_tbl_len, device);
    return device;
}

Registration register_some(ibv_pd* pd, verbs_util::MemoryKind kind, StderrCapture& stderr_capture) {
    Registration result;
    result.tried = true;
    const auto buffer = verbs_util::Buffer::allocate(kind, kRegistrationBytes);
    if (!buffer) {
        result.error = buffer.error().message();
        return result;
    }
    (void)stderr_capture.take();
    const Owned<ibv_mr> mr(
        ibv_reg_mr(pd, buffer->data(), buffer->size(), static_cast<int>(verbs_util::kFullAccess)));
    const std::string error = mr == nullptr ? reason(errno) : "";
    result = registration_in(stderr_capture.take());
    result.tried = true;
    result.error = error;
    return result;
}

// One more thread of the program, until the end of the scope.
class Companion {
  public:
    Companion() : thread_([this] { wait(); }) {}
    ~Companion() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    Companion(const Companion&) = delete;
    Companion& operator=(const Companion&) = delete;

  private:
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ended_; });
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
    std::thread thread_;
};

}  // namespace

std::vector<Device> look_at_devices(StderrCapture& stderr_capture, std::string& complaint) {
    std::vector<Device> devices;
    int count = 0;
    errno = 0;
    const DeviceList list(ibv_get_device_list(&count));
    complaint = last_line(stderr_capture.take());
    if (list == nullptr && complaint.empty()) {
        complaint = "libibverbs: " + reason(errno);
    }
    for (int i = 0; i < count && list != nullptr; ++i) {
        devices.push_back(look_at(list.get()[i], stderr_capture));
    }
    return devices;
}

Memory look_at_memory(const std::string& name, StderrCapture& stderr_capture) {
    Memory memory;
    const auto device = verbs_util::Device::open({.name = name, .port = kPort, .gid_index = -1});
    if (!device) {
        return memory;
    }
    const auto pd = verbs_util::allocate_pd(**device);
    if (!pd) {
        return memory;
    }
    using verbs_util::MemoryKind;
    memory.single = register_some(pd->get(), MemoryKind::kMmap, stderr_capture);
    const Companion companion;
    memory.threaded = register_some(pd->get(), MemoryKind::kMmap, stderr_capture);
    memory.shared = register_some(pd->get(), MemoryKind::kMemfd, stderr_capture);
    return memory;
}

}  // namespace vrdma::doctor
