// The vNIC of a program that nobody told which: in a container, the one that was mounted into it.
#pragma once

#include "tools/preload/redirection.h"

namespace vrdma::preload {

// Where a service with the usual runtime directory keeps its vNICs' trees.
inline constexpr char kVnicDirectory[] = "/run/vrdma/vnic";

// The path of the only entry of `directory`, in `found`. False, and nothing said, when there is no
// such directory, no entry, or more than one: then there is nothing to choose by. Changes errno.
[[nodiscard]] bool find_only_vnic(const char* directory, PathBuffer& found);

}  // namespace vrdma::preload
