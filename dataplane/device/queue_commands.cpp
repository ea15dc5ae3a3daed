// Completion channels, completion queues and shared receive queues. Queue memory must stand inside
// a writable mapped region of the same context, which then cannot be removed before the queue.
#include <bit>

#include "dataplane/device/commands.h"

namespace vrdma {
namespace {

uint64_t cq_bytes(uint32_t entries, bool timestamps) {
    const uint64_t entry = sizeof(vrdma_cqe) + (timestamps ? sizeof(uint64_t) : 0);
    return sizeof(vrdma_cq_header) + entries * entry;
}

CqRuntime cq_at(std::byte* memory, uint32_t entries, bool timestamps) {
    std::byte* ring = memory + sizeof(vrdma_cq_header);
    std::byte* behind = ring + size_t{entries} * sizeof(vrdma_cqe);
    return CqRuntime{reinterpret_cast<vrdma_cq_header*>(memory), reinterpret_cast<vrdma_cqe*>(ring),
                     timestamps ? reinterpret_cast<uint64_t*>(behind) : nullptr};
}

}  // namespace

tl::expected<std::byte*, Refusal> Commands::queue_memory(const CommandCall& call,
                                                         const vrdma_queue_memory& memory,
                                                         uint64_t bytes) const {
    if (memory.reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, kReserved);
    }
    const Region* region = find(state_.regions, memory.region, call);
    if (region == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "the queue's region does not exist");
    }
    if (region->kind != VRDMA_REGION_MAPPED || (region->flags & VRDMA_REGION_WRITABLE) == 0) {
        return refuse(VRDMA_STATUS_INVALID, "a queue needs a writable mapped region");
    }
    // What the device writes of its own accord must not turn into memory of the service.
    if (state_.region_runtime[memory.region].may_shrink) {
        return refuse(VRDMA_STATUS_INVALID, "a queue's memory must be sealed with F_SEAL_SHRINK");
    }
    if (memory.offset % 64 != 0) {
        return refuse(VRDMA_STATUS_INVALID, "a queue starts at a multiple of 64 bytes");
    }
    if (bytes > region->length || memory.offset > region->length - bytes) {
        return refuse(VRDMA_STATUS_INVALID, "the queue reaches beyond its region");
    }
    return state_.region_runtime[memory.region].base + memory.offset;
}

Commands::Result Commands::create_channel(const CommandCall& call) {
    if (call.attachment.file < 0) {
        return refuse(VRDMA_STATUS_INVALID, "a channel needs its socket");
    }
    const std::optional<uint32_t> index = state_.channels.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no completion channel is left on this host");
    }
    state_.channels[*index] = Channel{true, {}, call.context, 0};
    state_.channel_runtime[*index].file = call.attachment.file;
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_handle{*index, 0});
}

void Commands::free_channel(uint32_t index) {
    reclaimer_.close(state_.channel_runtime[index].file);
    state_.channel_runtime[index].file = -1;
    state_.channels[index].present = false;
    --state_.contexts[state_.channels[index].context].objects;
    state_.channels.release(index);
}

Commands::Result Commands::destroy_channel(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const Channel* channel = find(state_.channels, request->handle, call);
    if (channel == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such completion channel");
    }
    if (channel->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "completion queues still use the channel");
    }
    free_channel(request->handle);
    return size_t{0};
}

Commands::Result Commands::create_cq(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_create_cq>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (!std::has_single_bit(request->entries) || request->entries > VRDMA_MAX_CQ_ENTRIES) {
        return refuse(VRDMA_STATUS_INVALID, "CQ entries must be a power of two within the limit");
    }
    const uint32_t known =
        speaks(call, VRDMA_FEATURE_TIMESTAMPS) ? uint32_t{VRDMA_CQ_TIMESTAMPS} : 0U;
    if ((request->flags & ~known) != 0) {
        return refuse(VRDMA_STATUS_INVALID, "unknown CQ flag, or one that was not negotiated");
    }
    if (request->completion_vector != 0) {
        return refuse(VRDMA_STATUS_INVALID, "there is one completion vector, 0");
    }
    Channel* channel = nullptr;
    if (request->channel != VRDMA_NO_HANDLE) {
        channel = find(state_.channels, request->channel, call);
        if (channel == nullptr) {
            return refuse(VRDMA_STATUS_NOT_FOUND, "no such completion channel");
        }
    }
    const bool timestamps = (request->flags & VRDMA_CQ_TIMESTAMPS) != 0;
    const auto memory = queue_memory(call, request->memory, cq_bytes(request->entries, timestamps));
    if (!memory) {
        return tl::unexpected(memory.error());
    }
    const std::optional<uint32_t> index = state_.cqs.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no completion queue is left on this host");
    }
    Cq cq{};
    cq.present = true;
    cq.context = call.context;
    cq.mask = request->entries - 1;
    cq.channel = channel == nullptr ? kNone : request->channel;
    cq.region = request->memory.region;
    cq.cookie = request->cookie;
    cq.timestamps = timestamps;
    state_.cqs[*index] = cq;
    state_.cq_runtime[*index] = cq_at(*memory, request->entries, timestamps);
    ++state_.regions[cq.region].users;
    if (channel != nullptr) {
        ++channel->users;
    }
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_handle{*index, 0});
}

