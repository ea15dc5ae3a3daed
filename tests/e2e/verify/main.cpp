#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <thread>
#include <variant>
#include <vector>

#include "tests/e2e/verify/control_block.h"
#include "tests/e2e/verify/options.h"
#include "tests/e2e/verify/side_run.h"
#include "tests/e2e/verify/totals.h"
#include "tools/verbs_util/tsc.h"

// Entry point: starts the sides, waits for them, adds up. Devices are opened in the children, after
// the fork. The first side that fails says why and raises a flag that makes the others stop;
// whoever does not stop within ten seconds is killed, so a run always ends.

namespace {

using vrdma::verify::ControlBlock;
using vrdma::verify::Options;

constexpr std::uint64_t kGraceNs = 10'000'000'000;
constexpr useconds_t kLookUs = 5'000;

/// The exit code of one side.
int run_and_report(const Options& options, ControlBlock& control, std::uint32_t pair,
                   unsigned side) {
    const auto done = vrdma::verify::run_side(options, control, pair, side);
    if (done) {
        return 0;
    }
    control.failures.fetch_add(1);
    if (!vrdma::verify::is_consequence(done.error())) {
        fmt::print(stderr, "verify: FAILED: {}\n", done.error().message());
    }
    return done.error().exit_code();
}

int run_both_sides(const Options& options, ControlBlock& control, std::uint32_t pair) {
    int other = 0;
    std::thread side_b([&] { other = run_and_report(options, control, pair, 1); });
    const int own = run_and_report(options, control, pair, 0);
    side_b.join();
    return own != 0 ? own : other;
}

/// The process ids of all children; empty when a fork failed.
std::vector<pid_t> start_all(const Options& options, ControlBlock& control) {
    std::vector<pid_t> children;
    const unsigned processes = options.threads ? 1 : 2;
    for (std::uint32_t pair = 0; pair < options.pairs; ++pair) {
        for (unsigned side = 0; side < processes; ++side) {
            const pid_t child = fork();
            if (child < 0) {
                std::for_each(children.begin(), children.end(),
                              [](pid_t started) { (void)kill(started, SIGKILL); });
                return {};
            }
            if (child == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                const int code = options.threads ? run_both_sides(options, control, pair)
                                                 : run_and_report(options, control, pair, side);
                std::fflush(nullptr);
                _exit(code);
            }
            children.push_back(child);
        }
    }
    return children;
}

int exit_code_of(int status, ControlBlock& control) {
    if (WIFEXITED(status)) {
        return WEXITSTATUS(status);
    }
    control.failures.fetch_add(1);
    fmt::print(stderr, "verify: FAILED: a process died of signal {} ({})\n", WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    return static_cast<int>(vrdma::verbs_util::ErrorKind::kTransfer);
}

/// The exit code of the run: the most telling one of all sides.
int wait_all(std::vector<pid_t> children, ControlBlock& control) {
    constexpr int kPartner = static_cast<int>(vrdma::verbs_util::ErrorKind::kPartner);
    int result = 0;
    std::uint64_t give_up = 0;
    while (!children.empty()) {
        int status = 0;
        const pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended > 0) {
            std::erase(children, ended);
            const int code = exit_code_of(status, control);
            // A side that only followed another one's failure says the least.
            if (code != 0 && (result == 0 || result == kPartner)) {
                result = code;
            }
            continue;
        }
        if (control.failures.load() != 0) {
            const std::uint64_t now = vrdma::verbs_util::monotonic_ns();
            give_up = give_up == 0 ? now + kGraceNs : give_up;
            if (now > give_up) {
                std::for_each(children.begin(), children.end(),
                              [](pid_t child) { (void)kill(child, SIGKILL); });
            }
        }
        (void)usleep(kLookUs);
    }
    return result;
}

int print_result(const Options& options, const ControlBlock& control) {
    const auto totals = vrdma::verify::add_up(control, options.pairs);
    fmt::print("{}", vrdma::verify::describe(totals));
    if (const auto right = vrdma::verify::reconcile(totals, options); !right) {
        fmt::print(stderr, "verify: FAILED: seed {}: {}\n", options.seed, right.error().message());
        return right.error().exit_code();
    }
    fmt::print("verify: {} operations, 0 errors, seed {}\n", totals.operations, options.seed);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto parsed = vrdma::verify::parse_options(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) {
        return *code;
    }
    const auto& options = std::get<Options>(parsed);
    auto control = ControlBlock::create();
    if (!control) {
        fmt::print(stderr, "vrdma-verify: {}\n", control.error().message());
        return control.error().exit_code();
    }
    fmt::print("verify: {} operations by {} pairs, seed {}\n", options.operations, options.pairs,
               options.seed);
    std::fflush(nullptr);  // or children would print it again
    const auto children = start_all(options, **control);
    if (children.empty()) {
        fmt::print(stderr, "vrdma-verify: fork: {}\n", strerror(errno));
        return static_cast<int>(vrdma::verbs_util::ErrorKind::kSetup);
    }
    const int code = wait_all(children, **control);
    if (code != 0) {
        fmt::print("verify: FAILED, seed {}\n", options.seed);
        return code;
    }
    return print_result(options, **control);
}
