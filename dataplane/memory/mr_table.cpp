// A key is the encrypted (generation, table index) of its entry. Finding an entry is one
// decryption, or none when the hint of the key's low bits still names an entry with exactly this
// key: hints are never invalidated, the entry's own key decides. A removed MR's entry gets a new
// generation, so its old key names nothing until the generation wraps.
//
// Almost every MR is one contiguous range, which stands in the entry itself; further ranges are a
// chain, searched from its start.
#include "dataplane/memory/mr_table.h"

#include "dataplane/memory/mw_table.h"

namespace vrdma {

MrTable::MrTable(Arena& arena, uint32_t max_mrs, uint32_t max_extra_ranges, uint64_t key,
                 std::span<const RegionMapping> regions)
    : mrs_(arena, max_mrs),
      ranges_(arena, max_extra_ranges),
      permutation_(key),
      index_bits_(static_cast<uint32_t>(std::countr_zero(max_mrs))),
      regions_(regions) {}

size_t MrTable::bytes_for(uint32_t max_mrs, uint32_t max_extra_ranges) {
    return Pool<Mr>::bytes_for(max_mrs) + Pool<MrRange>::bytes_for(max_extra_ranges);
}

std::optional<uint32_t> MrTable::add(const Registration& registration) {
    const size_t count = registration.ranges.size();
    if (count > 1 && count - 1 > ranges_.capacity() - ranges_.used()) {
        return std::nullopt;
    }
    const std::optional<uint32_t> index = mrs_.allocate();
    if (!index) {
        return std::nullopt;
    }
    Mr& mr = mrs_[*index];
    const uint32_t generation = mr.generation;
    mr = Mr{};
    mr.generation = generation;
    mr.pd = registration.pd;
    mr.access = registration.access;
    mr.context = registration.context;
    mr.iova = registration.iova;
    mr.length = registration.length;
    mr.first.next = kNoRange;
    MrRange* range = &mr.first;
    uint64_t start = 0;
    for (size_t i = 0; i < count; ++i) {
        const vrdma_mr_range& given = registration.ranges[i];
        if (i > 0) {
            const std::optional<uint32_t> extra = ranges_.allocate();
            VR_CHECK(extra.has_value());
            range->next = *extra;
            range = &ranges_[*extra];
            range->next = kNoRange;
        }
        range->start = start;
        range->length = given.length;
        range->offset = given.offset;
        range->region = given.region;
        start += given.length;
    }
    do {  // a key is never zero: programs use zero for "none"; nor one of a window (mw_table.h)
        ++mr.generation;
        mr.key = permutation_.encrypt(mr.generation << index_bits_ | *index);
    } while (mr.key == 0 || (mr.key & kMwKeyBit) != 0);
    return index;
}

void MrTable::remove(uint32_t index) {
    Mr& mr = mrs_[index];
    VR_CHECK(mr.windows == 0);
    uint32_t next = mr.first.next;
    while (next != kNoRange) {
        const uint32_t after = ranges_[next].next;
        ranges_.release(next);
        next = after;
    }
    mr.key = 0;
    mrs_.release(index);
}

const Mr* MrTable::decrypt(uint32_t key) {
    const uint32_t index = permutation_.decrypt(key) & (mrs_.capacity() - 1);
    const Mr& mr = mrs_[index];
    if (mr.key != key || key == 0) {
        return nullptr;
    }
    hints_[key % kHints] = index;
    return &mr;
}

}  // namespace vrdma
