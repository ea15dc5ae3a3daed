// NCCL's own transports are data objects with local symbols: they stand in .symtab, which the
// loader does not map, so the file is read. PyPI's and the CUDA packages' libraries have that
// table; one that was stripped has not, and then there is no way: a table of functions looks like
// any other.
#include "tests/interop/nccl/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tools/verbs_util/unique_fd.h"

namespace vrdma::nccl_net {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

// The string that starts there; empty when it does not end within the table.
std::string_view text_at(std::span<const std::byte> strings, std::uint64_t offset) {
    if (offset >= strings.size()) {
        return {};
    }
    const auto rest = strings.subspan(offset);
    const auto end = std::ranges::find(rest, std::byte{0});
    if (end == rest.end()) {
        return {};
    }
    return {reinterpret_cast<const char*>(rest.data()),
            static_cast<std::size_t>(end - rest.begin())};
}

}  // namespace

Result<ElfFile> ElfFile::open(const std::string& path) {
    const verbs_util::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || fstat(fd.get(), &status) != 0) {
        return fail_errno(ErrorKind::kUsage, "cannot read " + path, errno, "check the path");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    void* mapped =
        size == 0 ? MAP_FAILED : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapped == MAP_FAILED) {
        return fail(ErrorKind::kUsage, "cannot map " + path, "give the path of a library");
    }
    ElfFile file(std::span(static_cast<const std::byte*>(mapped), size));
    constexpr std::array<unsigned char, 6> kStart = {ELFMAG0, ELFMAG1,    ELFMAG2,
                                                     ELFMAG3, ELFCLASS64, ELFDATA2LSB};
    if (size < sizeof(Elf64_Ehdr) || std::memcmp(mapped, kStart.data(), kStart.size()) != 0) {
        return fail(ErrorKind::kUsage, path + " is not a 64-bit little-endian ELF file",
                    "give the path of a library");
    }
    return file;
}

ElfFile::~ElfFile() {
    if (!bytes_.empty()) {
        munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }
}

ElfFile::ElfFile(ElfFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

std::span<const std::byte> ElfFile::part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
        return {};
    }
    return bytes_.subspan(offset, size);
}

template <typename T>
std::optional<T> ElfFile::at(std::uint64_t offset) const {
    const auto bytes = part(offset, sizeof(T));
    if (bytes.empty()) {
        return std::nullopt;
    }
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

std::uint32_t ElfFile::section_count() const {
    const auto header = at<Elf64_Ehdr>(0);
    return header && header->e_shentsize == sizeof(Elf64_Shdr) ? header->e_shnum : 0U;
}

std::optional<ElfFile::Section> ElfFile::section(std::uint32_t index) const {
    if (index >= section_count()) {
        return std::nullopt;
    }
    const auto header = at<Elf64_Ehdr>(0);
    const auto entry = at<Elf64_Shdr>(header->e_shoff + index * sizeof(Elf64_Shdr));
    const auto names = at<Elf64_Shdr>(header->e_shoff + header->e_shstrndx * sizeof(Elf64_Shdr));
    if (!entry || !names) {
        return std::nullopt;
    }
    Section section{.type = entry->sh_type,
                    .link = entry->sh_link,
                    .name = text_at(part(names->sh_offset, names->sh_size), entry->sh_name),
                    .bytes = {}};
    if (entry->sh_type != SHT_NOBITS) {
        section.bytes = part(entry->sh_offset, entry->sh_size);
    }
    return section;
}

std::optional<ElfFile::Section> ElfFile::section_of_type(std::uint32_t type) const {
    for (std::uint32_t index = 0; index < section_count(); ++index) {
        if (auto found = section(index); found && found->type == type) {
            return found;
        }
    }
    return std::nullopt;
}

bool ElfFile::has_symbol_table() const {
    return section_of_type(SHT_SYMTAB).has_value();
}

std::optional<Symbol> ElfFile::find_in(const Section& table, std::string_view name) const {
    const auto strings = section(table.link);
    if (!strings) {
        return std::nullopt;
    }
    for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= table.bytes.size();
         at += sizeof(Elf64_Sym)) {
        Elf64_Sym entry{};
        std::memcpy(&entry, table.bytes.data() + at, sizeof entry);
        if (entry.st_shndx != SHN_UNDEF && text_at(strings->bytes, entry.st_name) == name) {
            return Symbol{.address = entry.st_value, .size = entry.st_size};
        }
    }
    return std::nullopt;
}

std::optional<Symbol> ElfFile::symbol(std::string_view name) const {
    for (const std::uint32_t type : {std::uint32_t{SHT_SYMTAB}, std::uint32_t{SHT_DYNSYM}}) {
        const auto table = section_of_type(type);
        const auto found = table ? find_in(*table, name) : std::nullopt;
        if (found) {
            return found;
        }
    }
    return std::nullopt;
}

bool ElfFile::constants_contain(std::string_view bytes) const {
    for (std::uint32_t index = 0; index < section_count(); ++index) {
        const auto found = section(index);
        if (found && found->name.starts_with(".rodata")) {
            const std::string_view text(reinterpret_cast<const char*>(found->bytes.data()),
                                        found->bytes.size());
            if (text.find(bytes) != std::string_view::npos) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace vrdma::nccl_net
