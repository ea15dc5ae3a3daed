#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vrdma::control {

/// What kind of wrong a configuration is; the texts of the error say it in full.
enum class Fault : std::uint8_t {
    kUnreadable,     ///< the file cannot be opened or read, or is too large
    kSyntax,         ///< not TOML (or, for a request, not JSON)
    kUnknownKey,     ///< a key that has no meaning here
    kMissing,        ///< a required key is absent
    kWrongType,      ///< text where a number is needed, a table where an array is, ...
    kOutOfRange,     ///< a number outside its bounds, a list or path too long
    kMalformed,      ///< text that does not have the required form
    kUnknownChoice,  ///< text that is none of the allowed words
    kUnknownName,    ///< refers to a network, user or group that does not exist
    kDuplicate,      ///< a name, id or address that another one already has
    kInconsistent,   ///< well-formed alone, impossible together with another key or this host
};

/// One thing wrong with a configuration, complete enough to be repaired without the manual.
struct ConfigurationError {
    Fault fault{};
    std::string file;      ///< path as the operator gave it; "request" for a body of the API
    std::uint32_t line{};  ///< counted from 1; 0 where a line makes no sense
    std::string key;       ///< "vnic[2].address", arrays counted from 1; empty for the whole file
    std::string found;
    std::string expected;
    std::string remedy;
};

using ConfigurationErrors = std::vector<ConfigurationError>;

/// "vrdmad.toml:12: vnic[2].address: found X, expected Y; do Z" on one line.
[[nodiscard]] std::string to_string(const ConfigurationError& error);

}  // namespace vrdma::control
