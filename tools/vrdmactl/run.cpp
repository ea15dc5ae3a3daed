// What vrdmactl does between its command line and its exit status.
//
// Answers go to standard output, everything else to standard error, so that "vrdmactl --json" can
// be piped whatever happens. With --json the service's body is printed as it came, errors too: a
// script then reads the reason from the same place.

#include "tools/vrdmactl/run.h"

#include <ostream>

#include <nlohmann/json.hpp>

#include "tools/vrdmactl/capture.h"
#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/invocation.h"
#include "tools/vrdmactl/render.h"

namespace vrdma::vrdmactl {
namespace {

constexpr unsigned kFirstError = 400;

int show(const Invocation& invocation, const tools::ControlResponse& response, std::ostream& out,
         std::ostream& err) {
    const bool good = response.status < kFirstError;
    if (invocation.json) {
        if (!response.body.empty()) {
            out << response.body << "\n";
        }
        return good ? kDone : kRefused;
    }
    const Json answer = Json::parse(response.body.empty() ? "null" : response.body, nullptr, false);
    if (answer.is_discarded()) {
        err << "vrdmactl: the service's answer is not JSON: check that tool and service are of the "
               "same release\n";
        return kRefused;
    }
    if (!good) {
        err << "vrdmactl: " << render_problem(answer);
        return kRefused;
    }
    out << invocation.render(answer);
    return kDone;
}

}  // namespace

int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
    const auto invocation = parse_command_line(arguments);
    if (!invocation) {
        const Ending& ending = invocation.error();
        (ending.exit_code == kDone ? out : err) << ending.text;
        return ending.exit_code;
    }
    const std::string socket = tools::find_control_socket(invocation->service);
    if (invocation->capture) {
        return run_capture(*invocation, socket, out, err);
    }
    const auto response = tools::ask_control(socket, invocation->request);
    if (!response) {
        err << "vrdmactl: " << response.error().message << "\n";
        return kRefused;
    }
    return show(*invocation, *response, out, err);
}

}  // namespace vrdma::vrdmactl
