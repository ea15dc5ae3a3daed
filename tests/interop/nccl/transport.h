#pragma once

// One of NCCL's network transports, whatever version its interface has. Results of NCCL become
// errors that name the call. One thread uses it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/interop/nccl/library.h"
#include "tests/interop/nccl/net_interface.h"
#include "tools/verbs_util/error.h"

namespace vrdma::nccl_net {

[[nodiscard]] const char* to_string(NcclResult result);

/// Where a receive of a group goes.
struct Receive {
    void* data = nullptr;
    std::size_t size = 0;
    int tag = 0;
    void* memory = nullptr;
};

class Transport {
  public:
    /// Initialises it; fails with kNoDevice when it finds no device.
    [[nodiscard]] static verbs_util::Result<Transport> open(const Library& library,
                                                            const std::string& symbol);

    [[nodiscard]] const char* name() const { return table_->name; }
    [[nodiscard]] int devices() const { return devices_; }
    [[nodiscard]] verbs_util::Result<DeviceProperties> properties(int device) const;

    struct Listening {
        std::vector<std::uint8_t> handle;  ///< kHandleBytes, for the partner's connect()
        void* comm = nullptr;
    };
    [[nodiscard]] verbs_util::Result<Listening> listen(int device) const;
    /// These two do not wait: null until the connection stands; call again with the same handle.
    [[nodiscard]] verbs_util::Result<void*> connect(int device,
                                                    std::vector<std::uint8_t>& handle) const;
    [[nodiscard]] verbs_util::Result<void*> accept(void* listen_comm) const;

    [[nodiscard]] verbs_util::Result<void*> register_memory(void* comm, void* data,
                                                            std::size_t size) const;
    [[nodiscard]] verbs_util::Result<void> deregister_memory(void* comm, void* memory) const;

    /// The request, or null: nothing was started, try again.
    [[nodiscard]] verbs_util::Result<void*> isend(void* comm, const void* data, std::size_t size,
                                                  int tag, void* memory) const;
    [[nodiscard]] verbs_util::Result<void*> irecv(void* comm,
                                                  std::span<const Receive> receives) const;
    /// Null: there is nothing to flush.
    [[nodiscard]] verbs_util::Result<void*> iflush(void* comm, std::span<const Receive> receives,
                                                   std::span<const int> sizes) const;
    /// Whether the request is done, which frees it. Sizes of a receive's messages go to `sizes`.
    [[nodiscard]] verbs_util::Result<bool> test(void* request, std::span<int> sizes) const;

    [[nodiscard]] verbs_util::Result<void> close_send(void* comm) const;
    [[nodiscard]] verbs_util::Result<void> close_receive(void* comm) const;
    [[nodiscard]] verbs_util::Result<void> close_listen(void* comm) const;

    /// Ends what init started, such as threads.
    [[nodiscard]] verbs_util::Result<void> finalize() const;

  private:
    Transport(const NetTable* table, int interface_version)
        : table_(table), interface_version_(interface_version) {}

    [[nodiscard]] verbs_util::Result<void> init();

    const NetTable* table_;
    int interface_version_;
    int devices_ = 0;
    void* context_ = nullptr;
};

/// Grouped receives of one irecv; also the most that NCCL itself uses.
constexpr std::size_t kMaxGroup = 8;

}  // namespace vrdma::nccl_net
