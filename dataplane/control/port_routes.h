#pragma once

#include "dataplane/control/call.h"

/// The ports and their captures in the control API. docs/operations.md is its reference.
namespace vrdma::control {

void get_ports(const Call& call);
void get_port(const Call& call);
void set_port(const Call& call);
void start_capture(const Call& call);
void read_capture(const Call& call);
void stop_capture(const Call& call);
void end_capture(const Call& call);

}  // namespace vrdma::control
