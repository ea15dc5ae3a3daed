// An object's dynamic section leads to its relocations; each relocation against a function's symbol
// names a slot of the global offset table, and redirecting the function is overwriting the slot.
// What is easy to get wrong, and what is done about it:
//  * an object linked with -z now has the slots in PT_GNU_RELRO, which ld.so has made read-only:
//  the
//    pages are made writable and read-only again. A lazily bound one has them in plain .got.plt,
//    which must stay writable for ld.so, so pages outside RELRO are left alone;
//  * in a lazily bound object a slot that nobody used yet holds the address of the object's own
//  PLT.
//    Calling that as "the real function" would resolve the slot and undo the hook, so the function
//    is looked up by name instead.
#include "verbs/libibverbs_abi/import_slots.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <span>

// NOLINTBEGIN(performance-no-int-to-ptr): this file computes addresses inside a loaded object.
namespace vrdma::verbs_abi {
namespace {

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

ObjectRanges ranges_of(const link_map* object) {
    ObjectRanges ranges;
    ranges.dynamic = object->l_ld;
    dl_iterate_phdr(find_ranges, &ranges);
    return ranges;
}

void collect_slots(const link_map* object, const Imports& imports,
                   std::span<const ElfW(Rela)> relocations, std::string_view name,
                   std::vector<void**>& found) {
    for (const ElfW(Rela) & relocation : relocations) {
        const auto type = ELF64_R_TYPE(relocation.r_info);
        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) {
            continue;
        }
        const ElfW(Sym)& symbol = imports.symbols[ELF64_R_SYM(relocation.r_info)];
        if (name == imports.strings + symbol.st_name) {
            found.push_back(reinterpret_cast<void**>(object->l_addr + relocation.r_offset));
        }
    }
}

bool in_relro(const ObjectRanges& ranges, void** slot) {
    const auto address = reinterpret_cast<std::uintptr_t>(slot);
    return address >= ranges.relro_begin && address < ranges.relro_end;
}

bool protect_relro(const ObjectRanges& ranges, int protection) {
    return mprotect(reinterpret_cast<void*>(ranges.relro_begin),
                    ranges.relro_end - ranges.relro_begin, protection) == 0;
}

}  // namespace

ImportSlots::ImportSlots(const link_map* object) : object_(object) {
    if (object != nullptr) {
        const Imports imports = imports_of(object);
        readable_ = imports.symbols != nullptr && imports.strings != nullptr;
    }
}

// One for calls, perhaps one for its address.
std::vector<void**> ImportSlots::slots_of(std::string_view name) const {
    std::vector<void**> found;
    if (readable_) {
        const Imports imports = imports_of(object_);
        collect_slots(object_, imports, imports.jump_slots, name, found);
        collect_slots(object_, imports, imports.rela, name, found);
    }
    return found;
}

void* ImportSlots::plan(const char* name, void* replacement) {
    const std::vector<void**> slots = slots_of(name);
    if (slots.empty()) {
        return nullptr;
    }
    void* target = *slots.front();
    const auto address = reinterpret_cast<std::uintptr_t>(target);
    const ObjectRanges ranges = ranges_of(object_);
    if (address >= ranges.text_begin && address < ranges.text_end) {
        target = dlsym(RTLD_DEFAULT, name);
    }
    if (target != nullptr) {
        for (void** slot : slots) {
            planned_.push_back({slot, replacement});
        }
    }
    return target;
}

bool ImportSlots::redirect() {
    const ObjectRanges ranges = ranges_of(object_);
    const bool unlock = std::ranges::any_of(
        planned_, [&](const Planned& planned) { return in_relro(ranges, planned.slot); });
    if (unlock && !protect_relro(ranges, PROT_READ | PROT_WRITE)) {
        return false;
    }
    for (const Planned& planned : planned_) {
        __atomic_store_n(planned.slot, planned.replacement, __ATOMIC_RELEASE);
    }
    return !unlock || protect_relro(ranges, PROT_READ);
}

}  // namespace vrdma::verbs_abi
// NOLINTEND(performance-no-int-to-ptr)
