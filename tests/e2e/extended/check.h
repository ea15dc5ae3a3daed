// What must hold in this program; when it does not, the program says so and ends.
#pragma once

#include <cerrno>
#include <cstdint>
#include <source_location>
#include <string_view>

namespace vrdma::extended {

[[noreturn]] void give_up(std::string_view what, const std::source_location& where);

inline void require(bool holds, std::string_view what,
                    const std::source_location& where = std::source_location::current()) {
    if (!holds) {
        give_up(what, where);
    }
}

// Two numbers that must be the same.
void require_equal(std::uint64_t found, std::uint64_t wanted, std::string_view what,
                   const std::source_location& where = std::source_location::current());

// What a verb made; it must be there.
template <typename T>
T* made(T* object, std::string_view verb,
        const std::source_location& where = std::source_location::current()) {
    require(object != nullptr, verb, where);
    return object;
}

// A verb that must refuse, with this errno.
template <typename T>
void refused(T* object, int error, std::string_view what,
             const std::source_location& where = std::source_location::current()) {
    require(object == nullptr, what, where);
    require_equal(static_cast<std::uint64_t>(errno), static_cast<std::uint64_t>(error), what,
                  where);
}
inline void refused(int result, int error, std::string_view what,
                    const std::source_location& where = std::source_location::current()) {
    require_equal(static_cast<std::uint64_t>(result), static_cast<std::uint64_t>(error), what,
                  where);
}
inline void done(int result, std::string_view what,
                 const std::source_location& where = std::source_location::current()) {
    refused(result, 0, what, where);
}

}  // namespace vrdma::extended
