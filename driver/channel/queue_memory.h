// Memory for queues, shared with the device.
//
// Threading: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <tl/expected.hpp>
#include <vector>

#include "driver/channel/channel.h"
#include "driver/channel/shared_memory.h"

namespace vrdma::driver {

// One block: zeroed, aligned to 64 bytes, and where the device finds it.
struct QueueBlock {
    std::byte* data = nullptr;
    std::size_t size = 0;
    vrdma_queue_memory location{};

    template <typename T>
    [[nodiscard]] T* at(std::size_t offset) const {
        return reinterpret_cast<T*>(data + offset);
    }
};

class QueueMemory {
  public:
    static constexpr std::size_t kAlignment = 64;          // struct vrdma_queue_memory
    static constexpr std::size_t kSlabBytes = 2UL << 20U;  // a queue above half of it has its own

    explicit QueueMemory(Channel& channel) : channel_(channel) {}
    QueueMemory(const QueueMemory&) = delete;
    QueueMemory& operator=(const QueueMemory&) = delete;

    // Errors: ENOMEM; what ADD_REGION was refused with. Nothing changed then.
    [[nodiscard]] tl::expected<QueueBlock, CommandError> allocate(std::size_t bytes);
    // The device must have let go of the queue in it.
    void free(const QueueBlock& block);

    // For fork: a child must not see a half-changed list.
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }
    // In the child, between lock() and unlock(): see SharedMemory::abandon.
    void abandon() const;

    [[nodiscard]] std::size_t slab_count();

  private:
    struct FreeRange {
        std::size_t offset;
        std::size_t size;
    };
    struct Slab {
        SharedMemory memory;
        std::uint32_t region = 0;
        std::size_t used_up_to = 0;   // no byte from here on was ever handed out: still zero
        std::vector<FreeRange> free;  // by offset, never adjacent

        [[nodiscard]] bool empty() const {
            return free.size() == 1 && free.front().size == memory.size();
        }
    };

    [[nodiscard]] tl::expected<Slab*, CommandError> add_slab(std::size_t bytes);
    [[nodiscard]] static bool take(Slab& slab, std::size_t bytes, QueueBlock& block);
    static void give_back(Slab& slab, FreeRange range);
    void remove_slab_if_spare(const Slab& slab);

    std::mutex mutex_;
    Channel& channel_;
    std::vector<std::unique_ptr<Slab>> slabs_;
};

}  // namespace vrdma::driver
