// The state arena: one block of memory that holds everything a restart must find again.
//
// It is a bump allocator over memory that somebody else owns (a memfd, or a heap block in tests).
// What lives in it is trivially copyable and refers to other things by index, never by pointer, so
// that the block can be mapped at another address by the next process. Memory that was never
// touched costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "dataplane/base/check.h"

namespace vrdma {

class Arena {
  public:
    // `base` is zeroed memory of `size` bytes, aligned to 64, that outlives the arena.
    Arena(std::byte* base, size_t size) : base_(base), size_(size) {}

    // An array of `count` zeroed T, aligned to a cache line. Running out is our bug: the caller
    // computed the size with bytes_for().
    template <class T>
    [[nodiscard]] T* array(size_t count) {
        static_assert(std::is_trivially_copyable_v<T>, "arena state must survive a re-map");
        const size_t bytes = bytes_for<T>(count);
        VR_CHECK(bytes <= size_ - used_);
        T* result = reinterpret_cast<T*>(base_ + used_);
        used_ += bytes;
        return result;
    }

    template <class T>
    [[nodiscard]] static constexpr size_t bytes_for(size_t count) {
        return (count * sizeof(T) + kLine - 1) / kLine * kLine;
    }

    [[nodiscard]] size_t used() const { return used_; }
    [[nodiscard]] size_t size() const { return size_; }

  private:
    static constexpr size_t kLine = 64;
    std::byte* base_;
    size_t size_;
    size_t used_ = 0;
};

}  // namespace vrdma
