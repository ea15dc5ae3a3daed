// Quotas are taken before a command goes to its shard and given back when the shard refuses it or
// the object is destroyed: one place counts for all contexts of a vNIC, on whatever shard they are.
#include "dataplane/tenant/quota.h"

#include "dataplane/base/check.h"

namespace vrdma {

std::string_view resource_name(Resource resource) {
    switch (resource) {
        case Resource::Contexts:
            return "contexts";
        case Resource::Pds:
            return "protection domains";
        case Resource::Mrs:
            return "memory regions";
        case Resource::Mws:
            return "memory windows (as many as max_mrs)";
        case Resource::Cqs:
            return "completion queues";
        case Resource::Qps:
            return "queue pairs";
        case Resource::Srqs:
            return "shared receive queues";
        case Resource::MrBytes:
            return "bytes of registered memory";
        case Resource::MrPieces:
            return "pieces of memory regions";
        case Resource::Regions:
            return "regions (the least of max_mrs and a quarter of vm.max_map_count)";
        case Resource::RegionBytes:
            return "bytes of shared memory (max_mr_bytes and 16 GiB for queues)";
        case Resource::Files:
            return "descriptors (a quarter of the service's)";
        case Resource::Xrcds:
            return "XRC domains (as many as max_pds, at most 1024)";
        case Resource::Count:
            break;
    }
    return "?";
}

bool Quota::take(Resource resource, uint64_t amount) {
    const uint64_t left = limits_[resource] - used_[resource];
    if (amount > left) {
        return false;
    }
    used_[resource] += amount;
    return true;
}

void Quota::give_back(Resource resource, uint64_t amount) {
    VR_CHECK(used_[resource] >= amount);
    used_[resource] -= amount;
}

void Quota::give_back(const ResourceCounts& counts) {
    for (size_t i = 0; i < counts.of.size(); ++i) {
        give_back(static_cast<Resource>(i), counts.of[i]);
    }
}

}  // namespace vrdma
