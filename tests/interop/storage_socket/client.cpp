// Everything about request n follows from the seed. A slot of memory belongs to one request at a
// time; between its segments are bytes that must stay as they were, whoever reads or writes.
#include "tests/interop/storage_socket/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tools/verbs_util/pattern.h"

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::mix;
using verbs_util::Pattern;
using verbs_util::Result;

namespace {

constexpr auto kUntouched = std::byte{0x5a};
constexpr std::uint32_t kMostPayload = 12 * 1024;
constexpr std::uint32_t kChecksEvery = 16;

// Mostly small, as control messages are.
std::uint32_t payload_bytes(std::uint64_t random) {
    return static_cast<std::uint32_t>(random % 4 == 0 ? random / 4 % kMostPayload
                                                      : random / 4 % 100);
}

}  // namespace

Result<void> Client::run(std::uint32_t requests) {
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        free_slots_.push_back(slot);
    }
    while (answered_ < requests) {
        while (asked_ < requests && !free_slots_.empty() &&
               socket_->state() == Socket::State::kReady) {
            if (auto done = ask(); !done) {
                return done;
            }
        }
        auto done = loop_->wait();
        done = done ? take_answers() : done;
        // What taking them has made possible: credits, and the next questions.
        done = done ? socket_->poll() : done;
        if (!done) {
            return done;
        }
        if (socket_->state() == Socket::State::kClosed) {
            return fail(ErrorKind::kPartner, "the server has closed the connection");
        }
    }
    return {};
}

std::vector<Segment> Client::choose_segments(std::size_t slot, std::uint64_t random) {
    std::vector<Segment> segments(random % kMostSegments + 1);
    const std::size_t share = kSlotBytes / segments.size();
    std::byte* at = memory_->data() + slot * kSlotBytes;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::uint64_t choice = mix(random + i);
        // Up to the share but for a byte, which nothing may touch.
        const std::size_t bytes = choice % 3 == 0 ? choice / 3 % 64 : choice / 3 % share;
        segments[i] = {
            .address = reinterpret_cast<std::uintptr_t>(at + i * share),
            .rkey = memory_->rkey(),
            .bytes = static_cast<std::uint32_t>(std::clamp(bytes, std::size_t{1}, share - 1))};
    }
    return segments;
}

Result<void> Client::ask() {
    const std::uint64_t random = mix(seed_ ^ asked_);
    const std::size_t slot = free_slots_.back();
    Message message{.kind = static_cast<Kind>(random % 3),
                    .id = asked_,
                    .seed = random,
                    .payload_bytes = payload_bytes(random / 3),
                    .segments = {}};
    if (message.kind != Kind::kEcho) {
        message.segments = choose_segments(slot, mix(random));
        std::fill_n(memory_->data() + slot * kSlotBytes, kSlotBytes, kUntouched);
    }
    if (message.kind == Kind::kStore) {
        for (std::size_t i = 0; i < message.segments.size(); ++i) {
            const Segment& segment = message.segments[i];
            Pattern(seed_of_segment(message.seed, i))
                .fill(reinterpret_cast<void*>(segment.address), segment.bytes);
        }
    }
    if (auto done = socket_->send(message.encode()); !done) {
        return done;
    }
    if (asked_ % kChecksEvery == 0) {
        if (auto done = socket_->check(); !done) {
            return done;
        }
    }
    free_slots_.pop_back();
    under_way_[asked_++] = {.message = std::move(message), .slot = slot};
    return free_slots_.empty() ? socket_->poll() : Result<void>();
}

Result<void> Client::take_answers() {
    while (const auto bytes = socket_->message()) {
        const auto answer = Message::decode(*bytes);
        if (!answer) {
            return tl::make_unexpected(answer.error());
        }
        auto done = judge(*answer);
        done = done ? socket_->release_message() : done;
        if (!done) {
            return done;
        }
    }
    return {};
}

Result<void> Client::judge(const Message& answer) {
    const auto found = under_way_.find(answer.id);
    if (answer.kind != Kind::kAnswer || found == under_way_.end()) {
        return fail(ErrorKind::kVerification,
                    fmt::format("an answer to {}, which was not asked", answer.id));
    }
    const auto& [asked, slot] = found->second;
    if (answer.seed != seed_of_answer(asked.seed) || answer.payload_bytes != asked.payload_bytes) {
        return fail(ErrorKind::kVerification,
                    fmt::format("the answer to {} is another's", answer.id));
    }
    const std::byte* at = memory_->data() + slot * kSlotBytes;
    const std::byte* end = at + kSlotBytes;
    for (std::size_t i = 0; i < asked.segments.size(); ++i) {
        const Segment& segment = asked.segments[i];
        const auto* start = reinterpret_cast<const std::byte*>(segment.address);
        const auto untouched = [](std::byte byte) { return byte == kUntouched; };
        const std::byte* next =
            i + 1 < asked.segments.size()
                ? reinterpret_cast<const std::byte*>(asked.segments[i + 1].address)
                : end;
        if (!std::all_of(start + segment.bytes, next, untouched)) {
            return fail(ErrorKind::kVerification,
                        fmt::format("bytes behind segment {} of {} were written", i, answer.id));
        }
        if (const auto wrong =
                Pattern(seed_of_segment(asked.seed, i)).check(start, segment.bytes)) {
            return fail(ErrorKind::kVerification,
                        fmt::format("segment {} of {}: {}", i, answer.id, wrong->describe()));
        }
    }
    free_slots_.push_back(slot);
    under_way_.erase(found);
    ++answered_;
    return {};
}

}  // namespace vrdma::storage_socket
