// A command that librdmacm wrote: its words, and where its answer goes.
#pragma once

#include <rdma/rdma_user_cm.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "verbs/cm.h"

namespace vrdma::verbs {

// Programs built with other releases of rdma-core send and expect shorter or longer structs: what
// is missing is zero, and what nobody has room for is not written.
struct Cm::Call {
    std::shared_ptr<CmChannel> channel;
    std::uint32_t opcode = 0;
    const std::byte* words = nullptr;  // after the header
    std::size_t size = 0;
    std::size_t room = 0;  // for the answer

    template <typename Command>
    [[nodiscard]] Command as() const {
        Command command{};
        std::memcpy(&command, words, std::min(size, sizeof command));
        return command;
    }

    template <typename Answer>
    void respond(std::uint64_t to, const Answer& answer) const {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the ABI carries the pointer as a number
        std::memcpy(reinterpret_cast<void*>(to), &answer, std::min(room, sizeof answer));
    }
};

}  // namespace vrdma::verbs
