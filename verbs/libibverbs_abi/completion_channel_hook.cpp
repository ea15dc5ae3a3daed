// Redirects two imports of one shared object. The object's dynamic section leads to its
// relocations; each relocation against the symbol `write` or `ioctl` names a slot of the global
// offset table, and the slot is overwritten. What is easy to get wrong, and what is done about it:
//  * an object linked with -z now has the slots in PT_GNU_RELRO, which ld.so has made read-only:
//  the
//    pages are made writable and read-only again. A lazily bound one has them in plain .got.plt,
//    which must stay writable for ld.so, so pages outside RELRO are left alone;
//  * in a lazily bound object a slot that nobody used yet holds the address of the object's own
//  PLT.
//    Calling that as "the real write" would resolve the slot and undo the hook, so the function is
//    looked up by name instead;
//  * libibverbs only writes to and ioctls on cmd_fds, but the same slots serve the real devices of
//  a
//    host, so a foreign descriptor costs one scan of the slots in use and no lock. Atomics and no
//    mutex also mean that a child forked in the middle of a call is not left with a held lock.
//
// State: the two real functions, the callback, and the table of our descriptors, for one object:
// each copy of the provider is loaded by exactly one libibverbs. Nothing is ever unhooked; the
// provider is linked with -z nodelete.
#include "verbs/libibverbs_abi/completion_channel_hook.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <rdma/ib_user_verbs.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <span>
#include <string_view>

