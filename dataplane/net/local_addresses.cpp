// A sorted array: read for every frame, written when a vNIC comes or goes. Ten comparisons of 16
// bytes find one in a thousand, without a hash that a stranger could aim at.
#include "dataplane/net/local_addresses.h"

#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/net/limits.h"

namespace vrdma::net {

LocalAddresses::LocalAddresses() {
    sorted_.reserve(kMaxLocalAddresses);
}

void LocalAddresses::set(std::span<const LocalAddress> addresses) {
    VR_CHECK(addresses.size() <= kMaxLocalAddresses);
    sorted_.assign(addresses.begin(), addresses.end());
    std::sort(sorted_.begin(), sorted_.end());
}

std::optional<uint32_t> LocalAddresses::find(const wire::Address& address) const {
    const auto found = std::lower_bound(
        sorted_.begin(), sorted_.end(), address,
        [](const LocalAddress& entry, const wire::Address& key) { return entry.address < key; });
    if (found == sorted_.end() || found->address != address) {
        return std::nullopt;
    }
    return found->vnic;
}

}  // namespace vrdma::net
