// NCCL's connections carry data one way only. connect() and accept() do not wait: each is called
// again until it has something, in turns, for both sides do both at once.
#include "tests/interop/nccl/channel.h"

#include <fmt/format.h>
#include <sched.h>

#include <chrono>

namespace vrdma::nccl_net {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

namespace {

constexpr int kPatienceMs = 20'000;

Result<std::vector<std::uint8_t>> exchange(verbs_util::Stream& partner,
                                           const std::vector<std::uint8_t>& handle) {
    if (auto sent = partner.send({{"handle", handle}}); !sent) {
        return tl::make_unexpected(sent.error());
    }
    const auto message = partner.receive(kPatienceMs);
    if (!message) {
        return tl::make_unexpected(message.error());
    }
    std::vector<std::uint8_t> theirs;
    for (const auto& byte : message->value("handle", nlohmann::json::array())) {
        theirs.push_back(byte.is_number_unsigned() ? byte.get<std::uint8_t>() : std::uint8_t{0});
    }
    if (theirs.size() != kHandleBytes) {
        return fail(ErrorKind::kPartner,
                    fmt::format("the partner's handle has {} bytes, expected {}", theirs.size(),
                                kHandleBytes));
    }
    return theirs;
}

}  // namespace

Result<Channel> Channel::establish(const Transport& transport, int device,
                                   verbs_util::Stream& partner) {
    Channel channel(transport);
    const auto listening = transport.listen(device);
    if (!listening) {
        return tl::make_unexpected(listening.error());
    }
    channel.listen_comm_ = listening->comm;
    auto handle = exchange(partner, listening->handle);
    if (!handle) {
        return tl::make_unexpected(handle.error());
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    while (channel.send_comm_ == nullptr || channel.receive_comm_ == nullptr) {
        for (const bool sending : {true, false}) {
            void*& comm = sending ? channel.send_comm_ : channel.receive_comm_;
            if (comm != nullptr) {
                continue;
            }
            const auto made = sending ? transport.connect(device, *handle)
                                      : transport.accept(channel.listen_comm_);
            if (!made) {
                return tl::make_unexpected(made.error());
            }
            comm = *made;
        }
        if (std::chrono::steady_clock::now() > deadline) {
            return fail(ErrorKind::kSetup,
                        fmt::format("not connected within {} s: sending {}, receiving {}",
                                    kPatienceMs / 1000, channel.send_comm_ != nullptr,
                                    channel.receive_comm_ != nullptr));
        }
        sched_yield();
    }
    return channel;
}

Result<void> Channel::close() {
    Result<void> done = transport_->close_send(send_comm_);
    for (const auto& closed :
         {transport_->close_receive(receive_comm_), transport_->close_listen(listen_comm_)}) {
        done = done ? closed : done;
    }
    return done;
}

}  // namespace vrdma::nccl_net
