// vrdma-run: runs one program with one vNIC in sight, on any machine with a vrdma service, without
// a change to the machine and, in preload mode, without any privilege.
//
// Everything that can be wrong is checked before the program starts, each with a sentence that says
// what to do; then this process becomes the program (exec), so its exit status, signals, terminal
// and process id are the program's own.
#include <errno.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "tools/vrdma-run/installation.h"
#include "tools/vrdma-run/nccl_settings.h"
#include "tools/vrdma-run/options.h"
#include "tools/vrdma-run/program.h"
#include "tools/vrdma-run/run_error.h"
#include "tools/vrdma-run/visibility.h"
#include "tools/vrdma-run/vnic_directory.h"

namespace {

using namespace vrdma::run;  // NOLINT(google-build-using-namespace): a program's main file

void say(const std::string& sentence) {
    std::fprintf(stderr, "vrdma-run: %s\n", sentence.c_str());
}

// libibverbs reads RDMAV_DRIVERS, or IBV_DRIVERS when that is not set.
void add_driver(const std::string& driver) {
    for (const char* variable : {"RDMAV_DRIVERS", "IBV_DRIVERS"}) {
        const char* before = std::getenv(variable);
        const std::string value =
            before == nullptr || *before == '\0' ? driver : std::string(before) + ":" + driver;
        setenv(variable, value.c_str(), 1);
    }
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += " " + word;
    }
    return text.empty() ? " nothing" : text;
}

template <typename Explain>
void prepare_nccl(const Explain& explain) {
    const auto file = nccl_settings_file();
    if (!file) {
        // Only programs with NCCL miss it.
        explain(file.error().sentence);
        return;
    }
    const NcclSettings settings = give_nccl_settings(*file);
    explain("for NCCL, from " + file->string() + ":" + joined(settings.given));
    if (!settings.kept.empty()) {
        explain("for NCCL, as the user has it:" + joined(settings.kept));
    }
}

Outcome<Program> prepare(const Options& options) {
    const auto explain = [&](const std::string& sentence) {
        if (options.verbose) {
            say(sentence);
        }
    };
    auto program = find_program(options.command.front());
    if (!program) {
        return program;
    }
    if (program->gains_privileges) {
        return refuse(program->path.string() +
                      " is set-uid, set-gid or has file capabilities, for which the loader and "
                      "libibverbs ignore the environment; run it as the user it changes to, or "
                      "use a service with system_view");
    }
    if (program->linkage == Linkage::musl) {
        return refuse(program->path.string() +
                      " is a program for the musl C library, into which the provider, being made "
                      "for the GNU C library, cannot be loaded; use a build of it for the GNU C "
                      "library");
    }
    const auto directory = find_vnic(runtime_directories(options.runtime_directory), options.vnic);
    if (!directory) {
        return tl::unexpected(directory.error());
    }
    const auto driver = provider_driver(options.provider_directory);
    if (!driver) {
        return tl::unexpected(driver.error());
    }
    if (auto visible = make_visible(options.mode, *directory, *program, explain, say); !visible) {
        return tl::unexpected(visible.error());
    }
    if (*driver) {
        add_driver(**driver);
        explain("provider: RDMAV_DRIVERS=" + **driver);
    } else {
        explain("provider: the one installed with libibverbs");
    }
    prepare_nccl(explain);
    return program;
}

[[noreturn]] void become(const Program& program, const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& word : command) {
        arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    // execvp, for files without "#!" that a shell runs.
    execvp(program.path.c_str(), arguments.data());
    say("cannot run " + program.path.string() + ": " + std::generic_category().message(errno) +
        "; check that the file is a program for this machine");
    std::exit(kExitNotExecutable);
}

}  // namespace

// Only memory running out could throw. NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
    const auto parsed = parse_options(argc, argv);
    if (const auto* finished = std::get_if<Finished>(&parsed)) {
        return finished->exit_status;
    }
    const auto& options = std::get<Options>(parsed);
    const auto program = prepare(options);
    if (!program) {
        say(program.error().sentence);
        return program.error().exit_status;
    }
    become(*program, options.command);
}
