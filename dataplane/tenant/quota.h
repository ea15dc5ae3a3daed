// What a vNIC may use of the device, and what it uses.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vrdma {

enum class Resource : uint8_t {
    Contexts,
    Pds,
    Mrs,
    Mws,
    Cqs,
    Qps,
    Srqs,
    MrBytes,
    MrPieces,     // ranges of an MR beyond its first
    Regions,      // each is a mapping of the service
    RegionBytes,  // addresses of the service
    Files,        // descriptors that the service keeps: channels, process memory, XRC domains
    Xrcds,        // handles of XRC domains
    Count
};

[[nodiscard]] std::string_view resource_name(Resource resource);

struct ResourceCounts {
    std::array<uint64_t, static_cast<size_t>(Resource::Count)> of{};

    [[nodiscard]] uint64_t& operator[](Resource r) { return of[static_cast<size_t>(r)]; }
    [[nodiscard]] uint64_t operator[](Resource r) const { return of[static_cast<size_t>(r)]; }
};

class Quota {
  public:
    explicit Quota(const ResourceCounts& limits) : limits_(limits) {}

    // False when it would go beyond the limit; then nothing changed.
    [[nodiscard]] bool take(Resource resource, uint64_t amount);
    void give_back(Resource resource, uint64_t amount);
    void give_back(const ResourceCounts& counts);

    [[nodiscard]] const ResourceCounts& used() const { return used_; }
    [[nodiscard]] const ResourceCounts& limits() const { return limits_; }

  private:
    ResourceCounts limits_;
    ResourceCounts used_;
};

}  // namespace vrdma
