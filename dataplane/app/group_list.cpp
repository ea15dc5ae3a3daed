// Each worker joins a group for its own queue pairs, on its own end of the port, so that the parts
// of one vNIC may differ for a moment: the list says what holds for all of them, the least.
#include "dataplane/app/group_list.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

namespace vrdma::app {
namespace {

control::GroupReport to_control(net::MembershipState state) {
    switch (state) {
        case net::MembershipState::None:
            return control::GroupReport::kNone;
        case net::MembershipState::Unreported:
            return control::GroupReport::kUnreported;
        case net::MembershipState::Joining:
            return control::GroupReport::kJoining;
        case net::MembershipState::Joined:
            return control::GroupReport::kJoined;
    }
    return control::GroupReport::kNone;
}

}  // namespace

control::GroupList list_groups(const std::vector<GroupQuery>& parts, const VnicOf& vnic_of,
                               uint32_t limit) {
    using Key = std::tuple<uint32_t, std::array<uint8_t, 16>, std::string>;
    std::map<Key, control::GroupInfo> all;
    for (const GroupQuery& part : parts) {
        for (const GroupSnapshot& snapshot : part.found) {
            const control::VnicConfig* const vnic = vnic_of(snapshot.vnic);
            if (vnic == nullptr) {
                continue;
            }
            control::Gid gid;
            std::memcpy(gid.octets.data(), snapshot.gid.gid, sizeof snapshot.gid.gid);
            const auto [at, added] = all.try_emplace(Key(snapshot.network, gid.octets, vnic->name));
            control::GroupInfo& info = at->second;
            const control::GroupReport port = to_control(snapshot.port);
            info.network = vnic->network;
            info.network_id = snapshot.network;
            info.group = gid;
            info.vnic = vnic->name;
            info.port = added ? port : std::min(info.port, port);
            info.qpns.insert(info.qpns.end(), snapshot.qpns.begin(), snapshot.qpns.end());
        }
    }
    control::GroupList list;
    list.total = all.size();
    for (auto& [key, info] : all) {
        if (list.groups.size() == limit) {
            break;
        }
        std::sort(info.qpns.begin(), info.qpns.end());
        list.groups.push_back(std::move(info));
    }
    return list;
}

}  // namespace vrdma::app
