// A fixed head, the segments, the payload. Both sides run on machines of one kind, so the
// structures travel as they are.
#include "tests/interop/storage_socket/message.h"

#include <fmt/format.h>

#include <cstring>

#include "tools/verbs_util/pattern.h"

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Pattern;
using verbs_util::Result;

namespace {

struct Head {
    std::uint32_t kind = 0;
    std::uint32_t id = 0;
    std::uint64_t seed = 0;
    std::uint32_t payload_bytes = 0;
    std::uint32_t segments = 0;
};
static_assert(sizeof(Head) + kMostSegments * sizeof(Segment) == kMostHeaderBytes);

}  // namespace

std::vector<std::byte> Message::encode() const {
    const Head head{.kind = static_cast<std::uint32_t>(kind),
                    .id = id,
                    .seed = seed,
                    .payload_bytes = payload_bytes,
                    .segments = static_cast<std::uint32_t>(segments.size())};
    const std::size_t list_bytes = segments.size() * sizeof(Segment);
    std::vector<std::byte> bytes(sizeof head + list_bytes + payload_bytes);
    std::memcpy(bytes.data(), &head, sizeof head);
    if (list_bytes != 0) {
        std::memcpy(bytes.data() + sizeof head, segments.data(), list_bytes);
    }
    Pattern(seed).fill(bytes.data() + sizeof head + list_bytes, payload_bytes);
    return bytes;
}

Result<Message> Message::decode(std::span<const std::byte> bytes) {
    Head head;
    if (bytes.size() < sizeof head) {
        return fail(ErrorKind::kVerification, fmt::format("a message of {} bytes", bytes.size()));
    }
    std::memcpy(&head, bytes.data(), sizeof head);
    const std::size_t list_bytes = head.segments * sizeof(Segment);
    if (head.kind > static_cast<std::uint32_t>(Kind::kAnswer) || head.segments > kMostSegments ||
        bytes.size() != sizeof head + list_bytes + head.payload_bytes) {
        return fail(ErrorKind::kVerification,
                    fmt::format("a message of kind {} with {} segments and {} bytes of payload has "
                                "{} bytes",
                                head.kind, head.segments, head.payload_bytes, bytes.size()));
    }
    Message message{.kind = static_cast<Kind>(head.kind),
                    .id = head.id,
                    .seed = head.seed,
                    .payload_bytes = head.payload_bytes,
                    .segments = std::vector<Segment>(head.segments)};
    if (list_bytes != 0) {
        std::memcpy(message.segments.data(), bytes.data() + sizeof head, list_bytes);
    }
    if (const auto wrong =
            Pattern(head.seed).check(bytes.data() + sizeof head + list_bytes, head.payload_bytes)) {
        return fail(ErrorKind::kVerification,
                    fmt::format("payload of message {}: {}", head.id, wrong->describe()));
    }
    return message;
}

std::uint64_t seed_of_segment(std::uint64_t seed, std::size_t index) {
    return verbs_util::mix(seed + 1 + index);
}

std::uint64_t seed_of_answer(std::uint64_t seed) {
    return verbs_util::mix(~seed);
}

}  // namespace vrdma::storage_socket
