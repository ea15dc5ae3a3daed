#pragma once

// Memory of a chosen kind for transfers. The kind matters because a software device reaches shared
// mappings, private pages and heap memory in different ways, at different cost.

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "tools/verbs_util/error.h"

namespace vrdma::verbs_util {

enum class MemoryKind : unsigned char {
    kMalloc,   ///< heap, aligned to a cache line only: shares its first and last page with others
    kMmap,     ///< private anonymous pages
    kMemfd,    ///< shared mapping of a memfd
    kHugetlb,  ///< shared mapping of a memfd with 2 MiB huge pages
};

[[nodiscard]] std::string_view memory_kind_name(MemoryKind kind);
[[nodiscard]] std::optional<MemoryKind> memory_kind_from(std::string_view name);

class Buffer {
  public:
    /// Zero-filled and touched, so that no page fault falls into a measurement.
    [[nodiscard]] static Result<Buffer> allocate(MemoryKind kind, std::size_t bytes);

    Buffer() = default;
    ~Buffer();
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    void release();

    MemoryKind kind_ = MemoryKind::kMalloc;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t mapped_ = 0;
};

}  // namespace vrdma::verbs_util
