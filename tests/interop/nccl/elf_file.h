#pragma once

// Symbols of a shared library's file, also local ones, which dlsym() does not know.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tools/verbs_util/error.h"

namespace vrdma::nccl_net {

struct Symbol {
    std::uint64_t address = 0;  ///< relative to where the library is loaded
    std::uint64_t size = 0;
};

/// A 64-bit little-endian ELF file, mapped read-only while the object lives.
class ElfFile {
  public:
    [[nodiscard]] static verbs_util::Result<ElfFile> open(const std::string& path);
    ~ElfFile();
    ElfFile(ElfFile&& other) noexcept;
    ElfFile& operator=(ElfFile&&) = delete;
    ElfFile(const ElfFile&) = delete;
    ElfFile& operator=(const ElfFile&) = delete;

    /// From .symtab or, when there is none, .dynsym. Nothing when no defined symbol has that name.
    [[nodiscard]] std::optional<Symbol> symbol(std::string_view name) const;
    [[nodiscard]] bool has_symbol_table() const;
    /// Whether the read-only data has these bytes somewhere.
    [[nodiscard]] bool constants_contain(std::string_view bytes) const;

  private:
    explicit ElfFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

    struct Section {
        std::uint32_t type = 0;
        std::uint32_t link = 0;
        std::string_view name;
        std::span<const std::byte> bytes;
    };

    template <typename T>
    [[nodiscard]] std::optional<T> at(std::uint64_t offset) const;
    [[nodiscard]] std::span<const std::byte> part(std::uint64_t offset, std::uint64_t size) const;
    [[nodiscard]] std::optional<Section> section(std::uint32_t index) const;
    [[nodiscard]] std::uint32_t section_count() const;
    [[nodiscard]] std::optional<Section> section_of_type(std::uint32_t type) const;
    [[nodiscard]] std::optional<Symbol> find_in(const Section& table, std::string_view name) const;

    std::span<const std::byte> bytes_;
};

}  // namespace vrdma::nccl_net
