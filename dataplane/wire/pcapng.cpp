// Every block begins with its type and length and ends with the length; options are type, length
// and value, padded to four bytes, and end with a zero option. Readers go by the lengths, so they
// are computed before the first byte is written and checked after the last.
#include "dataplane/wire/pcapng.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"

namespace vrdma::wire {
namespace {

constexpr uint32_t kSectionType = 0x0a0d0d0a;
constexpr uint32_t kInterfaceType = 1;
constexpr uint32_t kStatisticsType = 5;
constexpr uint32_t kPacketType = 6;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kLinkEthernet = 1;
constexpr uint8_t kNanoseconds = 9;  // the negative power of ten

constexpr uint16_t kOptionEnd = 0;
constexpr uint16_t kOptionComment = 1;
constexpr uint16_t kOptionInterfaceName = 2;
constexpr uint16_t kOptionPacketFlags = 2;
constexpr uint16_t kOptionDropCount = 4;
constexpr uint16_t kOptionApplication = 4;
constexpr uint16_t kOptionReceived = 4;
constexpr uint16_t kOptionDropped = 5;
constexpr uint16_t kOptionResolution = 9;

constexpr size_t kFrameBytes = 12;  // type, length, length again
constexpr size_t kOptionHeader = 4;
constexpr size_t kSectionBytes = 16;
constexpr size_t kInterfaceBytes = 8;
constexpr size_t kPacketBytes = 20;
constexpr size_t kStatisticsBytes = 12;

constexpr size_t padded(size_t bytes) {
    return (bytes + 3) & ~size_t{3};
}

std::string_view cut(std::string_view text) {
    return text.substr(0, kMaxPcapngText);
}

size_t option_bytes(size_t value) {
    return kOptionHeader + padded(value);
}

size_t packet_options_bytes(const CapturedPacket& packet) {
    const size_t bytes =
        (packet.comment.empty() ? 0 : option_bytes(cut(packet.comment).size())) +
        (packet.direction == CaptureDirection::Unknown ? 0 : option_bytes(sizeof(uint32_t))) +
        (packet.missed == 0 ? 0 : option_bytes(sizeof packet.missed));
    return bytes == 0 ? 0 : bytes + kOptionHeader;
}

size_t text_options_bytes(std::string_view text) {
    return text.empty() ? 0 : option_bytes(cut(text).size()) + kOptionHeader;
}

class Writer {
  public:
    Writer(std::span<std::byte> out, uint32_t type, size_t total) : out_(out.first(total)) {
        number(type);
        number(static_cast<uint32_t>(total));
    }

    template <class Number>
    void number(Number value) {
        put(std::as_bytes(std::span(&value, 1)));
    }
    void padded_bytes(std::span<const std::byte> bytes) {
        put(bytes);
        const size_t pad = padded(bytes.size()) - bytes.size();
        std::memset(out_.data() + at_, 0, pad);
        at_ += pad;
    }
    void option(uint16_t code, std::span<const std::byte> value) {
        number(code);
        number(static_cast<uint16_t>(value.size()));
        padded_bytes(value);
    }
    void text(uint16_t code, std::string_view value) {
        option(code, std::as_bytes(std::span(value)));
    }
    template <class Number>
    void number_option(uint16_t code, Number value) {
        option(code, std::as_bytes(std::span(&value, 1)));
    }
    // The upper half first, whatever the byte order.
    void time(Instant at) {
        const auto value = static_cast<uint64_t>(at.ns);
        number(static_cast<uint32_t>(value >> 32));
        number(static_cast<uint32_t>(value));
    }
    void end_options() { option(kOptionEnd, {}); }
    [[nodiscard]] size_t finish() {
        number(static_cast<uint32_t>(out_.size()));
        VR_CHECK(at_ == out_.size());
        return at_;
    }

  private:
    void put(std::span<const std::byte> bytes) {
        VR_CHECK(bytes.size() <= out_.size() - at_);
        if (!bytes.empty()) {
            std::memcpy(out_.data() + at_, bytes.data(), bytes.size());
        }
        at_ += bytes.size();
    }

    std::span<std::byte> out_;
    size_t at_ = 0;
};

}  // namespace

size_t pcapng_section_bytes(std::string_view application) {
    return kFrameBytes + kSectionBytes + text_options_bytes(application);
}

size_t write_pcapng_section(std::span<std::byte> out, std::string_view application) {
    const size_t total = pcapng_section_bytes(application);
    VR_CHECK(out.size() >= total);
    Writer writer(out, kSectionType, total);
    writer.number(kByteOrderMagic);
    writer.number(uint16_t{1});  // version 1.0
    writer.number(uint16_t{0});
    writer.number(int64_t{-1});  // the section's length: not known
    if (!application.empty()) {
        writer.text(kOptionApplication, cut(application));
        writer.end_options();
    }
    return writer.finish();
}

size_t pcapng_interface_bytes(std::string_view name) {
    return kFrameBytes + kInterfaceBytes + (name.empty() ? 0 : option_bytes(cut(name).size())) +
           option_bytes(sizeof kNanoseconds) + kOptionHeader;
}

size_t write_pcapng_interface(std::span<std::byte> out, std::string_view name,
                              uint32_t snap_length) {
    const size_t total = pcapng_interface_bytes(name);
    VR_CHECK(out.size() >= total);
    Writer writer(out, kInterfaceType, total);
    writer.number(kLinkEthernet);
    writer.number(uint16_t{0});
    writer.number(snap_length);
    if (!name.empty()) {
        writer.text(kOptionInterfaceName, cut(name));
    }
    writer.option(kOptionResolution, std::as_bytes(std::span(&kNanoseconds, 1)));
    writer.end_options();
    return writer.finish();
}

size_t pcapng_packet_bytes(const CapturedPacket& packet) {
    return kFrameBytes + kPacketBytes + padded(packet.bytes.size()) + packet_options_bytes(packet);
}

size_t write_pcapng_packet(std::span<std::byte> out, const CapturedPacket& packet) {
    const size_t total = pcapng_packet_bytes(packet);
    VR_CHECK(out.size() >= total && packet.bytes.size() <= kPcapngSnapLength);
    Writer writer(out, kPacketType, total);
    writer.number(packet.interface);
    writer.time(packet.at);
    writer.number(static_cast<uint32_t>(packet.bytes.size()));
    writer.number(static_cast<uint32_t>(std::max(packet.original_length, packet.bytes.size())));
    writer.padded_bytes(packet.bytes);
    if (!packet.comment.empty()) {
        writer.text(kOptionComment, cut(packet.comment));
    }
    if (packet.direction != CaptureDirection::Unknown) {
        writer.number_option(kOptionPacketFlags, static_cast<uint32_t>(packet.direction));
    }
    if (packet.missed != 0) {
        writer.number_option(kOptionDropCount, packet.missed);
    }
    if (packet_options_bytes(packet) != 0) {
        writer.end_options();
    }
    return writer.finish();
}

size_t pcapng_statistics_bytes() {
    return kFrameBytes + kStatisticsBytes + 2 * option_bytes(sizeof(uint64_t)) + kOptionHeader;
}

size_t write_pcapng_statistics(std::span<std::byte> out, const CaptureStatistics& statistics) {
    const size_t total = pcapng_statistics_bytes();
    VR_CHECK(out.size() >= total);
    Writer writer(out, kStatisticsType, total);
    writer.number(statistics.interface);
    writer.time(statistics.at);
    writer.number_option(kOptionReceived, statistics.received);
    writer.number_option(kOptionDropped, statistics.missed);
    writer.end_options();
    return writer.finish();
}

}  // namespace vrdma::wire
