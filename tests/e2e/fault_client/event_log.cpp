#include "tests/e2e/fault_client/event_log.h"

#include <unistd.h>

#include <cstdio>

#include "tools/verbs_util/tsc.h"

// Lines are flushed one by one, because the process that writes them may be killed at any moment
// and the driver waits for them.

namespace vrdma::fault {

std::uint64_t EventLog::write(const char* event, nlohmann::json fields) {
    return write_at(verbs_util::monotonic_ns(), event, std::move(fields));
}

std::uint64_t EventLog::write_at(std::uint64_t monotonic_ns, const char* event,
                                 nlohmann::json fields) {
    nlohmann::json line = {
        {"role", role_}, {"pid", getpid()}, {"event", event}, {"monotonic_ns", monotonic_ns}};
    line.update(fields);
    const std::string text =
        line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    (void)std::fputs(text.c_str(), stdout);
    (void)std::fflush(stdout);
    return monotonic_ns;
}

void EventLog::write_error(const verbs_util::Error& error) {
    (void)write("failed", {{"exit_code", error.exit_code()}, {"message", error.message()}});
}

}  // namespace vrdma::fault
