// Everything before the first "--" is ours, everything behind it is the program's and not looked
// at. Without "--" the program starts at the first word that is no option of ours.
#include "tools/vrdma-run/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "tools/vrdma-run/run_error.h"

namespace vrdma::run {
namespace {

const std::map<std::string, Mode> kModes = {
    {"auto", Mode::automatic}, {"mount", Mode::mount}, {"preload", Mode::preload}};

constexpr const char* kFooter =
    "Modes:\n"
    "  mount    a private mount namespace with the device in /sys/class and /dev/infiniband "
    "(root)\n"
    "  preload  LD_PRELOAD of a library that redirects these paths (any user)\n"
    "  auto     mount where it works, else preload; -v says which and why\n"
    "Exit status: the program's own; 2 not started, 126 not executable, 127 not found.";

}  // namespace

std::variant<Options, Finished> parse_options(int argc, const char* const* argv) {
    const char* const* end = argv + argc;
    const char* const* separator =
        std::find_if(argv, end, [](const char* word) { return std::string(word) == "--"; });

    Options options;
    CLI::App app("Runs a program with a vrdma device in sight.", "vrdma-run");
    app.footer(kFooter);
    app.prefix_command();
    app.add_option("--vnic", options.vnic, "name of the virtual NIC the program gets")
        ->required()
        ->option_text("NAME");
    app.add_option("--runtime-dir", options.runtime_directory,
                   "where the service lives (default: the running user's, then /run/vrdma)")
        ->option_text("DIR");
    app.add_option("--mode", options.mode, "auto, mount or preload (default: auto)")
        ->transform(CLI::CheckedTransformer(kModes))
        ->option_text("MODE");
    app.add_option("--provider", options.provider_directory,
                   "directory with libvrdma-rdmavNN.so (default: found next to vrdma-run, or the "
                   "installed one)")
        ->envname("VRDMA_PROVIDER_DIR")
        ->option_text("DIR");
    app.add_flag("-v,--verbose", options.verbose, "say what is done");
    try {
        app.parse(static_cast<int>(separator - argv), argv);
    } catch (const CLI::ParseError& error) {
        return Finished{app.exit(error) == 0 ? 0 : kExitRefused};
    }
    options.command = app.remaining();
    if (separator != end) {
        if (!options.command.empty()) {
            std::fprintf(stderr,
                         "vrdma-run: '%s' before -- is neither an option nor part of the program; "
                         "put the whole program behind --\n",
                         options.command.front().c_str());
            return Finished{kExitRefused};
        }
        options.command.assign(separator + 1, end);
    }
    if (options.command.empty()) {
        std::fprintf(stderr,
                     "vrdma-run: there is no program to run; give one, as in vrdma-run --vnic NAME "
                     "-- ibv_devices\n");
        return Finished{kExitRefused};
    }
    return options;
}

const char* to_string(Mode mode) {
    switch (mode) {
        case Mode::automatic:
            return "auto";
        case Mode::mount:
            return "mount";
        case Mode::preload:
            return "preload";
    }
    __builtin_unreachable();
}

}  // namespace vrdma::run
