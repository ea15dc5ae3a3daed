// Everything behind "--" is the program, of which only the name counts: the doctor does not start
// it.
#include "tools/vrdma-doctor/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string_view>

#include "tools/vrdma-doctor/finding.h"
#include "tools/vrdma-doctor/peer.h"
#include "tools/vrdma-doctor/version.h"

namespace vrdma::doctor {
namespace {

constexpr double kLongest = 60;

int refuse(const char* sentence) {
    std::fprintf(stderr, "vrdma-doctor: %s\n", sentence);
    return kExitUsage;
}

}  // namespace

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
    const char* const* end = argv + argc;
    const char* const* separator =
        std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
    Options options;
    options.port = kDefaultPort;
    CLI::App app("Says whether a program that is started here will use vRDMA, and what to do else.",
                 "vrdma-doctor");
    app.footer(
        "vrdma-doctor [OPTIONS] [-- PROGRAM]\nExit status: 0 fine, 1 warnings, 2 errors, "
        "3 wrong usage.");
    app.set_version_flag("--version", std::string("vrdma-doctor ") + kVersion);
    app.add_flag("--json", options.json, "findings and facts as JSON");
    app.add_option("--peer", options.peer,
                   "check the way to another host: the address of a vrdma-doctor --serve, or of a "
                   "vNIC")
        ->option_text("ADDRESS");
    app.add_flag("--serve", options.serve, "be the other side of --peer until killed");
    app.add_option("--port", options.port, "TCP port on which the two meet (default: 18516)")
        ->option_text("N");
    app.add_option("--seconds", options.seconds, "time to measure, 0 for none (default: 2)")
        ->check(CLI::Range(0.0, kLongest))
        ->option_text("S");
    try {
        app.parse(static_cast<int>(separator - argv), argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? kExitFine : kExitUsage;
    }
    if (separator != end && separator + 1 == end) {
        return refuse("there is no program behind --");
    }
    if (separator != end) {
        options.program = separator[1];
    }
    if (options.serve && (!options.peer.empty() || !options.program.empty() || options.json)) {
        return refuse("--serve is the other side of --peer and reports nothing; give it alone");
    }
    return options;
}

}  // namespace vrdma::doctor
