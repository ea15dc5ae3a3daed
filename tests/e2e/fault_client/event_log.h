#pragma once

// One JSON object on a line of standard output for everything worth a time stamp.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/verbs_util/error.h"

namespace vrdma::fault {

class EventLog {
  public:
    /// `role` is in every line.
    explicit EventLog(std::string role) : role_(std::move(role)) {}

    /// Writes {"role", "pid", "event", "monotonic_ns", ...fields} and flushes. Times are
    /// CLOCK_MONOTONIC, the same for all processes of a host. Returns the time it wrote.
    std::uint64_t write(const char* event, nlohmann::json fields = nlohmann::json::object());
    std::uint64_t write_at(std::uint64_t monotonic_ns, const char* event,
                           nlohmann::json fields = nlohmann::json::object());
    void write_error(const verbs_util::Error& error);

  private:
    std::string role_;
};

}  // namespace vrdma::fault
