#pragma once

// Many queue pairs, memory regions and completion queues of one device, connected with as many of a
// partner.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::fault {

struct LinkOptions {
    std::uint32_t qps = 1;
    std::uint32_t mrs = 1;
    std::uint32_t cqs = 1;
    std::uint32_t size = 4096;  ///< of a message
    std::uint32_t window = 8;   ///< outstanding requests of a QP, and receives posted on it
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
    std::uint8_t timeout = 14;  ///< local ACK timeout code of the QPs
    std::uint8_t retry_count = 7;
};

[[nodiscard]] nlohmann::json to_json(const LinkOptions& options);
[[nodiscard]] verbs_util::Result<LinkOptions> link_options_from(const nlohmann::json& json);
/// Refuses numbers outside of what a test needs.
[[nodiscard]] verbs_util::Result<void> validate(const LinkOptions& options);

/// A memory region of the partner.
struct RemoteRegion {
    std::uint64_t address = 0;
    std::uint32_t rkey = 0;
};

class Link {
  public:
    [[nodiscard]] static verbs_util::Result<std::unique_ptr<Link>> create(
        std::shared_ptr<verbs_util::Device> device, const LinkOptions& options);

    /// For the partner.
    [[nodiscard]] nlohmann::json describe() const;
    [[nodiscard]] verbs_util::Result<void> connect(const nlohmann::json& partner);

    [[nodiscard]] const LinkOptions& options() const { return options_; }
    [[nodiscard]] const verbs_util::Device& device() const { return *device_; }
    [[nodiscard]] const verbs_util::QueuePair& qp(std::uint32_t index) const { return qps_[index]; }
    [[nodiscard]] std::vector<verbs_util::CompletionQueue>& cqs() { return cqs_; }
    [[nodiscard]] const ibv_mr& region(std::uint32_t index) const { return *mrs_[index]; }
    [[nodiscard]] const RemoteRegion& remote(std::uint32_t index) const { return remote_[index]; }
    /// Index of the QP with this number; the number of QPs when there is none.
    [[nodiscard]] std::uint32_t index_of(std::uint32_t qpn) const;

    /// A region holds a buffer for sending, one for receiving and one that the partner writes to
    /// and reads from.
    enum class Part : std::uint8_t { kSource, kReceive, kShared };
    [[nodiscard]] std::uint64_t offset_of(Part part) const;

  private:
    Link() = default;
    [[nodiscard]] verbs_util::Result<void> create_regions();
    [[nodiscard]] verbs_util::Result<void> create_queues();

    // Order of declaration is order of creation; destruction runs backwards.
    LinkOptions options_;
    std::shared_ptr<verbs_util::Device> device_;
    std::vector<verbs_util::Buffer> buffers_;
    verbs_util::Owned<ibv_pd> pd_;
    std::vector<verbs_util::Owned<ibv_mr>> mrs_;
    std::vector<verbs_util::CompletionQueue> cqs_;
    std::vector<verbs_util::QueuePair> qps_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> numbers_;  ///< (QPN, index), sorted
    std::vector<RemoteRegion> remote_;
};

}  // namespace vrdma::fault
