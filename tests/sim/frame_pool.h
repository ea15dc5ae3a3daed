// Frames in flight, counted: a link that duplicates and a receiver that holds share one frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/build.h"

namespace vrdma::sim {

using FrameIndex = uint32_t;

struct Frame {
    static constexpr size_t kCapacity = 4352;
    static_assert(kCapacity >=
                  wire::kEthernetBytes + wire::kMaxOverheadV6 + wire::kMaxPayloadBytes);

    uint32_t length = 0;
    uint32_t references = 0;
    std::array<std::byte, kCapacity> bytes;

    [[nodiscard]] std::span<const std::byte> view() const { return {bytes.data(), length}; }
};

class FramePool {
  public:
    // With one reference.
    FrameIndex allocate() {
        if (free_.empty()) {
            const auto first = static_cast<FrameIndex>(chunks_.size() * kChunkFrames);
            chunks_.push_back(std::make_unique_for_overwrite<Frame[]>(kChunkFrames));
            for (FrameIndex i = kChunkFrames; i-- > 0;) {
                chunks_.back()[i].references = 0;
                free_.push_back(first + i);
            }
        }
        const FrameIndex index = free_.back();
        free_.pop_back();
        at(index).references = 1;
        ++live_;
        return index;
    }
    void retain(FrameIndex index) {
        VR_CHECK(at(index).references > 0);
        ++at(index).references;
    }
    // False: nobody had it.
    bool release(FrameIndex index) {
        if (index >= chunks_.size() * kChunkFrames || at(index).references == 0) {
            return false;
        }
        if (--at(index).references == 0) {
            free_.push_back(index);
            --live_;
        }
        return true;
    }
    [[nodiscard]] Frame& at(FrameIndex index) {
        return chunks_[index / kChunkFrames][index % kChunkFrames];
    }
    [[nodiscard]] bool valid(FrameIndex index) {
        return index < chunks_.size() * kChunkFrames && at(index).references > 0;
    }
    [[nodiscard]] size_t live() const { return live_; }

  private:
    static constexpr FrameIndex kChunkFrames = 64;
    std::vector<std::unique_ptr<Frame[]>> chunks_;
    std::vector<FrameIndex> free_;
    size_t live_ = 0;
};

}  // namespace vrdma::sim
