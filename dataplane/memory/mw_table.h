// The memory windows of a worker's tenants: keys that give a peer access to a part of a memory
// region, until they are taken back (IBA 10.6.7).
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/permutation.h"
#include "dataplane/base/pool.h"
#include "driver/abi/command.h"

namespace vrdma {

struct Mw {
    uint32_t name;  // the upper 24 bits of its keys
    uint32_t key;   // what gives access now; 0: it is not bound
    uint32_t pd;
    uint32_t context;
    uint32_t type;  // enum vrdma_mw_type; 0 = free entry
    // Of a bound window:
    uint32_t mr;       // table index
    uint32_t qpn;      // type 2: the queue pair that it works through
    uint32_t access;   // VRDMA_ACCESS_REMOTE_*
    uint64_t base;     // remote address of its first byte
    uint64_t address;  // of its first byte in the addresses of the MR
    uint64_t length;
    uint32_t generation;
    uint32_t reserved;
};
static_assert(sizeof(Mw) == 64);

class MwTable {
  public:
    MwTable(Arena& arena, uint32_t max_mws, uint64_t key);
    [[nodiscard]] static size_t bytes_for(uint32_t max_mws);

    struct Owner {
        uint32_t pd;
        uint32_t context;
        uint32_t type;
    };
    // A window that is not bound. nullopt: the pool is exhausted, nothing changed.
    [[nodiscard]] std::optional<uint32_t> add(const Owner& owner);
    // It is not bound.
    void remove(uint32_t index);
    // The window that a key belongs to, whatever the key's lower 8 bits; nullptr: none.
    [[nodiscard]] Mw* find(uint32_t key);

    [[nodiscard]] Mw& operator[](uint32_t index) { return windows_[index]; }
    [[nodiscard]] const Mw& operator[](uint32_t index) const { return windows_[index]; }
    [[nodiscard]] uint32_t used() const { return windows_.used(); }
    [[nodiscard]] uint32_t fresh() const { return windows_.fresh(); }

  private:
    Pool<Mw> windows_;
    Permutation24 permutation_;
    uint32_t index_bits_;
};

// Keys of windows have the uppermost bit, keys of memory regions do not: no number is both.
inline constexpr uint32_t kMwKeyBit = 0x80000000;

}  // namespace vrdma