Commands::Result Commands::resize_cq(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_resize_cq>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    Cq* cq = find(state_.cqs, request->handle, call);
    if (cq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such completion queue");
    }
    if (!std::has_single_bit(request->entries) || request->entries > VRDMA_MAX_CQ_ENTRIES) {
        return refuse(VRDMA_STATUS_INVALID, "CQ entries must be a power of two within the limit");
    }
    const auto memory =
        queue_memory(call, request->memory, cq_bytes(request->entries, cq->timestamps));
    if (!memory) {
        return tl::unexpected(memory.error());
    }
    const CqRuntime runtime = cq_at(*memory, request->entries, cq->timestamps);
    switch (completions_.move(request->handle, runtime, request->entries)) {
        case CompletionQueues::Moved::DoesNotFit:
            return refuse(VRDMA_STATUS_INVALID, "the unread completions do not fit the new size");
        case CompletionQueues::Moved::Partly:
            return defer();
        case CompletionQueues::Moved::Whole:
            break;
    }
    --state_.regions[cq->region].users;
    cq->region = request->memory.region;
    ++state_.regions[cq->region].users;
    return size_t{0};
}

void Commands::free_cq(uint32_t index) {
    Cq& cq = state_.cqs[index];
    completions_.forget(index);
    --state_.regions[cq.region].users;
    if (cq.channel != kNone) {
        --state_.channels[cq.channel].users;
    }
    cq.present = false;
    state_.cq_runtime[index] = CqRuntime{};
    --state_.contexts[cq.context].objects;
    state_.cqs.release(index);
}

Commands::Result Commands::destroy_cq(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const Cq* cq = find(state_.cqs, request->handle, call);
    if (cq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such completion queue");
    }
    if (cq->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "queue pairs or XRC SRQs still use the completion queue");
    }
    free_cq(request->handle);
    return size_t{0};
}

Commands::Result Commands::create_srq(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_create_srq>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    const auto index = make_srq(call, *request);
    if (!index) {
        return tl::unexpected(index.error());
    }
    return write_response(call, vrdma_handle{*index, 0});
}

tl::expected<uint32_t, Refusal> Commands::make_srq(const CommandCall& call,
                                                   const vrdma_cmd_create_srq& request) {
    if (!std::has_single_bit(request.entries) || request.entries > VRDMA_MAX_QUEUE_ENTRIES) {
        return refuse(VRDMA_STATUS_INVALID, "SRQ entries must be a power of two within the limit");
    }
    if (request.max_sge > VRDMA_MAX_SGE || request.limit > request.entries) {
        return refuse(VRDMA_STATUS_INVALID, "too many SGEs, or a limit beyond the entries");
    }
    Pd* pd = find(state_.pds, request.pd, call);
    if (pd == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such protection domain");
    }
    const uint32_t stride = vrdma_recv_stride(request.max_sge);
    const auto memory = queue_memory(call, request.memory,
                                     sizeof(vrdma_srq_header) + uint64_t{request.entries} * stride);
    if (!memory) {
        return tl::unexpected(memory.error());
    }
    const std::optional<uint32_t> index = state_.srqs.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no shared receive queue is left on this host");
    }
    Srq srq{};
    srq.present = true;
    srq.context = call.context;
    srq.pd = request.pd;
    srq.mask = request.entries - 1;
    srq.stride = stride;
    srq.max_sge = request.max_sge;
    srq.limit = request.limit;
    srq.region = request.memory.region;
    srq.cookie = request.cookie;
    srq.xrcd_opening = kNone;
    srq.generation = state_.srqs[*index].generation;
    state_.srqs[*index] = srq;
    state_.srq_runtime[*index] = SrqRuntime{reinterpret_cast<vrdma_srq_header*>(*memory),
                                            *memory + sizeof(vrdma_srq_header)};
    ++state_.regions[srq.region].users;
    ++pd->users;
    ++state_.contexts[call.context].objects;
    return *index;
}

Commands::Result Commands::modify_srq(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_modify_srq>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    Srq* srq = find(state_.srqs, request->handle, call);
    if (srq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such shared receive queue");
    }
    if (request->limit > srq->mask + 1) {
        return refuse(VRDMA_STATUS_INVALID, "a limit beyond the entries");
    }
    srq->limit = request->limit;
    return size_t{0};
}

Commands::Result Commands::query_srq(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const Srq* srq = find(state_.srqs, request->handle, call);
    if (srq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such shared receive queue");
    }
    return write_response(call, vrdma_rsp_query_srq{srq->limit, 0});
}

void Commands::free_srq(uint32_t index) {
    Srq& srq = state_.srqs[index];
    --state_.regions[srq.region].users;
    --state_.pds[srq.pd].users;
    if (srq.xrcd_opening != kNone) {
        --state_.xrcd_openings[srq.xrcd_opening].users;
        --state_.cqs[srq.cq].users;
        srq.identity = 0;
    }
    srq.present = false;
    state_.srq_runtime[index] = SrqRuntime{};
    --state_.contexts[srq.context].objects;
    state_.srqs.release(index);
}

Commands::Result Commands::destroy_srq(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const Srq* srq = find(state_.srqs, request->handle, call);
    if (srq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such shared receive queue");
    }
    if (srq->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "queue pairs still use the shared receive queue");
    }
    free_srq(request->handle);
    return size_t{0};
}

}  // namespace vrdma
