// What the kernel says about a network interface, and a file that wakes whoever waits for frames.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vrdma::platform {

struct InterfaceState {
    bool present = false;
    bool up = false;  // administratively up and with carrier
    int index = 0;    // another one after the interface was made anew
    uint32_t mtu = 0;
};
[[nodiscard]] InterfaceState interface_state(const std::string& name);

// Has an interface receive all multicast frames, among them neighbour solicitations, as long as the
// object lives.
class AllMulticast {
  public:
    explicit AllMulticast(int interface_index);
    ~AllMulticast();
    AllMulticast(const AllMulticast&) = delete;
    AllMulticast& operator=(const AllMulticast&) = delete;

  private:
    int file_ = -1;
};

// This process's AF_XDP sockets, ascending.
[[nodiscard]] std::vector<int> open_xdp_sockets();

// Becomes readable when a frame arrives on an interface. The frames themselves are not kept: this
// is for devices that receive by a ring of their own and cannot wake anybody.
class ArrivalSocket {
  public:
    // file() is -1 when the kernel refuses (CAP_NET_RAW).
    explicit ArrivalSocket(int interface_index);
    ~ArrivalSocket();
    ArrivalSocket(const ArrivalSocket&) = delete;
    ArrivalSocket& operator=(const ArrivalSocket&) = delete;

    [[nodiscard]] int file() const { return file_; }
    // Forgets what has arrived, and says whether anything has. Never blocks.
    bool drain() const;

  private:
    int file_ = -1;
};

}  // namespace vrdma::platform
