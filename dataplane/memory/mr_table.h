// The memory regions of a worker's tenants: keys, bounds, rights, and where the bytes are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <tl/expected.hpp>

#include "dataplane/base/permutation.h"
#include "dataplane/base/pool.h"
#include "dataplane/memory/region.h"
#include "driver/abi/command.h"
#include "driver/abi/status.h"

namespace vrdma {

// A contiguous part of an MR.
struct MrRange {
    uint64_t start;  // bytes from the start of the MR
    uint64_t length;
    uint64_t offset;  // bytes from the start of the region
    uint32_t region;
    uint32_t next;  // further ranges of the same MR, kNoRange at the end
};
static_assert(sizeof(MrRange) == 32);

struct Mr {
    uint32_t key;  // lkey and rkey; 0 = free entry
    uint32_t pd;
    uint32_t access;  // VRDMA_ACCESS_*
    uint32_t context;
    uint64_t iova;
    uint64_t length;
    MrRange first;  // length 0 when the MR is empty
    uint32_t generation;
    uint32_t windows;  // bound to it
    uint32_t reserved[6];
};
static_assert(sizeof(Mr) == 96);

// What an access wants to do, and with which right. Reasons are those of the side that asks.
struct Access {
    uint32_t key;
    uint32_t pd;
    uint64_t address;
    uint64_t length;
    uint32_t rights;  // all of these VRDMA_ACCESS_* bits are needed; 0 = local read
};

class MrTable {
  public:
    static constexpr uint32_t kNoRange = UINT32_MAX;

    // `regions` is indexed by region number and outlives the table.
    MrTable(Arena& arena, uint32_t max_mrs, uint32_t max_extra_ranges, uint64_t key,
            std::span<const RegionMapping> regions);
    [[nodiscard]] static size_t bytes_for(uint32_t max_mrs, uint32_t max_extra_ranges);

    struct Registration {
        uint32_t pd;
        uint32_t access;
        uint32_t context;
        uint64_t iova;
        uint64_t length;
        std::span<const vrdma_mr_range> ranges;  // regions are table indices, checked by the caller
    };
    // nullopt: the pool is exhausted, nothing changed.
    [[nodiscard]] std::optional<uint32_t> add(const Registration& registration);
    // No window is bound to it.
    void remove(uint32_t index);
    [[nodiscard]] uint32_t index_of(const Mr& mr) const { return mrs_.index_of(mr); }
    void add_window(uint32_t index) { ++mrs_[index].windows; }
    void remove_window(uint32_t index) { --mrs_[index].windows; }

    // Finds the MR of a key and checks domain, bounds and rights, in this order (IBA 10.6.3.2).
    // Inlined: a result handed over in memory costs more than the check (docs/performance.md).
    [[nodiscard, gnu::always_inline]] tl::expected<const Mr*, vrdma_reason> check(
        const Access& access, bool remote) {
        const Mr* mr = find(access.key);
        if (mr == nullptr) [[unlikely]] {
            return tl::unexpected(remote ? VRDMA_REASON_RKEY_UNKNOWN : VRDMA_REASON_LKEY_UNKNOWN);
        }
        if (mr->pd != access.pd) [[unlikely]] {
            return tl::unexpected(remote ? VRDMA_REASON_RKEY_PD : VRDMA_REASON_LKEY_PD);
        }
        const uint64_t offset = access.address - mr->iova;
        if (access.length > mr->length || offset > mr->length - access.length) [[unlikely]] {
            return tl::unexpected(remote ? VRDMA_REASON_RKEY_RANGE : VRDMA_REASON_LKEY_RANGE);
        }
        if ((mr->access & access.rights) != access.rights) [[unlikely]] {
            return tl::unexpected(remote ? VRDMA_REASON_RKEY_ACCESS : VRDMA_REASON_LKEY_ACCESS);
        }
        return mr;
    }

    // The longest contiguous span of a checked access, at most `length` bytes from `address`.
    [[nodiscard, gnu::always_inline]] MemorySpan span(const Mr& mr, uint64_t address,
                                                      uint64_t length) const {
        const uint64_t offset = address - mr.iova;
        const MrRange* range = &mr.first;
        while (offset - range->start >= range->length)
            [[unlikely]] {
                VR_CHECK(range->next != kNoRange);
                range = &ranges_[range->next];
            }
        const uint64_t inside = offset - range->start;
        const uint64_t left = range->length - inside;
        const RegionMapping& mapping = regions_[range->region];
        const uint64_t at = range->offset + inside;
        return MemorySpan{
            .host = mapping.base == nullptr ? nullptr : mapping.base + at,
            .process_address = mapping.process_address + at,
            .mapping = &mapping,
            .length = length < left ? length : left,
        };
    }

    // Every range of an MR, in order.
    template <class Visit>
    void for_each_range(const Mr& mr, Visit visit) const {
        if (mr.first.length == 0) {
            return;
        }
        const MrRange* range = &mr.first;
        for (;;) {
            visit(*range);
            if (range->next == kNoRange) {
                return;
            }
            range = &ranges_[range->next];
        }
    }

    [[nodiscard]] const Mr& operator[](uint32_t index) const { return mrs_[index]; }
    [[nodiscard]] uint32_t used() const { return mrs_.used(); }
    [[nodiscard]] uint32_t capacity() const { return mrs_.capacity(); }
    [[nodiscard]] uint32_t fresh() const { return mrs_.fresh(); }

  private:
    static constexpr uint32_t kHints = 256;
    [[nodiscard]] const Mr* find(uint32_t key) {
        const Mr& hinted = mrs_[hints_[key % kHints]];
        return hinted.key == key && key != 0 ? &hinted : decrypt(key);
    }
    // Without the hint, which it sets.
    [[nodiscard]] const Mr* decrypt(uint32_t key);

    Pool<Mr> mrs_;
    Pool<MrRange> ranges_;
    Permutation32 permutation_;
    uint32_t index_bits_;
    std::span<const RegionMapping> regions_;
    std::array<uint32_t, kHints> hints_{};
};

}  // namespace vrdma
