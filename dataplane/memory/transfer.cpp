// One ascending copy when both sides are mapped; through a bounce buffer when one is process
// memory. A write into process memory is two writes, the last cache line alone in the second: the
// kernel does not promise the order of bytes inside one.
//
// A mapping whose file was truncated turns into zero pages while a copy runs
// (platform/fault_guard); its `broken` flag is looked at after the copy, so such a copy is
// reported, never believed. It is looked at before the copy, too: what is written to those zero
// pages is memory of the service, and a tenant must not get much of it.
#include "dataplane/memory/transfer.h"

#include <algorithm>
#include <atomic>

#include "dataplane/memory/copy.h"
#include "dataplane/wire/crc32.h"

namespace vrdma {
namespace {

constexpr size_t kBounceBytes = size_t{64} << 10;
constexpr size_t kLine = 64;

bool broken(const MemorySpan& span) {
    const std::atomic<bool>* flag = span.mapping->broken;
    return flag != nullptr && flag->load(std::memory_order_relaxed);
}

void copy_mapped(std::byte* to, const std::byte* from, size_t length, bool streaming) {
    if (streaming) {
        copy_streaming(to, from, length);
    } else {
        copy_ascending(to, from, length);
    }
}

}  // namespace

Transfer::Transfer(ProcessMemory& process_memory)
    : process_memory_(process_memory), bounce_(std::make_unique<std::byte[]>(kBounceBytes)) {}

bool Transfer::write_process(const MemorySpan& to, uint64_t at, const std::byte* from,
                             size_t length) {
    const int file = to.mapping->process_file;
    const uint64_t address = to.process_address + at;
    const size_t tail = length <= kLine ? length : (length - 1) % kLine + 1;
    const size_t body = length - tail;
    return (body == 0 || process_memory_.write(file, address, from, body)) &&
           process_memory_.write(file, address + body, from + body, tail);
}

Transferred Transfer::copy_piece(const MemorySpan& to, const MemorySpan& from, size_t length,
                                 bool streaming) {
    if (broken(from)) [[unlikely]] {
        return Transferred::SourceGone;
    }
    if (broken(to)) [[unlikely]] {
        return Transferred::DestinationGone;
    }
    if (to.host != nullptr && from.host != nullptr) [[likely]] {
        copy_mapped(to.host, from.host, length, streaming);
        if (broken(from)) {
            return Transferred::SourceGone;
        }
        return broken(to) ? Transferred::DestinationGone : Transferred::Done;
    }
    for (size_t at = 0; at < length; at += kBounceBytes) {
        const size_t part = std::min(length - at, kBounceBytes);
        const std::byte* source = nullptr;
        if (from.host != nullptr) {
            source = from.host + at;
        } else {
            if (!process_memory_.read(from.mapping->process_file, from.process_address + at,
                                      bounce_.get(), part)) {
                return Transferred::SourceGone;
            }
            source = bounce_.get();
        }
        if (to.host != nullptr) {
            copy_ascending(to.host + at, source, part);
        } else if (!write_process(to, at, source, part)) {
            return Transferred::DestinationGone;
        }
    }
    if (broken(from)) {
        return Transferred::SourceGone;
    }
    return broken(to) ? Transferred::DestinationGone : Transferred::Done;
}

Transferred Transfer::copy(std::span<const MemorySpan> to, std::span<const MemorySpan> from,
                           bool streaming) {
    if (from.size() == 1 && from[0].length <= to[0].length) [[likely]] {
        return copy_piece(to[0], from[0], from[0].length, streaming);
    }
    size_t target = 0;
    uint64_t target_at = 0;
    for (const MemorySpan& source : from) {
        uint64_t source_at = 0;
        while (source_at < source.length) {
            const MemorySpan& destination = to[target];
            const uint64_t part =
                std::min(source.length - source_at, destination.length - target_at);
            MemorySpan a = destination;
            MemorySpan b = source;
            a.host = a.host == nullptr ? nullptr : a.host + target_at;
            a.process_address += target_at;
            b.host = b.host == nullptr ? nullptr : b.host + source_at;
            b.process_address += source_at;
            const Transferred result = copy_piece(a, b, part, streaming);
            if (result != Transferred::Done) {
                return result;
            }
            source_at += part;
            target_at += part;
            if (target_at == destination.length) {
                ++target;
                target_at = 0;
            }
        }
    }
    return Transferred::Done;
}

Transferred Transfer::store(std::span<const MemorySpan> to, const std::byte* from, size_t length) {
    for (const MemorySpan& destination : to) {
        const size_t part = std::min<size_t>(destination.length, length);
        if (part == 0) {
            break;
        }
        if (broken(destination)) {
            return Transferred::DestinationGone;
        }
        if (destination.host != nullptr) {
            copy_ascending(destination.host, from, part);
        } else if (!write_process(destination, 0, from, part)) {
            return Transferred::DestinationGone;
        }
        if (broken(destination)) {
            return Transferred::DestinationGone;
        }
        from += part;
        length -= part;
    }
    return Transferred::Done;
}

Transferred Transfer::load_crc(std::byte* to, std::span<const MemorySpan> from, uint32_t& crc) {
    for (const MemorySpan& source : from) {
        if (broken(source)) {
            return Transferred::SourceGone;
        }
        if (source.host != nullptr) [[likely]] {
            crc = wire::crc32_copy(crc, to, source.host, source.length);
        } else if (process_memory_.read(source.mapping->process_file, source.process_address, to,
                                        source.length)) {
            crc = wire::crc32_update(crc, {to, source.length});
        } else {
            return Transferred::SourceGone;
        }
        if (broken(source)) {
            return Transferred::SourceGone;
        }
        to += source.length;
    }
    return Transferred::Done;
}

Transferred Transfer::load(std::byte* to, std::span<const MemorySpan> from, size_t length) {
    for (const MemorySpan& source : from) {
        const size_t part = std::min<size_t>(source.length, length);
        if (part == 0) {
            break;
        }
        if (source.host != nullptr) {
            copy_ascending(to, source.host, part);
        } else if (!process_memory_.read(source.mapping->process_file, source.process_address, to,
                                         part)) {
            return Transferred::SourceGone;
        }
        if (broken(source)) {
            return Transferred::SourceGone;
        }
        to += part;
        length -= part;
    }
    return Transferred::Done;
}

Transferred Transfer::compare_and_swap(const MemorySpan& word, uint64_t compare, uint64_t swap,
                                       uint64_t& original) {
    if (broken(word)) {
        return Transferred::DestinationGone;
    }
    if (word.host != nullptr) {
        uint64_t expected = compare;
        std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(word.host))
            .compare_exchange_strong(expected, swap);
        original = expected;
        return broken(word) ? Transferred::DestinationGone : Transferred::Done;
    }
    const Transferred loaded = load(reinterpret_cast<std::byte*>(&original), {&word, 1}, 8);
    if (loaded != Transferred::Done || original != compare) {
        return loaded == Transferred::Done ? loaded : Transferred::DestinationGone;
    }
    return store({&word, 1}, reinterpret_cast<const std::byte*>(&swap), 8);
}

Transferred Transfer::fetch_and_add(const MemorySpan& word, uint64_t add, uint64_t& original) {
    if (broken(word)) {
        return Transferred::DestinationGone;
    }
    if (word.host != nullptr) {
        original =
            std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(word.host)).fetch_add(add);
        return broken(word) ? Transferred::DestinationGone : Transferred::Done;
    }
    if (load(reinterpret_cast<std::byte*>(&original), {&word, 1}, 8) != Transferred::Done) {
        return Transferred::DestinationGone;
    }
    const uint64_t sum = original + add;
    return store({&word, 1}, reinterpret_cast<const std::byte*>(&sum), 8);
}

}  // namespace vrdma
