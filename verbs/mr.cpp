// Registering memory: the memory layer makes it reachable (driver/memory), the region cache hands
// it to the device, REG_MR gives it a key. Taken apart in the opposite order, so that the memory
// layer may do what it likes with the pages once the device has let go.
//
// Registering again (ibv_rereg_mr) makes the new registration before it gives up the old one: a
// failure changes nothing. The keys change.
//
// A vNIC may refuse memory that is reached through the process; then such a range is an error here,
// where the reason for it is known. The device refuses it too.
//
// How a region became reachable is logged at info, with the reason when it is the slow way, because
// it decides how fast the program will be.
#include "verbs/mr.h"

#include <cerrno>
#include <memory>
#include <new>

#include "verbs/context.h"
#include "verbs/log.h"
#include "verbs/mw.h"

namespace vrdma::verbs {
namespace {

using driver::command_error;
using driver::CommandError;
using tenant_memory::MemoryMap;

static_assert(static_cast<int>(IBV_ACCESS_MW_BIND) == static_cast<int>(VRDMA_ACCESS_MW_BIND));
constexpr std::uint32_t kDeviceAccess = VRDMA_ACCESS_MASK | VRDMA_ACCESS_MW_BIND;
constexpr std::uint32_t kUnsupportedAccess = IBV_ACCESS_ZERO_BASED | IBV_ACCESS_ON_DEMAND;
// HUGETLB only describes the memory. The optional range may be ignored by definition: relaxed
// ordering would allow us less order than we keep.
constexpr std::uint32_t kIgnoredAccess =
    IBV_ACCESS_HUGETLB | static_cast<std::uint32_t>(IBV_ACCESS_OPTIONAL_RANGE);

// 0, or the errno for the flags.
int check_access(const Context& context, std::uint32_t access) {
    if ((access & ~(kDeviceAccess | kUnsupportedAccess | kIgnoredAccess)) != 0) {
        return EINVAL;
    }
    if ((access & kUnsupportedAccess) != 0 ||
        ((access & IBV_ACCESS_MW_BIND) != 0 && !has_windows(context))) {
        return EOPNOTSUPP;
    }
    // IBA 10.6.3.1: who lets others write must be able to write.
    const bool remote_changes =
        (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0;
    return remote_changes && (access & IBV_ACCESS_LOCAL_WRITE) == 0 ? EINVAL : 0;
}

void log_reach(const MrSpec& spec, const tenant_memory::Pin& pin) {
    if (!log_enabled(LogLevel::info)) {
        return;
    }
    for (const tenant_memory::Range& range : pin.ranges) {
        log(LogLevel::info, "verb=reg_mr address=%#lx length=%lu kind=%s reason=\"%s\"",
            static_cast<unsigned long>(range.address), static_cast<unsigned long>(range.length),
            name_of(range.reach), range.reason.c_str());
    }
    log(LogLevel::debug, "verb=reg_mr address=%#lx length=%lu ranges=%zu",
        static_cast<unsigned long>(spec.address), static_cast<unsigned long>(spec.length),
        pin.ranges.size());
}

// A command's reason has no room for all of it.
CommandError process_memory_refused(const tenant_memory::Range& range) {
    log(LogLevel::info,
        "verb=reg_mr address=%#lx length=%lu event=refused reason=\"it could be reached through "
        "the "
        "process only, which the operator of this vNIC does not permit (process_memory): %s\"",
        static_cast<unsigned long>(range.address), static_cast<unsigned long>(range.length),
        range.reason.c_str());
    return command_error(EOPNOTSUPP,
                         "memory that can be reached through the process only is refused "
                         "by this vNIC (process_memory)");
}

void release_memory(Context& context, Registration& registration) {
    for (RegionCache::Region* region : registration.regions) {
        context.regions.release(region);
    }
    registration.regions.clear();
    if (registration.pinned) {
        MemoryMap::instance().unpin(registration.pin);
        registration.pinned = false;
    }
}

// Makes the memory reachable and says where the device finds it.
tl::expected<std::vector<vrdma_mr_range>, CommandError> reach_memory(Context& context,
                                                                     const MrSpec& spec,
                                                                     Registration& registration) {
    std::vector<vrdma_mr_range> ranges;
    if (spec.length == 0) {
        return ranges;
    }
    const auto pin = MemoryMap::instance().pin(spec.address, spec.length,
                                               (spec.access & IBV_ACCESS_LOCAL_WRITE) != 0);
    if (!pin) {
        return tl::unexpected(command_error(pin.error().code, "%s", pin.error().text.c_str()));
    }
    registration.pin = pin->id;
    registration.pinned = true;
    log_reach(spec, *pin);
    const bool process_memory =
        (context.channel->info().features & VRDMA_FEATURE_PROCESS_MEMORY) != 0;
    for (const tenant_memory::Range& range : pin->ranges) {
        if (range.reach == tenant_memory::Reach::Process && !process_memory) {
            return tl::unexpected(process_memory_refused(range));
        }
        const auto use = context.regions.acquire(range);
        if (!use) {
            return tl::unexpected(use.error());
        }
        registration.regions.push_back(use->region);
        ranges.push_back(use->range);
    }
    return ranges;
}

tl::expected<Registration, CommandError> enregister(Context& context, const MrSpec& spec) {
    Registration registration;
    const auto ranges = reach_memory(context, spec, registration);
    if (!ranges) {
        release_memory(context, registration);
        return tl::unexpected(ranges.error());
    }
    vrdma_cmd_reg_mr body{};
    body.pd = spec.pd->handle;
    body.access = spec.access & kDeviceAccess;
    body.iova = spec.iova;
    body.length = spec.length;
    body.range_count = static_cast<std::uint32_t>(ranges->size());
    const auto answer = driver::query_command<vrdma_rsp_reg_mr>(
        *context.channel, VRDMA_CMD_REG_MR, body, std::as_bytes(std::span(*ranges)));
    if (!answer) {
        release_memory(context, registration);
        return tl::unexpected(answer.error());
    }
    registration.handle = answer->handle;
    registration.lkey = answer->lkey;
    return registration;
}

// Refused while memory windows are bound to it. A device that is gone refuses too; then nothing is
// left to be refused by.
tl::expected<void, CommandError> deregister(Context& context, Registration& registration) {
    const vrdma_handle handle{.handle = registration.handle, .reserved = 0};
    const auto done = driver::run_command(*context.channel, VRDMA_CMD_DEREG_MR, handle);
    if (!done && !context.channel->dead()) {
        return done;
    }
    release_memory(context, registration);
    return {};
}

void publish(Mr& mr) {
    mr.base.mr.handle = mr.registration.handle;
    mr.base.mr.lkey = mr.registration.lkey;
    mr.base.mr.rkey = mr.registration.lkey;
    mr.base.access = static_cast<int>(mr.spec.access);
}

ibv_mr* refuse(int error, const char* reason) {
    fail("reg_mr", error, reason);
    return nullptr;
}

}  // namespace

ibv_mr* reg_mr(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, int access) {
    Context& context = Context::of(pd->context);
    const auto flags = static_cast<std::uint32_t>(access);
    const int error = check_access(context, flags);
    if (error != 0) {
        return refuse(error, "access flags unknown, unsupported, or remote write without local");
    }
    if (context.abandoned) {
        return refuse(EIO, "a child after fork cannot use its parent's device");
    }
    std::unique_ptr<Mr> mr(new (std::nothrow) Mr);
    if (mr == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    mr->spec = {.pd = pd,
                .address = reinterpret_cast<std::uintptr_t>(address),
                .length = length,
                .iova = iova,
                .access = flags};
    auto registration = enregister(context, mr->spec);
    if (!registration) {
        fail(context, "reg_mr", registration.error());
        return nullptr;
    }
    mr->registration = std::move(*registration);
    mr->base.mr_type = verbs_abi::MrType::mr;
    publish(*mr);
    return &mr.release()->base.mr;
}

ibv_mr* reg_dmabuf_mr(ibv_pd*, std::uint64_t, std::size_t, std::uint64_t, int, int) {
    // Also for a descriptor of -1, with which NCCL and UCX ask whether the verb exists: they take
    // EBADF for a yes, and would register the GPU's memory instead of copying it to the host's.
    fail("reg_dmabuf_mr", EOPNOTSUPP, "device memory is not supported");
    return nullptr;
}

int rereg_mr(verbs_abi::VerbsMr* vmr, int signed_flags, ibv_pd* pd, void* address,
             std::size_t length, int access) {
    Mr& mr = *reinterpret_cast<Mr*>(vmr);
    Context& context = Context::of(mr.base.mr.context);
    const auto flags = static_cast<std::uint32_t>(signed_flags);
    if (context.abandoned) {
        return fail("rereg_mr", EIO, "a child after fork cannot use its parent's device");
    }
    MrSpec spec = mr.spec;
    if ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) != 0) {
        spec.address = reinterpret_cast<std::uintptr_t>(address);
        spec.length = length;
        spec.iova = spec.address;
    }
    if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) {
        spec.pd = pd;
    }
    if ((flags & IBV_REREG_MR_CHANGE_ACCESS) != 0) {
        spec.access = static_cast<std::uint32_t>(access);
    }
    const int error = check_access(context, spec.access);
    if (error != 0) {
        return fail("rereg_mr", error,
                    "access flags unknown, unsupported, or remote write without local");
    }
    auto fresh = enregister(context, spec);
    if (!fresh) {
        return fail(context, "rereg_mr", fresh.error());
    }
    const auto dropped = deregister(context, mr.registration);
    if (!dropped) {
        [[maybe_unused]] const auto undone = deregister(context, *fresh);
        return fail(context, "rereg_mr", dropped.error());
    }
    mr.spec = spec;
    mr.registration = std::move(*fresh);
    publish(mr);
    return 0;
}

int dereg_mr(verbs_abi::VerbsMr* vmr) {
    Mr* mr = reinterpret_cast<Mr*>(vmr);
    Context& context = Context::of(mr->base.mr.context);
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    const auto done = deregister(context, mr->registration);
    if (!done) {
        return fail(context, "dereg_mr", done.error());
    }
    delete mr;
    return 0;
}

}  // namespace vrdma::verbs
