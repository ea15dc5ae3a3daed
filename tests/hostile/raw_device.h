// The attach socket, spoken byte by byte: what a program can send that no driver of ours would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "driver/abi/command.h"
#include "driver/abi/status.h"
#include "driver/channel/unique_fd.h"

namespace vrdma::hostile {

using driver::UniqueFd;

inline constexpr uint16_t kHungUp = 0xffff;    // instead of a status
inline constexpr uint16_t kNoAnswer = 0xfffe;  // within the time an answer may take

struct Answer {
    uint16_t status = kHungUp;
    std::string reason;
    std::vector<std::byte> body;
    UniqueFd file;

    [[nodiscard]] bool ok() const { return status == VRDMA_STATUS_OK; }
    template <class T>
    [[nodiscard]] T as() const {
        T value{};
        std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
        return value;
    }
};

class RawDevice {
  public:
    [[nodiscard]] bool connect(const std::string& path);
    void hang_up() { socket_.reset(); }
    [[nodiscard]] int socket() const { return socket_.get(); }

    // Any bytes, any descriptors. False when the kernel did not take them at once.
    bool send(std::span<const std::byte> message, std::span<const int> files = {});
    [[nodiscard]] Answer receive(int timeout_ms = kTimeoutMs);

    // A well-formed header around any body.
    bool post(uint16_t opcode, std::span<const std::byte> body, std::span<const int> files = {});
    [[nodiscard]] Answer call(uint16_t opcode, std::span<const std::byte> body = {},
                              std::span<const int> files = {});
    template <class T>
    [[nodiscard]] Answer call(uint16_t opcode, const T& body, std::span<const int> files = {}) {
        return call(opcode, std::as_bytes(std::span(&body, 1)), files);
    }

  private:
    static constexpr int kTimeoutMs = 5000;
    UniqueFd socket_;
    uint64_t tag_ = 0;
};

}  // namespace vrdma::hostile
