// What the provider tells the person who runs the program: one line each on stderr, VRDMA_LOG
// chooses how much (error, which is the default; info; debug). Threading: any thread.
#pragma once

#include <cstdint>

namespace vrdma::verbs {

enum class LogLevel : std::uint8_t { error, info, debug };

[[nodiscard]] bool log_enabled(LogLevel level);

// The line is "vrdma: level=... " and the text, cut at 512 bytes. errno is preserved.
[[gnu::format(printf, 2, 3)]] void log(LogLevel level, const char* format, ...);

}  // namespace vrdma::verbs
