// Two hosts joined by a wire in memory: the queue pairs of one talk to those of the other.
#pragma once

#include <functional>
#include <string>

#include "wire_host.h"

namespace vrdma::test {

class Wire : public testing::TestWithParam<transport::PeerPolicy> {
  protected:
    explicit Wire(bool spray = false)
        : near(kAddressA, 1, GetParam(), spray), far(kAddressB, 2, GetParam(), spray) {}

    // Until nothing moves. `filter` sees every frame that leaves a host; false: it is lost.
    void settle() {
        for (int quiet = 0, i = 0; quiet < 4 && i < 100000; ++i) {
            bool moved = near.turn();
            moved |= far.turn();
            moved |= carry(near, far);
            moved |= carry(far, near);
            quiet = moved ? 0 : quiet + 1;
        }
    }
    bool carry(Host& from, Host& to) {
        bool moved = false;
        for (MemoryPort::Frame& frame : from.port.take_sent()) {
            moved = true;
            if (!filter || filter(frame)) {
                to.port.arrive(std::move(frame));
            }
        }
        return moved;
    }
    void advance(Duration duration) {
        constexpr Duration kStep = Duration::microseconds(500);
        for (int64_t passed = 0; passed < duration.ns; passed += kStep.ns) {
            near.world.advance(kStep);
            far.world.advance(kStep);
            settle();
        }
    }

    void connect_pair(const QpOptions& options = {}, const Link& left_link = {}) {
        left = near.tenant->create_qp(options);
        right = far.tenant->create_qp(options);
        connect(*near.tenant, left, gid_of(*far.tenant), right.qpn, left_link);
        connect(*far.tenant, right, gid_of(*near.tenant), left.qpn, Link{});
        settle();
        advance(Duration::milliseconds(60));  // they have asked each other what they speak
    }

    std::function<bool(const MemoryPort::Frame&)> filter;
    Host near;
    Host far;
    QueuePair left;
    QueuePair right;
};

inline std::string policy_name(const testing::TestParamInfo<transport::PeerPolicy>& policy) {
    switch (policy.param) {
        case transport::PeerPolicy::Auto:
            return "auto";
        case transport::PeerPolicy::Vrdma:
            return "vrdma";
        case transport::PeerPolicy::Standard:
            return "standard";
    }
    return "";
}

}  // namespace vrdma::test
