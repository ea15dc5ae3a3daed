#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Numbers as a person reads them.
namespace vrdma::vrdmactl {

/// "0 B", "512 B", "1.5 GiB".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

/// "42 s", "3 min 5 s", "2 h 1 min", "5 d 3 h".
[[nodiscard]] std::string duration_text(std::uint64_t seconds);

/// The time a queue pair waits for an acknowledgement, by its code (IBA 9.7.6.1.3): "14 (67.1 ms)".
[[nodiscard]] std::string ack_timeout_text(std::uint64_t code);

/// The time a sender waits after "receiver not ready", by its code (IBA table 45).
[[nodiscard]] std::string rnr_timer_text(std::uint64_t code);

/// A retry count, of which 7 has a meaning of its own for RNR.
[[nodiscard]] std::string rnr_retry_text(std::uint64_t count);

/// "10.0.0.1 (::ffff:10.0.0.1)" for a GID that maps an IPv4 address, "empty" for zeros, else
/// the GID.
[[nodiscard]] std::string gid_text(const std::string& gid);

}  // namespace vrdma::vrdmactl
