// Each language is read as its library reads it; an empty setting is no setting.
#include "tools/vrdma-doctor/selection.h"

#include <algorithm>
#include <array>

namespace vrdma::doctor {
namespace {

using Words = std::vector<std::string>;

bool holds(const Words& words, std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// Takes the sign off the front of a list and says whether it was there.
bool take(std::string_view& text, char sign) {
    const bool there = text.starts_with(sign);
    text.remove_prefix(there ? 1 : 0);
    return there;
}

bool any_of(const Words& words, const auto& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return holds(words, name); });
}

// rc and ud are aliases of theirs, as is ib of everything over a device. An alias may be written
// with a backslash before it, which takes its helpers away.
constexpr std::array<std::string_view, 6> kReliable{"ib",       "rc",   "rc_v",
                                                    "rc_verbs", "\\rc", "\\rc_v"};
constexpr std::array<std::string_view, 6> kDatagram{"ib",       "ud",   "ud_v",
                                                    "ud_verbs", "\\ud", "\\ud_v"};

}  // namespace

Words split(std::string_view list) {
    Words words;
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        words.emplace_back(list.substr(0, comma));
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    }
    return words;
}

bool nccl_takes_device(std::string_view setting, std::string_view device) {
    const bool others = take(setting, '^');
    const bool whole = take(setting, '=');
    const Words words = split(setting);
    if (words.empty()) {
        return true;
    }
    const bool named = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        const std::size_t colon = word.find(':');
        const std::string_view name = std::string_view(word).substr(0, colon);
        const std::string_view port =
            colon == std::string::npos ? "" : std::string_view(word).substr(colon + 1);
        return (whole ? device == name : device.starts_with(name)) && (port.empty() || port == "1");
    });
    return named != others;
}

bool ucx_takes_device(std::string_view setting, std::string_view device) {
    if (setting.empty()) {
        return true;
    }
    const bool others = take(setting, '^');
    const Words words = split(setting);
    const std::string with_port = std::string(device) + ":1";
    const bool named = holds(words, "all") || holds(words, with_port) || holds(words, device);
    return named != others;
}

bool ucx_takes_verbs(std::string_view setting) {
    if (setting.empty()) {
        return true;
    }
    if (!take(setting, '^')) {
        const Words words = split(setting);
        return holds(words, "all") || any_of(words, kReliable) || any_of(words, kDatagram);
    }
    const Words words = split(setting);
    return !(any_of(words, kReliable) && any_of(words, kDatagram));
}

}  // namespace vrdma::doctor
