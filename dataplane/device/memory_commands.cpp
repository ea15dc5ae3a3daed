// Regions, memory regions and windows. A region is mapped by the platform before its command comes
// here and unmapped by it after the last user is gone; here it is only a range of bytes with an
// owner. An MR may name any bytes of its own context's regions: what is dangerous about that is the
// tenant's own.
#include <array>

#include "dataplane/device/commands.h"
#include "dataplane/device/memory_windows.h"

namespace vrdma {

Commands::Result Commands::add_region(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_add_region>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    constexpr uint32_t kFlags = VRDMA_REGION_WRITABLE | VRDMA_REGION_ADOPTED;
    if ((request->flags & ~kFlags) != 0) {
        return refuse(VRDMA_STATUS_INVALID, "unknown region flag");
    }
    const bool mapped = request->kind == VRDMA_REGION_MAPPED && call.attachment.base != nullptr;
    const bool process = request->kind == VRDMA_REGION_PROCESS && call.attachment.file >= 0;
    if (!mapped && !process) {
        return refuse(VRDMA_STATUS_INVALID, "region kind must be MAPPED or PROCESS, with its file");
    }
    const std::optional<uint32_t> index = state_.regions.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no region is left on this host");
    }
    Region region{};
    region.offset = request->offset;
    region.length = request->length;
    region.context = call.context;
    region.kind = static_cast<uint8_t>(request->kind);
    region.flags = static_cast<uint8_t>(request->flags);
    state_.regions[*index] = region;
    RegionMapping& mapping = state_.region_runtime[*index];
    mapping.base = call.attachment.base;
    mapping.process_file = call.attachment.file;
    mapping.process_address = process ? request->offset : 0;
    mapping.broken = call.attachment.broken;
    mapping.may_shrink = call.attachment.may_shrink;
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_handle{*index, 0});
}

void Commands::free_region(uint32_t index) {
    Region& region = state_.regions[index];
    RegionMapping& mapping = state_.region_runtime[index];
    if (mapping.base != nullptr) {
        reclaimer_.unmap(mapping.base, region.length);
    }
    if (mapping.process_file >= 0) {
        reclaimer_.close(mapping.process_file);
    }
    mapping.base = nullptr;
    mapping.process_file = -1;
    region.kind = 0;
    --state_.contexts[region.context].objects;
    state_.regions.release(index);
}

Commands::Result Commands::remove_region(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    Region* region = find(state_.regions, request->handle, call);
    if (region == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such region");
    }
    if (region->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "MRs or queues still stand on the region");
    }
    if (!slices_drained(state_.contexts[call.context])) {
        return defer();  // another shard may be copying from it
    }
    free_region(request->handle);
    return size_t{0};
}

