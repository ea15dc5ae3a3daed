#pragma once

// Two connected RC queue pairs of this process with memory on both sides.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tests/e2e/last_byte_poll/cell.h"
#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::last_byte {

struct RigOptions {
    std::string device;
    std::string peer_device;  ///< empty: the same
    bool separate_contexts = false;
    int gid_index = -1;
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
};

class Rig {
  public:
    [[nodiscard]] static verbs_util::Result<std::unique_ptr<Rig>> create(const RigOptions& options);

    /// Where messages come from and go to; kSlotBytes * kSlots each.
    [[nodiscard]] std::byte* source() const { return source_.data(); }
    [[nodiscard]] std::byte* target() const { return target_.data(); }

    /// Starts the transfer of `bytes` from `from` to `to`.
    [[nodiscard]] verbs_util::Result<void> start(Path path, std::byte* from, std::byte* to,
                                                 std::uint32_t bytes);
    /// Waits for its completions.
    [[nodiscard]] verbs_util::Result<void> finish(Path path);

    [[nodiscard]] std::uint32_t max_inline() const { return poster_.qp.max_inline(); }
    [[nodiscard]] std::string device_names() const;
    /// What ibv_query_qp_data_in_order says about `path`.
    [[nodiscard]] std::string promised_order(Path path) const;

    static constexpr std::size_t kSlots = 5;
    static constexpr std::size_t kSlotBytes = kLargestMessage + 3 * 4096;

  private:
    /// One end. The poster posts; the other end only receives.
    struct End {
        std::shared_ptr<verbs_util::Device> device;
        verbs_util::Owned<ibv_pd> pd;
        verbs_util::Owned<ibv_mr> source;  ///< registered where messages come from,
        verbs_util::Owned<ibv_mr> target;  ///< and where they go to: READ turns the roles round
        verbs_util::CompletionQueue cq;
        verbs_util::QueuePair qp;
    };

    Rig() = default;
    [[nodiscard]] verbs_util::Result<void> set_up_end(End& end, std::uint32_t max_inline);
    [[nodiscard]] verbs_util::Result<void> wait_one(End& end, const char* what);

    verbs_util::Buffer source_;
    verbs_util::Buffer target_;
    End poster_;
    End other_;
};

}  // namespace vrdma::last_byte
