// The exit code is the worst level: a script asks "will it work here", not which of the findings
// there are; those it takes from --json by their ids.
#include "tools/vrdma-doctor/finding.h"

#include <algorithm>

namespace vrdma::doctor {

std::string_view name_of(Level level) {
    switch (level) {
        case Level::ok:
            return "ok";
        case Level::note:
            return "note";
        case Level::warning:
            return "warning";
        case Level::error:
            return "error";
    }
    __builtin_unreachable();
}

int exit_code(const Findings& findings) {
    Level worst = Level::ok;
    for (const Finding& finding : findings) {
        worst = std::max(worst, finding.level);
    }
    switch (worst) {
        case Level::ok:
        case Level::note:
            return kExitFine;
        case Level::warning:
            return kExitWarnings;
        case Level::error:
            return kExitErrors;
    }
    __builtin_unreachable();
}

}  // namespace vrdma::doctor