// NOLINTBEGIN(performance-no-int-to-ptr): this file computes addresses inside a loaded object.
namespace vrdma::verbs_abi {
namespace {

using WriteFunction = ssize_t (*)(int, const void*, std::size_t);
using IoctlFunction = int (*)(int, unsigned long, ...);

constexpr int kNoFd = -1;

struct CommandFd {
    std::atomic<int> fd{kNoFd};
    std::atomic<ibv_context*> context{nullptr};
};

std::array<CommandFd, kMaxCommandFds> command_fds;
std::atomic<std::size_t> command_fds_used{0};  // slots beyond this index were never taken
std::atomic<WriteFunction> real_write{nullptr};
std::atomic<IoctlFunction> real_ioctl{nullptr};
std::atomic<CreateChannel> create_channel_callback{nullptr};

CommandFd* find_command_fd(int fd) {
    if (fd < 0) {
        return nullptr;
    }
    const std::size_t used = command_fds_used.load(std::memory_order_acquire);
    for (CommandFd& entry : std::span(command_fds).first(used)) {
        if (entry.fd.load(std::memory_order_acquire) == fd) {
            return &entry;
        }
    }
    return nullptr;
}

// What ibv_create_comp_channel writes (IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL,
// rdma/ib_user_verbs.h).
struct CreateCompChannelRequest {
    ib_uverbs_cmd_hdr header;
    ib_uverbs_create_comp_channel command;
};
static_assert(sizeof(CreateCompChannelRequest) == 16);

ssize_t answer_command(CommandFd& entry, const void* data, std::size_t size) {
    CreateCompChannelRequest request{};
    if (size != sizeof request) {
        errno = EOPNOTSUPP;
        return -1;
    }
    std::memcpy(&request, data, sizeof request);
    if (request.header.command != IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL) {
        errno = EOPNOTSUPP;
        return -1;
    }
    ibv_context* context = entry.context.load(std::memory_order_acquire);
    if (context == nullptr) {
        errno = EAGAIN;
        return -1;
    }
    const int fd = create_channel_callback.load(std::memory_order_acquire)(context);
    if (fd < 0) {
        return -1;
    }
    ib_uverbs_create_comp_channel_resp response{};
    response.fd = static_cast<__u32>(fd);
    std::memcpy(reinterpret_cast<void*>(request.command.response), &response, sizeof response);
    return static_cast<ssize_t>(size);
}

ssize_t hooked_write(int fd, const void* data, std::size_t size) {
    CommandFd* entry = find_command_fd(fd);
    if (entry == nullptr) {
        return real_write.load(std::memory_order_acquire)(fd, data, size);
    }
    return answer_command(*entry, data, size);
}

int hooked_ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void* argument = va_arg(arguments, void*);
    va_end(arguments);
    if (find_command_fd(fd) == nullptr) {
        return real_ioctl.load(std::memory_order_acquire)(fd, request, argument);
    }
    errno = ENOTTY;
    return -1;
}

// The parts of a loaded object's dynamic section that lead to its imports.
struct Imports {
    const ElfW(Sym) * symbols = nullptr;
    const char* strings = nullptr;
    std::span<const ElfW(Rela)> rela;
    std::span<const ElfW(Rela)> jump_slots;
};

Imports imports_of(const link_map* object) {
    Imports imports;
    std::uintptr_t rela = 0;
    std::uintptr_t jump_slots = 0;
    std::size_t rela_bytes = 0;
    std::size_t jump_slot_bytes = 0;
    for (const ElfW(Dyn)* entry = object->l_ld; entry->d_tag != DT_NULL; ++entry) {
        // glibc has relocated these addresses in place; other C libraries leave them as in the
        // file.
        const std::uintptr_t address = entry->d_un.d_ptr < object->l_addr
                                           ? entry->d_un.d_ptr + object->l_addr
                                           : entry->d_un.d_ptr;
        switch (entry->d_tag) {
            case DT_SYMTAB:
                imports.symbols = reinterpret_cast<const ElfW(Sym)*>(address);
                break;
            case DT_STRTAB:
                imports.strings = reinterpret_cast<const char*>(address);
                break;
            case DT_RELA:
                rela = address;
                break;
            case DT_RELASZ:
                rela_bytes = entry->d_un.d_val;
                break;
            case DT_JMPREL:
                jump_slots = address;
                break;
            case DT_PLTRELSZ:
                jump_slot_bytes = entry->d_un.d_val;
                break;
            default:
                break;
        }
    }
    imports.rela = {reinterpret_cast<const ElfW(Rela)*>(rela), rela_bytes / sizeof(ElfW(Rela))};
    imports.jump_slots = {reinterpret_cast<const ElfW(Rela)*>(jump_slots),
                          jump_slot_bytes / sizeof(ElfW(Rela))};
    return imports;
}

// Where an object lies in memory, as far as it matters here.
struct ObjectRanges {
    const ElfW(Dyn) * dynamic = nullptr;  // in: which object
    std::uintptr_t relro_begin = 0;       // pages ld.so has made read-only
    std::uintptr_t relro_end = 0;
    std::uintptr_t text_begin = 0;
    std::uintptr_t text_end = 0;
};

int find_ranges(dl_phdr_info* info, std::size_t, void* data) {
    auto& ranges = *static_cast<ObjectRanges*>(data);
    const std::span headers(info->dlpi_phdr, info->dlpi_phnum);
    const bool ours = std::ranges::any_of(headers, [&](const ElfW(Phdr) & header) {
        return header.p_type == PT_DYNAMIC &&
               info->dlpi_addr + header.p_vaddr == reinterpret_cast<std::uintptr_t>(ranges.dynamic);
    });
    if (!ours) {
        return 0;
    }
    const std::uintptr_t page_mask = ~(static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE)) - 1);
    for (const ElfW(Phdr) & header : headers) {
        const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
        const std::uintptr_t end = begin + header.p_memsz;
        if (header.p_type == PT_GNU_RELRO) {
            ranges.relro_begin = begin & page_mask;
            ranges.relro_end = end & page_mask;
        } else if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0) {
            ranges.text_begin = begin;
            ranges.text_end = end;
        }
    }
    return 1;
}

// The slots of one imported function: one for calls, perhaps one for its address.
struct ImportSlots {
    static constexpr std::size_t kMaxSlots = 4;
    std::array<void**, kMaxSlots> slots{};
    std::size_t count = 0;
};

void collect_slots(const link_map* object, const Imports& imports,
                   std::span<const ElfW(Rela)> relocations, std::string_view name,
                   ImportSlots& found) {
    for (const ElfW(Rela) & relocation : relocations) {
        const auto type = ELF64_R_TYPE(relocation.r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) {
            continue;
        }
        const ElfW(Sym)& symbol = imports.symbols[ELF64_R_SYM(relocation.r_info)];
        if (name == imports.strings + symbol.st_name && found.count < ImportSlots::kMaxSlots) {
            found.slots[found.count] =
                reinterpret_cast<void**>(object->l_addr + relocation.r_offset);
            ++found.count;
        }
    }
}

ImportSlots slots_of(const link_map* object, const Imports& imports, std::string_view name) {
    ImportSlots found;
    collect_slots(object, imports, imports.jump_slots, name, found);
    collect_slots(object, imports, imports.rela, name, found);
    return found;
}

