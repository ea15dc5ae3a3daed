#pragma once

// An open RDMA device: context, one port, the GID to talk from.

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/objects.h"

namespace vrdma::verbs_util {

struct DeviceOptions {
    std::string name;       ///< empty: the first device
    std::uint8_t port = 1;  ///< port number, from 1
    int gid_index = -1;     ///< -1: choose_gid_index()
};

class Device {
  public:
    /// Fails with kNoDevice when there is no such device, it cannot be opened or its port is down.
    [[nodiscard]] static Result<std::shared_ptr<Device>> open(const DeviceOptions& options);

    [[nodiscard]] ibv_context* context() const { return context_.get(); }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const ibv_device_attr& attributes() const { return attributes_; }
    [[nodiscard]] const ibv_port_attr& port() const { return port_; }
    [[nodiscard]] std::uint8_t port_number() const { return port_number_; }
    [[nodiscard]] std::uint8_t gid_index() const { return gid_index_; }
    [[nodiscard]] const ibv_gid& gid() const { return gid_; }
    [[nodiscard]] std::uint32_t mtu_bytes() const { return 128U << port_.active_mtu; }

  private:
    Device() = default;

    Owned<ibv_context> context_;
    std::string name_;
    ibv_device_attr attributes_{};
    ibv_port_attr port_{};
    ibv_gid gid_{};
    std::uint8_t port_number_ = 1;
    std::uint8_t gid_index_ = 0;
};

/// Lower is better: RoCE v2 over IPv4, RoCE v2 over a link-local address, any other GID; -1 for an
/// entry that is empty.
[[nodiscard]] int gid_rank(const ibv_gid_entry& entry);

/// "ibv_wc_status text, opcode, QP, vendor code" of a failed completion.
[[nodiscard]] std::string describe_completion(const ibv_wc& completion);

/// What to do about a completion status; empty when there is nothing useful to say.
[[nodiscard]] std::string remedy_for_status(ibv_wc_status status);

[[nodiscard]] const char* opcode_name(ibv_wc_opcode opcode);
[[nodiscard]] const char* opcode_name(ibv_wr_opcode opcode);

}  // namespace vrdma::verbs_util
