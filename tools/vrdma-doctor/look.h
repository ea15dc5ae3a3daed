// Looks at the machine, as a program that is started here would see it.
#pragma once

#include <string>

#include "tools/vrdma-doctor/facts.h"
#include "tools/vrdma-doctor/stderr_capture.h"

namespace vrdma::doctor {

[[nodiscard]] Library look_at_library();
// What libibverbs is told by its configuration and the variables.
[[nodiscard]] Provider look_for_provider(const Library& library, const Settings& settings);
[[nodiscard]] View look_at_view(const Settings& settings);
[[nodiscard]] Limits look_at_limits();

// The name of the file of a library in this process whose file name begins so; empty: there is
// none.
[[nodiscard]] std::string loaded_library(const std::string& beginning);

// Lists and opens the devices. `complaint` gets what was written about the list as a whole.
[[nodiscard]] std::vector<Device> look_at_devices(StderrCapture& stderr_capture,
                                                  std::string& complaint);

// Registers memory of each kind on the device of this name.
[[nodiscard]] Memory look_at_memory(const std::string& device, StderrCapture& stderr_capture);

// Finds the program as a shell would, and looks at its file.
[[nodiscard]] Program look_at_program(const std::string& name);

}  // namespace vrdma::doctor
