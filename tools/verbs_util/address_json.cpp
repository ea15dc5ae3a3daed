#include "tools/verbs_util/address_json.h"

#include <fmt/format.h>

#include <charconv>

// Writes and reads the address of a QP. What arrives comes from another process, perhaps another
// version of this program: every field is checked for presence, type and range, so a mismatch is a
// sentence and not a crash.

namespace vrdma::verbs_util {

namespace {

constexpr std::uint64_t kMax24 = 0xffffff;

std::string gid_to_text(const ibv_gid& gid) {
    std::string text;
    for (const std::uint8_t byte : gid.raw) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

bool gid_from_text(const std::string& text, ibv_gid& gid) {
    if (text.size() != 2 * sizeof gid.raw) {
        return false;
    }
    for (std::size_t i = 0; i < sizeof gid.raw; ++i) {
        const char* at = text.data() + 2 * i;
        const auto parsed = std::from_chars(at, at + 2, gid.raw[i], 16);
        if (parsed.ec != std::errc{} || parsed.ptr != at + 2) {
            return false;
        }
    }
    return true;
}

}  // namespace

Result<std::uint64_t> number_field(const nlohmann::json& json, const char* name,
                                   std::uint64_t limit) {
    const auto at = json.find(name);
    const bool natural = at != json.end() && at->is_number_integer() &&
                         (at->is_number_unsigned() || at->get<std::int64_t>() >= 0);
    if (!natural || at->get<std::uint64_t>() > limit) {
        return fail(
            ErrorKind::kPartner,
            fmt::format("a message of the other side has no field {} in [0, {}]", name, limit),
            "run the same version on both sides");
    }
    return at->get<std::uint64_t>();
}

std::string text_field(const nlohmann::json& json, const char* name) {
    const auto at = json.find(name);
    return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

const nlohmann::json& object_field(const nlohmann::json& json, const char* name) {
    static const nlohmann::json empty = nlohmann::json::object();
    const auto at = json.find(name);
    return at != json.end() && at->is_object() ? *at : empty;
}

nlohmann::json address_to_json(const QueuePairAddress& address) {
    return {{"qpn", address.qpn},
            {"psn", address.psn},
            {"qkey", address.qkey},
            {"lid", address.lid},
            {"mtu", address.mtu},
            {"rd_atomic", address.rd_atomic},
            {"gid", gid_to_text(address.gid)}};
}

Result<QueuePairAddress> address_from_json(const nlohmann::json& json) {
    QueuePairAddress address;
    const auto qpn = number_field(json, "qpn", kMax24);
    const auto psn = number_field(json, "psn", kMax24);
    const auto qkey = number_field(json, "qkey", UINT32_MAX);
    const auto lid = number_field(json, "lid", UINT16_MAX);
    const auto mtu = number_field(json, "mtu", IBV_MTU_4096);
    const auto rd_atomic = number_field(json, "rd_atomic", UINT8_MAX);
    for (const auto* field : {&qpn, &psn, &qkey, &lid, &mtu, &rd_atomic}) {
        if (!*field) {
            return tl::make_unexpected(field->error());
        }
    }
    const auto gid = json.find("gid");
    if (gid == json.end() || !gid->is_string() ||
        !gid_from_text(gid->get<std::string>(), address.gid)) {
        return fail(ErrorKind::kPartner,
                    "a message of the other side has no field gid of 32 hex digits",
                    "run the same version on both sides");
    }
    address.qpn = static_cast<std::uint32_t>(*qpn);
    address.psn = static_cast<std::uint32_t>(*psn);
    address.qkey = static_cast<std::uint32_t>(*qkey);
    address.lid = static_cast<std::uint16_t>(*lid);
    address.mtu = static_cast<std::uint8_t>(*mtu);
    address.rd_atomic = static_cast<std::uint8_t>(*rd_atomic);
    return address;
}

}  // namespace vrdma::verbs_util
