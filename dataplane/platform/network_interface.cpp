// af_packet's driver receives into rings of sockets that it keeps to itself and offers no
// interrupt, so a worker that wants to sleep needs a second opinion: a packet socket on the same
// interface that keeps one byte of each frame in the smallest buffer the kernel allows. While the
// worker is awake nobody reads it, its buffer is full, and the kernel drops at once.
//
// The kernel gives a frame to this socket before it gives it to the driver's ring: whoever drains
// the one and finds nothing in the other must look again (EthdevPort does).
//
// It must not be choosy: the driver's ring takes every frame of the interface, and a worker that
// slept through frames it does not want would find the ring full of them when one comes that it
// does want.
#include "dataplane/platform/network_interface.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <system_error>

namespace vrdma::platform {

InterfaceState interface_state(const std::string& name) {
    InterfaceState state;
    const int file = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0 || name.empty() || name.size() >= IFNAMSIZ) {
        if (file >= 0) {
            close(file);
        }
        return state;
    }
    ifreq request{};
    std::copy(name.begin(), name.end(), request.ifr_name);
    if (ioctl(file, SIOCGIFINDEX, &request) == 0) {
        state.present = true;
        state.index = request.ifr_ifindex;
        if (ioctl(file, SIOCGIFFLAGS, &request) == 0) {
            constexpr int kWanted = IFF_UP | IFF_RUNNING;
            state.up = (request.ifr_flags & kWanted) == kWanted;
        }
        if (ioctl(file, SIOCGIFMTU, &request) == 0) {
            state.mtu = static_cast<uint32_t>(request.ifr_mtu);
        }
    }
    close(file);
    return state;
}

// A packet socket of no protocol receives nothing; its memberships end with it, however we end.
AllMulticast::AllMulticast(int interface_index)
    : file_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {  // of no protocol: it receives nothing
    packet_mreq request{};
    request.mr_ifindex = interface_index;
    request.mr_type = PACKET_MR_ALLMULTI;
    if (file_ >= 0) {
        // Refused, it is as without: switches and interfaces that do not filter deliver anyway.
        setsockopt(file_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request);
    }
}

AllMulticast::~AllMulticast() {
    if (file_ >= 0) {
        close(file_);
    }
}

std::vector<int> open_xdp_sockets() {
    std::vector<int> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        const std::string name = entry.path().filename();
        int file = -1;
        std::from_chars(name.data(), name.data() + name.size(), file);
        int domain = 0;
        socklen_t length = sizeof domain;
        if (getsockopt(file, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_XDP) {
            found.push_back(file);
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

ArrivalSocket::ArrivalSocket(int interface_index)
    : file_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (file_ < 0) {
        return;
    }
    sock_filter keep_one_byte = BPF_STMT(BPF_RET | BPF_K, 1);
    const sock_fprog program{1, &keep_one_byte};
    const int smallest = 1;
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = interface_index;
    if (setsockopt(file_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
        setsockopt(file_, SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest) != 0 ||
        bind(file_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        close(file_);
        file_ = -1;
    }
}

ArrivalSocket::~ArrivalSocket() {
    if (file_ >= 0) {
        close(file_);
    }
}

bool ArrivalSocket::drain() const {
    std::array<char, 8> ignored;
    constexpr int kMost = 64;  // more than the buffer holds
    int arrived = 0;
    while (arrived < kMost && recv(file_, ignored.data(), ignored.size(), 0) >= 0) {
        ++arrived;
    }
    int error = 0;  // such as ENETDOWN, which would keep the file readable
    socklen_t length = sizeof error;
    getsockopt(file_, SOL_SOCKET, SO_ERROR, &error, &length);
    return arrived > 0;
}

}  // namespace vrdma::platform
