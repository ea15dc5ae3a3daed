#pragma once

// A device opened in the manner of 3FS, and memory registered in it.

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/objects.h"

namespace vrdma::storage_socket {

class StorageDevice {
  public:
    /// The first device. Its GID is the first of RoCE v2 that is no link-local address; which those
    /// are, sysfs says.
    [[nodiscard]] static verbs_util::Result<StorageDevice> open();

    [[nodiscard]] ibv_context* context() const { return context_.get(); }
    [[nodiscard]] ibv_pd* pd() const { return pd_.get(); }
    [[nodiscard]] const ibv_port_attr& port() const { return port_; }
    [[nodiscard]] const ibv_gid& gid() const { return gid_; }
    [[nodiscard]] std::uint8_t gid_index() const { return gid_index_; }

    /// Takes all asynchronous events without waiting, and prints them. What they mean for a
    /// connection its completions say too.
    [[nodiscard]] verbs_util::Result<void> take_async_events() const;

  private:
    [[nodiscard]] verbs_util::Result<void> choose_gid();

    verbs_util::Owned<ibv_context> context_;
    verbs_util::Owned<ibv_pd> pd_;
    ibv_port_attr port_{};
    ibv_gid gid_{};
    std::uint8_t gid_index_ = 0;
};

/// Memory that both sides of a connection may read and write.
class Region {
  public:
    [[nodiscard]] static verbs_util::Result<Region> create(const StorageDevice& device,
                                                           std::size_t bytes);

    [[nodiscard]] std::byte* data() { return bytes_.data(); }
    [[nodiscard]] std::uint32_t lkey() const { return mr_->lkey; }
    [[nodiscard]] std::uint32_t rkey() const { return mr_->rkey; }

  private:
    std::vector<std::byte> bytes_;
    verbs_util::Owned<ibv_mr> mr_;
};

[[nodiscard]] verbs_util::Result<void> do_not_block(int fd, const char* what);

}  // namespace vrdma::storage_socket
