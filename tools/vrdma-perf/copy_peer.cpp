#include "tools/vrdma-perf/copy_peer.h"

#include <immintrin.h>

#include <algorithm>

// The copy limit. Non-temporal stores because for data that is in no cache they save reading the
// destination first; blocks of 1 MiB because that is the size streaming is measured with. 16-byte
// stores fill the write-combining buffers as well as wider ones do and need no CPU detection.

namespace vrdma::perf {

namespace {
constexpr std::uint64_t kLeastBytes = std::uint64_t{128} << 20;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kTimesCache = 4;
constexpr std::size_t kLine = 64;
}  // namespace

void copy_non_temporal(void* to, const void* from, std::size_t bytes) {
    auto* out = static_cast<__m128i*>(to);
    const auto* in = static_cast<const __m128i*>(from);
    for (std::size_t line = 0; line < bytes / kLine; ++line, in += 4, out += 4) {
        const __m128i a = _mm_load_si128(in);
        const __m128i b = _mm_load_si128(in + 1);
        const __m128i c = _mm_load_si128(in + 2);
        const __m128i d = _mm_load_si128(in + 3);
        _mm_stream_si128(out, a);
        _mm_stream_si128(out + 1, b);
        _mm_stream_si128(out + 2, c);
        _mm_stream_si128(out + 3, d);
    }
    _mm_sfence();
}

verbs_util::Result<CopyPeer> CopyPeer::create(std::uint64_t cache_bytes) {
    const std::uint64_t bytes =
        std::clamp(cache_bytes * kTimesCache, kLeastBytes, kMostBytes) / kBlock * kBlock;
    CopyPeer peer;
    auto source = verbs_util::Buffer::allocate(verbs_util::MemoryKind::kMmap, bytes);
    auto target = verbs_util::Buffer::allocate(verbs_util::MemoryKind::kMmap, bytes);
    if (!source || !target) {
        return tl::make_unexpected(source ? target.error() : source.error());
    }
    peer.source_ = std::move(*source);
    peer.target_ = std::move(*target);
    peer.blocks_ = bytes / kBlock;
    return peer;
}

verbs_util::Result<RunResult> CopyPeer::measure(const Budget& budget) {
    RunResult result;
    const std::uint64_t start = verbs_util::Tsc::now();
    std::uint64_t now = start;
    while ((budget.operations == 0 || result.operations < budget.operations) &&
           (budget.ticks == 0 || now - start < budget.ticks)) {
        copy_non_temporal(target_.data() + next_ * kBlock, source_.data() + next_ * kBlock, kBlock);
        next_ = next_ + 1 == blocks_ ? 0 : next_ + 1;
        ++result.operations;
        now = verbs_util::Tsc::now();
    }
    result.ticks = now - start;
    return result;
}

}  // namespace vrdma::perf
