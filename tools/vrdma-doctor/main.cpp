// vrdma-doctor: says in one screen whether a program that is started here, with this environment,
// as this user, will use vRDMA. It looks, tries and judges, in this order; it changes nothing.
//
// The provider reads VRDMA_LOG once, so it is set before the first verb, and the settings are read
// before that.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tools/vrdma-doctor/judge.h"
#include "tools/vrdma-doctor/look.h"
#include "tools/vrdma-doctor/options.h"
#include "tools/vrdma-doctor/peer.h"
#include "tools/vrdma-doctor/report.h"
#include "tools/vrdma-doctor/settings.h"
#include "tools/vrdma-doctor/transfer.h"
#include "tools/vrdma-doctor/version.h"

namespace {

using namespace vrdma::doctor;  // NOLINT(google-build-using-namespace): a program's main file

void try_device(const Options& options, Facts& facts, StderrCapture& stderr_capture) {
    const Device* device = facts.ours();
    if (device == nullptr || !device->opened || !device->port_active) {
        return;
    }
    const std::string name = device->name;
    facts.memory = look_at_memory(name, stderr_capture);
    if (!options.peer.empty()) {
        meet(name, options.peer, options.port, options.seconds, facts);
    } else if (options.seconds > 0) {
        facts.transfer = transfer_on_own_device(name, options.seconds);
    }
}

Facts look(const Options& options) {
    Facts facts;
    facts.doctor_version = kVersion;
    facts.settings = read_settings(environ);
    facts.library = look_at_library();
    facts.provider = look_for_provider(facts.library, facts.settings);
    facts.view = look_at_view(facts.settings);
    facts.limits = look_at_limits();
    if (!options.program.empty()) {
        facts.program = look_at_program(options.program);
    }
    StderrCapture stderr_capture;
    facts.devices = look_at_devices(stderr_capture, facts.view.complaint);
    facts.provider.loaded = loaded_library("libvrdma-rdmav");
    try_device(options, facts, stderr_capture);
    return facts;
}

int serve_until_killed(const Options& options) {
    std::string name;
    {
        StderrCapture stderr_capture;
        std::string ignored;
        for (const Device& device : look_at_devices(stderr_capture, ignored)) {
            name = name.empty() || device.vrdma ? device.name : name;
        }
    }
    if (name.empty()) {
        std::fprintf(
            stderr, "vrdma-doctor: there is no RDMA device to serve with; vrdma-doctor says why\n");
        return kExitErrors;
    }
    const auto error = serve(name, options.port);
    std::fprintf(stderr, "vrdma-doctor: %s\n", error.message().c_str());
    return kExitErrors;
}

}  // namespace

// Only memory running out could throw. NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
    const auto parsed = parse_options(argc, argv);
    if (const auto* finished = std::get_if<int>(&parsed)) {
        return *finished;
    }
    const auto& options = std::get<Options>(parsed);
    if (options.serve) {
        return serve_until_killed(options);
    }
    setenv("VRDMA_LOG", "info", 1);
    const Facts facts = look(options);
    const Findings findings = judge(facts);
    const std::string report = options.json ? as_json(facts, findings) : as_text(findings);
    std::fputs(report.c_str(), stdout);
    return exit_code(findings);
}
