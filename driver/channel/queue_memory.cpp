// Queues are small and many, regions are a resource of the device: so blocks are cut out of slabs,
// one region each, first fit. A queue of more than half a slab has a slab of its own, so that it
// can go back whole.
//
// The module decides when a slab lives: it is added when nothing fits, and removed when its last
// block is freed, except that one empty slab is kept, so that a program which creates and destroys
// a single queue pair in a loop does not pay for a region each time.
//
// Blocks are handed out zeroed, because a zero sequence is what makes a completion entry invalid,
// and populated, so that the first lap around a ring takes no page faults and a lack of memory
// shows up as ENOMEM here instead of as a signal there.
#include "driver/channel/queue_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace vrdma::driver {
namespace {

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

bool populate(std::byte* data, std::size_t size) {
#if defined(MADV_POPULATE_WRITE)
    constexpr int kPopulateWrite = MADV_POPULATE_WRITE;
#else
    constexpr int kPopulateWrite = 23;  // Linux 5.14
#endif
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    const std::uintptr_t begin = address / VRDMA_PAGE_BYTES * VRDMA_PAGE_BYTES;
    const std::uintptr_t end = round_up(address + size, VRDMA_PAGE_BYTES);
    const int rc = ::madvise(reinterpret_cast<void*>(begin), end - begin, kPopulateWrite);
    return rc == 0 || errno == EINVAL;  // a kernel without it populates on first use
}

}  // namespace

tl::expected<QueueBlock, CommandError> QueueMemory::allocate(std::size_t bytes) {
    const std::size_t size = round_up(bytes, kAlignment);
    const std::lock_guard lock(mutex_);
    QueueBlock block;
    bool found = false;
    if (size <= kSlabBytes / 2) {
        for (const auto& slab : slabs_) {
            if (slab->memory.size() == kSlabBytes && take(*slab, size, block)) {
                found = true;
                break;
            }
        }
    }
    if (!found) {
        const std::size_t page = VRDMA_PAGE_BYTES;
        const auto slab = add_slab(size <= kSlabBytes / 2 ? kSlabBytes : round_up(size, page));
        if (!slab) {
            return tl::unexpected(slab.error());
        }
        if (!take(**slab, size, block)) {
            return tl::unexpected(command_error(ENOMEM, "a fresh slab has no room"));
        }
    }
    if (!populate(block.data, block.size)) {
        for (const auto& slab : slabs_) {
            if (slab->region == block.location.region) {
                give_back(*slab, {block.location.offset, block.size});
                break;
            }
        }
        return tl::unexpected(command_error(ENOMEM, "no memory for a queue of %zu bytes", size));
    }
    return block;
}

void QueueMemory::free(const QueueBlock& block) {
    if (block.data == nullptr) {
        return;
    }
    const std::lock_guard lock(mutex_);
    for (const auto& slab : slabs_) {
        if (slab->region == block.location.region) {
            give_back(*slab, {block.location.offset, block.size});
            remove_slab_if_spare(*slab);
            return;
        }
    }
}

void QueueMemory::abandon() const {
    for (const auto& slab : slabs_) {
        slab->memory.abandon();
    }
}

std::size_t QueueMemory::slab_count() {
    const std::lock_guard lock(mutex_);
    return slabs_.size();
}

tl::expected<QueueMemory::Slab*, CommandError> QueueMemory::add_slab(std::size_t bytes) {
    auto memory = SharedMemory::create("vrdma-queues", bytes);
    if (!memory) {
        return tl::unexpected(
            command_error(memory.error(), "no shared memory of %zu bytes for queues", bytes));
    }
    vrdma_cmd_add_region body{};
    body.kind = VRDMA_REGION_MAPPED;
    body.flags = VRDMA_REGION_WRITABLE;
    body.length = bytes;
    const int fd = memory->fd();
    const auto region =
        query_command<vrdma_handle>(channel_, VRDMA_CMD_ADD_REGION, body, {}, std::span(&fd, 1));
    if (!region) {
        return tl::unexpected(region.error());
    }
    memory->close_fd();
    auto slab = std::make_unique<Slab>();
    slab->memory = std::move(*memory);
    slab->region = region->handle;
    slab->free.push_back({0, bytes});
    slabs_.push_back(std::move(slab));
    return slabs_.back().get();
}

bool QueueMemory::take(Slab& slab, std::size_t bytes, QueueBlock& block) {
    const auto range = std::find_if(slab.free.begin(), slab.free.end(),
                                    [bytes](const FreeRange& f) { return f.size >= bytes; });
    if (range == slab.free.end()) {
        return false;
    }
    const std::size_t offset = range->offset;
    range->offset += bytes;
    range->size -= bytes;
    if (range->size == 0) {
        slab.free.erase(range);
    }
    block.data = static_cast<std::byte*>(slab.memory.data()) + offset;
    block.size = bytes;
    block.location = {.region = slab.region, .reserved = 0, .offset = offset};
    if (offset < slab.used_up_to) {
        std::memset(block.data, 0, std::min(bytes, slab.used_up_to - offset));
    }
    slab.used_up_to = std::max(slab.used_up_to, offset + bytes);
    return true;
}

void QueueMemory::give_back(Slab& slab, FreeRange range) {
    auto next = std::find_if(slab.free.begin(), slab.free.end(),
                             [&](const FreeRange& f) { return f.offset > range.offset; });
    if (next != slab.free.end() && range.offset + range.size == next->offset) {
        range.size += next->size;
        next = slab.free.erase(next);
    }
    if (next != slab.free.begin()) {
        const auto previous = next - 1;
        if (previous->offset + previous->size == range.offset) {
            previous->size += range.size;
            return;
        }
    }
    slab.free.insert(next, range);
}

void QueueMemory::remove_slab_if_spare(const Slab& slab) {
    if (!slab.empty()) {
        return;
    }
    const auto is_spare = [&](const std::unique_ptr<Slab>& other) {
        return other.get() != &slab && other->empty();
    };
    const bool keep =
        slab.memory.size() == kSlabBytes && std::none_of(slabs_.begin(), slabs_.end(), is_spare);
    if (keep) {
        return;
    }
    const vrdma_handle handle{.handle = slab.region, .reserved = 0};
    // Only a device that is gone refuses: no queue of ours is left in the region.
    [[maybe_unused]] const auto removed = run_command(channel_, VRDMA_CMD_REMOVE_REGION, handle);
    std::erase_if(slabs_, [&](const std::unique_ptr<Slab>& s) { return s.get() == &slab; });
}

}  // namespace vrdma::driver
