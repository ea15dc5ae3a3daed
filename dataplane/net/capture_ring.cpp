// Positions count bytes and never fall: head and tail are 64 bits, so that their difference is what
// is used. A record is its description and its bytes, padded so that the next description is
// aligned; both may wrap around the end of the memory.
#include "dataplane/net/capture_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/port/packet_port.h"

namespace vrdma::net {
namespace {

constexpr size_t kAlignment = 8;

constexpr size_t record_bytes(size_t captured) {
    return sizeof(CaptureRecord) + (captured + kAlignment - 1) / kAlignment * kAlignment;
}
static_assert(record_bytes(kMaxFrameBytes) < CaptureRing::kLeastBytes);
static_assert(sizeof(CaptureRecord) % kAlignment == 0);

}  // namespace

CaptureRing::CaptureRing(std::span<std::byte> memory) : memory_(memory) {
    VR_CHECK(std::has_single_bit(memory.size()) && memory.size() >= kLeastBytes);
}

bool CaptureRing::stage(const CaptureRecord& record, const std::byte* bytes) {
    const size_t need = record_bytes(record.captured);
    if (memory_.size() - (staged_ - cached_head_) < need) {
        cached_head_ = head_.load(std::memory_order_acquire);
        if (memory_.size() - (staged_ - cached_head_) < need) {
            return false;
        }
    }
    write(staged_, &record, sizeof record);
    write(staged_ + sizeof record, bytes, record.captured);
    staged_ += need;
    return true;
}

void CaptureRing::publish(uint64_t position) {
    VR_CHECK(position <= staged_);
    staged_ = position;
    tail_.store(position, std::memory_order_release);
}

bool CaptureRing::peek(CaptureRecord& record) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) {
        return false;
    }
    read(head, &record, sizeof record);
    return true;
}

void CaptureRing::take(std::span<std::byte> bytes) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    CaptureRecord record;
    VR_CHECK(peek(record) && bytes.size() == record.captured);
    read(head + sizeof record, bytes.data(), bytes.size());
    head_.store(head + record_bytes(bytes.size()), std::memory_order_release);
}

void CaptureRing::write(uint64_t position, const void* from, size_t bytes) {
    const size_t at = position & (memory_.size() - 1);
    const size_t first = std::min(bytes, memory_.size() - at);
    std::memcpy(memory_.data() + at, from, first);
    std::memcpy(memory_.data(), static_cast<const std::byte*>(from) + first, bytes - first);
}

void CaptureRing::read(uint64_t position, void* into, size_t bytes) const {
    const size_t at = position & (memory_.size() - 1);
    const size_t first = std::min(bytes, memory_.size() - at);
    std::memcpy(into, memory_.data() + at, first);
    std::memcpy(static_cast<std::byte*>(into) + first, memory_.data(), bytes - first);
}

}  // namespace vrdma::net