// The function a slot leads to, also when it was never called in a lazily bound object.
void* function_behind(const ImportSlots& slots, const ObjectRanges& ranges, const char* name) {
    void* target = *slots.slots[0];
    const auto address = reinterpret_cast<std::uintptr_t>(target);
    if (address >= ranges.text_begin && address < ranges.text_end) {
        return dlsym(RTLD_DEFAULT, name);
    }
    return target;
}

bool in_relro(const ObjectRanges& ranges, void** slot) {
    const auto address = reinterpret_cast<std::uintptr_t>(slot);
    return address >= ranges.relro_begin && address < ranges.relro_end;
}

bool protect_relro(const ObjectRanges& ranges, int protection) {
    return mprotect(reinterpret_cast<void*>(ranges.relro_begin),
                    ranges.relro_end - ranges.relro_begin, protection) == 0;
}

bool redirect(const ObjectRanges& ranges, const ImportSlots& writes, const ImportSlots& ioctls) {
    const std::span write_slots(writes.slots.data(), writes.count);
    const std::span ioctl_slots(ioctls.slots.data(), ioctls.count);
    const auto read_only = [&](void** slot) { return in_relro(ranges, slot); };
    const bool unlock =
        std::ranges::any_of(write_slots, read_only) || std::ranges::any_of(ioctl_slots, read_only);
    if (unlock && !protect_relro(ranges, PROT_READ | PROT_WRITE)) {
        return false;
    }
    for (void** slot : write_slots) {
        __atomic_store_n(slot, reinterpret_cast<void*>(&hooked_write), __ATOMIC_RELEASE);
    }
    for (void** slot : ioctl_slots) {
        __atomic_store_n(slot, reinterpret_cast<void*>(&hooked_ioctl), __ATOMIC_RELEASE);
    }
    return !unlock || protect_relro(ranges, PROT_READ);
}

}  // namespace

tl::expected<void, HookError> install_hook(link_map* object, CreateChannel create_channel) {
    if (create_channel_callback.load(std::memory_order_acquire) != nullptr) {
        return tl::unexpected(HookError::already_hooked);
    }
    const Imports imports = object == nullptr ? Imports{} : imports_of(object);
    if (imports.symbols == nullptr || imports.strings == nullptr) {
        return tl::unexpected(HookError::no_relocations);
    }
    const ImportSlots writes = slots_of(object, imports, "write");
    const ImportSlots ioctls = slots_of(object, imports, "ioctl");
    if (writes.count == 0) {
        return tl::unexpected(HookError::write_not_found);
    }
    ObjectRanges ranges;
    ranges.dynamic = object->l_ld;
    dl_iterate_phdr(find_ranges, &ranges);

    void* write_function = function_behind(writes, ranges, "write");
    void* ioctl_function = ioctls.count == 0 ? nullptr : function_behind(ioctls, ranges, "ioctl");
    if (write_function == nullptr || (ioctls.count != 0 && ioctl_function == nullptr)) {
        return tl::unexpected(HookError::not_resolved);
    }
    real_write.store(reinterpret_cast<WriteFunction>(write_function), std::memory_order_release);
    real_ioctl.store(reinterpret_cast<IoctlFunction>(ioctl_function), std::memory_order_release);
    create_channel_callback.store(create_channel, std::memory_order_release);
    if (!redirect(ranges, writes, ioctls)) {
        create_channel_callback.store(nullptr, std::memory_order_release);
        return tl::unexpected(HookError::not_writable);
    }
    return {};
}

bool add_command_fd(int fd) {
    for (std::size_t i = 0; i < command_fds.size(); ++i) {
        int expected = kNoFd;
        if (!command_fds[i].fd.compare_exchange_strong(expected, fd, std::memory_order_acq_rel)) {
            continue;
        }
        command_fds[i].context.store(nullptr, std::memory_order_release);
        std::size_t used = command_fds_used.load(std::memory_order_acquire);
        while (used < i + 1 &&
               !command_fds_used.compare_exchange_weak(used, i + 1, std::memory_order_acq_rel)) {
        }
        return true;
    }
    return false;
}

void set_command_context(int fd, ibv_context* context) {
    CommandFd* entry = find_command_fd(fd);
    if (entry != nullptr) {
        entry->context.store(context, std::memory_order_release);
    }
}

void remove_command_fd(int fd) {
    CommandFd* entry = find_command_fd(fd);
    if (entry != nullptr) {
        entry->context.store(nullptr, std::memory_order_release);
        entry->fd.store(kNoFd, std::memory_order_release);
    }
}

}  // namespace vrdma::verbs_abi
// NOLINTEND(performance-no-int-to-ptr)
