// A window's name is the encrypted (generation, table index) of its entry, as a memory region's key
// is, in the 24 bits that a program cannot choose; the entry's own name decides whether it is
// meant. Names are drawn until one has the uppermost bit (kMwKeyBit): every second one does.
#include "dataplane/memory/mw_table.h"

#include <bit>

namespace vrdma {
namespace {

constexpr uint32_t kKeyBits = 8;  // of a key, chosen by the program with each bind
constexpr uint32_t kNameMask = 0xffffff;
constexpr uint32_t kNameBit = kMwKeyBit >> kKeyBits;

}  // namespace

MwTable::MwTable(Arena& arena, uint32_t max_mws, uint64_t key)
    : windows_(arena, max_mws),
      permutation_(key),
      index_bits_(static_cast<uint32_t>(std::countr_zero(max_mws))) {}

size_t MwTable::bytes_for(uint32_t max_mws) {
    return Pool<Mw>::bytes_for(max_mws);
}

std::optional<uint32_t> MwTable::add(const Owner& owner) {
    const std::optional<uint32_t> index = windows_.allocate();
    if (!index) {
        return std::nullopt;
    }
    Mw& window = windows_[*index];
    const uint32_t generation = window.generation;
    window = Mw{};
    window.generation = generation;
    window.pd = owner.pd;
    window.context = owner.context;
    window.type = owner.type;
    do {
        ++window.generation;
        window.name = permutation_.encrypt((window.generation << index_bits_ | *index) & kNameMask);
    } while ((window.name & kNameBit) == 0);
    return index;
}

void MwTable::remove(uint32_t index) {
    Mw& window = windows_[index];
    VR_CHECK(window.key == 0);
    window.type = 0;
    windows_.release(index);
}

Mw* MwTable::find(uint32_t key) {
    const uint32_t name = key >> kKeyBits;
    Mw& window = windows_[permutation_.decrypt(name) & ((1U << index_bits_) - 1)];
    return window.type != 0 && window.name == name ? &window : nullptr;
}

}  // namespace vrdma
