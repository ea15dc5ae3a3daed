// Moves bytes between spans of tenant memory, whatever way each is reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/memory/region.h"
#include "dataplane/port/process_memory.h"

namespace vrdma {

enum class Transferred : uint8_t {
    Done,
    SourceGone,       // the source's memory is not there any more
    DestinationGone,  // the destination's
};

class Transfer {
  public:
    explicit Transfer(ProcessMemory& process_memory);

    // Copies all of `from` to the start of `to`, ascending. `to` is at least as long. `streaming`:
    // past the cache.
    [[nodiscard]] Transferred copy(std::span<const MemorySpan> to, std::span<const MemorySpan> from,
                                   bool streaming);
    // Private memory to a tenant and back (inline data, atomic results).
    [[nodiscard]] Transferred store(std::span<const MemorySpan> to, const std::byte* from,
                                    size_t length);
    [[nodiscard]] Transferred load(std::byte* to, std::span<const MemorySpan> from, size_t length);
    // load() of all of `from` that continues a CRC state (wire/crc32.h) over what it wrote.
    [[nodiscard]] Transferred load_crc(std::byte* to, std::span<const MemorySpan> from,
                                       uint32_t& crc);

    // Atomics on an aligned 64-bit word. Returns the original value in `original`. Atomic against
    // the CPU for mapped memory, and against other requests of this worker always.
    [[nodiscard]] Transferred compare_and_swap(const MemorySpan& word, uint64_t compare,
                                               uint64_t swap, uint64_t& original);
    [[nodiscard]] Transferred fetch_and_add(const MemorySpan& word, uint64_t add,
                                            uint64_t& original);

  private:
    [[nodiscard]] Transferred copy_piece(const MemorySpan& to, const MemorySpan& from,
                                         size_t length, bool streaming);
    [[nodiscard]] bool write_process(const MemorySpan& to, uint64_t at, const std::byte* from,
                                     size_t length);

    ProcessMemory& process_memory_;
    std::unique_ptr<std::byte[]> bounce_;
};

}  // namespace vrdma