Commands::Result Commands::reg_mr(const CommandCall& call) {
    if (call.body.size() < sizeof(vrdma_cmd_reg_mr)) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    const auto request = *read_body<vrdma_cmd_reg_mr>(call.body.first(sizeof(vrdma_cmd_reg_mr)));
    const std::span<const std::byte> rest = call.body.subspan(sizeof(vrdma_cmd_reg_mr));
    if (request.range_count > VRDMA_MAX_RANGES_PER_MR) {
        return refuse(VRDMA_STATUS_INVALID, "too many ranges for one MR");
    }
    if (rest.size() != request.range_count * sizeof(vrdma_mr_range)) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (request.reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, kReserved);
    }
    const uint32_t known =
        VRDMA_ACCESS_MASK |
        (speaks(call, VRDMA_FEATURE_MEMORY_WINDOWS) ? uint32_t{VRDMA_ACCESS_MW_BIND} : 0U);
    if ((request.access & ~known) != 0) {
        return refuse(VRDMA_STATUS_INVALID, "unknown access flag, or one not negotiated");
    }
    constexpr uint32_t kRemoteChange = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_ATOMIC;
    if ((request.access & kRemoteChange) != 0 && (request.access & VRDMA_ACCESS_LOCAL_WRITE) == 0) {
        return refuse(VRDMA_STATUS_INVALID,
                      "remote write or atomic needs local write (IBA 10.6.3.1)");
    }
    if (request.iova + request.length < request.iova) {
        return refuse(VRDMA_STATUS_INVALID, "the address range wraps");
    }
    Pd* pd = find(state_.pds, request.pd, call);
    if (pd == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such protection domain");
    }
    static thread_local std::array<vrdma_mr_range, VRDMA_MAX_RANGES_PER_MR> ranges;
    std::memcpy(ranges.data(), rest.data(), rest.size());
    uint64_t total = 0;
    for (uint32_t i = 0; i < request.range_count; ++i) {
        const vrdma_mr_range& range = ranges[i];
        if (range.reserved != 0) {
            return refuse(VRDMA_STATUS_INVALID, kReserved);
        }
        const Region* region = find(state_.regions, range.region, call);
        if (region == nullptr) {
            return refuse(VRDMA_STATUS_NOT_FOUND, "a range names no region");
        }
        if (range.length == 0 || range.length > region->length ||
            range.offset > region->length - range.length) {
            return refuse(VRDMA_STATUS_INVALID, "a range is empty or outside its region");
        }
        const bool inner = i > 0 && i + 1 < request.range_count;
        if (inner && range.length < VRDMA_PAGE_BYTES) {
            return refuse(VRDMA_STATUS_INVALID, "an inner range is shorter than a page");
        }
        if ((request.access & VRDMA_ACCESS_LOCAL_WRITE) != 0 &&
            (region->flags & VRDMA_REGION_WRITABLE) == 0) {
            return refuse(VRDMA_STATUS_NO_ACCESS, "write access to a read-only region");
        }
        if (range.length > request.length - total) {
            return refuse(VRDMA_STATUS_INVALID, "the ranges are longer than the MR");
        }
        total += range.length;
    }
    if (total != request.length) {
        return refuse(VRDMA_STATUS_INVALID, "the ranges do not cover the MR");
    }
    const std::optional<uint32_t> index = state_.mrs.add(MrTable::Registration{
        .pd = request.pd,
        .access = request.access,
        .context = call.context,
        .iova = request.iova,
        .length = request.length,
        .ranges = {ranges.data(), request.range_count},
    });
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no memory region is left on this host");
    }
    for (uint32_t i = 0; i < request.range_count; ++i) {
        ++state_.regions[ranges[i].region].users;
    }
    ++pd->users;
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_rsp_reg_mr{*index, state_.mrs[*index].key});
}

void Commands::free_mr(uint32_t index) {
    const Mr& mr = state_.mrs[index];
    state_.mrs.for_each_range(mr,
                              [&](const MrRange& range) { --state_.regions[range.region].users; });
    --state_.pds[mr.pd].users;
    --state_.contexts[mr.context].objects;
    state_.mrs.remove(index);
}

Commands::Result Commands::dereg_mr(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    if (request->handle >= state_.mrs.fresh() || state_.mrs[request->handle].key == 0 ||
        state_.mrs[request->handle].context != call.context) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such memory region");
    }
    if (state_.mrs[request->handle].windows != 0) {
        return refuse(VRDMA_STATUS_BUSY, "memory windows are bound to the memory region");
    }
    if (!slices_drained(state_.contexts[call.context])) {
        return defer();  // another shard may be copying from it or to it
    }
    free_mr(request->handle);
    return size_t{0};
}

Commands::Result Commands::alloc_mw(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_MEMORY_WINDOWS)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, "memory windows were not negotiated");
    }
    const auto request = read_body<vrdma_cmd_alloc_mw>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (request->type != VRDMA_MW_TYPE_1 && request->type != VRDMA_MW_TYPE_2) {
        return refuse(VRDMA_STATUS_INVALID, "the type of a memory window is 1 or 2");
    }
    Pd* pd = find(state_.pds, request->pd, call);
    if (pd == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such protection domain");
    }
    const std::optional<uint32_t> index = state_.mws.add(
        MwTable::Owner{.pd = request->pd, .context = call.context, .type = request->type});
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no memory window is left on this host");
    }
    ++pd->users;
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_rsp_alloc_mw{*index, state_.mws[*index].name << 8});
}

void Commands::free_mw(uint32_t index) {
    Mw& window = state_.mws[index];
    unbind(state_, window);
    --state_.pds[window.pd].users;
    --state_.contexts[window.context].objects;
    state_.mws.remove(index);
}

Commands::Result Commands::dealloc_mw(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    if (request->handle >= state_.mws.fresh() || state_.mws[request->handle].type == 0 ||
        state_.mws[request->handle].context != call.context) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such memory window");
    }
    free_mw(request->handle);
    return size_t{0};
}

}  // namespace vrdma
