// Nothing is cleaned up on failure: the service does that when the program is gone.
#include "check.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vrdma::extended {

void give_up(std::string_view what, const std::source_location& where) {
    fmt::print(stderr, "vrdma-extended: FAILED: {} ({}:{}, errno {})\n", what, where.file_name(),
               where.line(), std::strerror(errno));
    std::exit(EXIT_FAILURE);
}

void require_equal(std::uint64_t found, std::uint64_t wanted, std::string_view what,
                   const std::source_location& where) {
    require(found == wanted, fmt::format("{}: {}, expected {}", what, found, wanted), where);
}

}  // namespace vrdma::extended
