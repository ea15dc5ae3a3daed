// A runtime directory as vrdmad keeps it, with listening sockets and nobody behind them.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "dataplane/platform/device_tree.h"

namespace vrdma::run {

class FakeService {
  public:
    explicit FakeService(const std::filesystem::path& directory) : directory_(directory) {
        std::filesystem::create_directories(directory / "vnic");
    }
    FakeService(const FakeService&) = delete;
    FakeService& operator=(const FakeService&) = delete;
    ~FakeService() { stop(); }

    [[nodiscard]] std::filesystem::path vnic(const std::string& name) const {
        return directory_ / "vnic" / name;
    }

    void listen_for_control() { listen_at(directory_ / "control.sock", SOCK_STREAM, 0666); }

    // A whole vNIC: socket and device tree.
    void add_vnic(const std::string& name, mode_t mode = 0666) {
        std::filesystem::create_directory(vnic(name));
        listen_at(vnic(name) / "device.sock", SOCK_SEQPACKET, mode);
        platform::DeviceDescription device;
        device.vnic = name;
        device.guid = {2};
        device.gids = {{0xfe, 0x80},
                       {0xfe, 0x80},
                       {},
                       {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}};
        device.socket_path = vnic(name) / "device.sock";
        device.firmware_version = "0.1.0";
        whole_ = whole_ && platform::create_tree(vnic(name)).has_value() &&
                 platform::write_device(vnic(name), 0, device).has_value();
    }

    // The service dies: its sockets stay in the file system and refuse.
    void stop() {
        for (const int fd : sockets_) {
            close(fd);
        }
        sockets_.clear();
    }

    [[nodiscard]] bool whole() const { return whole_; }

  private:
    void listen_at(const std::filesystem::path& path, int type, mode_t mode) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        whole_ = whole_ &&
                 bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                 chmod(path.c_str(), mode) == 0 && listen(fd, 8) == 0;
        sockets_.push_back(fd);
    }

    std::filesystem::path directory_;
    std::vector<int> sockets_;
    bool whole_ = true;
};

}  // namespace vrdma::run
