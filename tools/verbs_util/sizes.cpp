#include "tools/verbs_util/sizes.h"

#include <fmt/format.h>

#include <charconv>

// Parses and prints byte counts. Suffixes are powers of 1024 because transfer sizes are; a value
// that does not fit or carries an unknown suffix is refused and never rounded.

namespace vrdma::verbs_util {

namespace {

constexpr unsigned kBitsPerSuffix = 10;

/// -1 for an unknown suffix.
int shift_of(std::string_view suffix) {
    if (suffix.empty() || suffix == "B") {
        return 0;
    }
    constexpr std::string_view kLetters = "KMG";
    const auto at = kLetters.find(static_cast<char>(suffix.front() & ~0x20));
    const auto rest = suffix.substr(1);
    if (at == std::string_view::npos || !(rest.empty() || rest == "B" || rest == "iB")) {
        return -1;
    }
    return static_cast<int>((at + 1) * kBitsPerSuffix);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    const bool number = parsed.ec == std::errc{} && parsed.ptr != text.data();
    const int shift =
        number ? shift_of({parsed.ptr, static_cast<std::size_t>(end - parsed.ptr)}) : -1;
    if (shift < 0 || value > (UINT64_MAX >> shift)) {
        return fail(ErrorKind::kUsage, fmt::format("\"{}\" is not a size", text),
                    "write a number of bytes with an optional K, M or G, such as 8, 4K or 1M");
    }
    return value << shift;
}

Result<std::vector<std::uint64_t>> parse_sizes(std::string_view text) {
    std::vector<std::uint64_t> sizes;
    while (true) {
        const auto comma = text.find(',');
        auto size = parse_size(text.substr(0, comma));
        if (!size) {
            return tl::make_unexpected(size.error());
        }
        sizes.push_back(*size);
        if (comma == std::string_view::npos) {
            return sizes;
        }
        text.remove_prefix(comma + 1);
    }
}

std::string format_size(std::uint64_t bytes) {
    static constexpr const char* kSuffixes[] = {"", "K", "M", "G"};
    unsigned suffix = 0;
    while (suffix < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        ++suffix;
    }
    return fmt::format("{}{}", bytes, kSuffixes[suffix]);
}

}  // namespace vrdma::verbs_util
