// The provider writes key=value, text in quotation marks: "... kind=adopted reason=\"...\"".
// Nothing is asked of the order of the keys.
#include "tools/vrdma-doctor/provider_log.h"

#include <array>

namespace vrdma::doctor {
namespace {

constexpr std::array<std::string_view, 3> kFromFastToSlow{"shared", "adopted", "process"};

std::string word_after(std::string_view line, std::string_view key) {
    const std::size_t at = line.find(key);
    if (at == std::string_view::npos) {
        return "";
    }
    std::string_view rest = line.substr(at + key.size());
    if (!rest.starts_with('"')) {
        return std::string(rest.substr(0, rest.find(' ')));
    }
    rest.remove_prefix(1);
    return std::string(rest.substr(0, rest.find('"')));
}

std::size_t slowness(std::string_view kind) {
    std::size_t place = 0;
    while (place < kFromFastToSlow.size() && kFromFastToSlow[place] != kind) {
        ++place;
    }
    return place;
}

}  // namespace

Registration registration_in(std::string_view log) {
    Registration found;
    while (!log.empty()) {
        const std::size_t end = log.find('\n');
        const std::string_view line = log.substr(0, end);
        log.remove_prefix(end == std::string_view::npos ? log.size() : end + 1);
        const std::string kind = word_after(line, " kind=");
        if (slowness(kind) == kFromFastToSlow.size()) {
            if (line.find("event=refused") != std::string_view::npos) {
                found.reason = word_after(line, " reason=");
            }
        } else if (found.kind.empty() || slowness(kind) > slowness(found.kind)) {
            found.kind = kind;
            found.reason = word_after(line, " reason=");
        }
    }
    return found;
}

std::string last_line(std::string_view log) {
    while (log.ends_with('\n')) {
        log.remove_suffix(1);
    }
    const std::size_t before = log.rfind('\n');
    return std::string(before == std::string_view::npos ? log : log.substr(before + 1));
}

}  // namespace vrdma::doctor
