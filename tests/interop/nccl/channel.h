#pragma once

// A connection in each direction between two processes, made by one of NCCL's transports.

#include "tests/interop/nccl/transport.h"
#include "tools/verbs_util/stream.h"

namespace vrdma::nccl_net {

class Channel {
  public:
    /// Both sides call it. Refers to `transport`.
    [[nodiscard]] static verbs_util::Result<Channel> establish(const Transport& transport,
                                                               int device,
                                                               verbs_util::Stream& partner);

    [[nodiscard]] const Transport& transport() const { return *transport_; }
    [[nodiscard]] void* send_comm() const { return send_comm_; }
    [[nodiscard]] void* receive_comm() const { return receive_comm_; }

    [[nodiscard]] verbs_util::Result<void> close();

  private:
    explicit Channel(const Transport& transport) : transport_(&transport) {}

    const Transport* transport_;
    void* listen_comm_ = nullptr;
    void* send_comm_ = nullptr;
    void* receive_comm_ = nullptr;
};

}  // namespace vrdma::nccl_net
