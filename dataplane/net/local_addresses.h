// Which addresses of a network are on this host, and whose they are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/wire/address.h"

namespace vrdma::net {

struct LocalAddress {
    wire::Address address;
    uint32_t vnic = 0;  // index in the device's table
    auto operator<=>(const LocalAddress&) const = default;
};

class LocalAddresses {
  public:
    LocalAddresses();

    // Replaces all of them; at most kMaxLocalAddresses. No memory is taken.
    void set(std::span<const LocalAddress> addresses);
    // The vNIC that has it.
    [[nodiscard]] std::optional<uint32_t> find(const wire::Address& address) const;
    [[nodiscard]] std::span<const LocalAddress> all() const { return sorted_; }

  private:
    std::vector<LocalAddress> sorted_;
};

}  // namespace vrdma::net
