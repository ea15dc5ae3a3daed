// A library in somebody else's program has no log of its own, so it speaks only when a person must
// act (a device that cannot be opened) unless VRDMA_LOG asks for more. A line is written with one
// write(), so that lines of several threads and processes do not mix. A set-uid program ignores the
// variable.
#include "verbs/log.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace vrdma::verbs {
namespace {

constexpr std::size_t kLineBytes = 512;

LogLevel level_from_environment() {
    const char* value = ::secure_getenv("VRDMA_LOG");
    const std::string_view text = value == nullptr ? "" : value;
    if (text == "debug") {
        return LogLevel::debug;
    }
    return text == "info" ? LogLevel::info : LogLevel::error;
}

const char* name_of(LogLevel level) {
    switch (level) {
        case LogLevel::error:
            return "error";
        case LogLevel::info:
            return "info";
        case LogLevel::debug:
            return "debug";
    }
    return "?";
}

}  // namespace

bool log_enabled(LogLevel level) {
    static const LogLevel limit = level_from_environment();
    return level <= limit;
}

void log(LogLevel level, const char* format, ...) {
    if (!log_enabled(level)) {
        return;
    }
    const int saved_errno = errno;
    std::array<char, kLineBytes> line;
    int used = std::snprintf(line.data(), line.size(), "vrdma: level=%s ", name_of(level));
    std::va_list arguments;
    va_start(arguments, format);
    used += std::vsnprintf(line.data() + used, line.size() - static_cast<std::size_t>(used), format,
                           arguments);
    va_end(arguments);
    const std::size_t length = std::min(static_cast<std::size_t>(used), line.size() - 1);
    line[length] = '\n';
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), length + 1);
    errno = saved_errno;
}

}  // namespace vrdma::verbs
