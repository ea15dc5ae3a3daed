// The core's ports to tenants, made of system calls that do not block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "dataplane/port/notifier.h"
#include "dataplane/port/process_memory.h"
#include "dataplane/port/reclaimer.h"

namespace vrdma::platform {

class SystemProcessMemory final : public ProcessMemory {
  public:
    [[nodiscard]] bool read(int file, uint64_t address, std::byte* to, size_t length) override;
    [[nodiscard]] bool write(int file, uint64_t address, const std::byte* from,
                             size_t length) override;
};

class SystemNotifier final : public Notifier {
  public:
    [[nodiscard]] bool completion(int channel_file, uint64_t cookie) override;
    [[nodiscard]] bool asynchronous(int event_file, const vrdma_event& event) override;
};

// Collects on the workers what the control thread gives back to the kernel.
class DeferredReclaimer final : public Reclaimer {
  public:
    void unmap(std::byte* base, uint64_t length) override;
    void close(int file) override;
    // Control thread.
    void reclaim();

  private:
    std::mutex mutex_;
    std::vector<std::byte*> mappings_;
    std::vector<int> files_;
};

}  // namespace vrdma::platform
