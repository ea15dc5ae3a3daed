// Puts the parts of the judgement together, and judges what is too small for a file: limits and the
// program. Every rule names one cause; where a cause brings others about, only the cause is named.
#include "tools/vrdma-doctor/judge.h"

#include <fmt/format.h>

namespace vrdma::doctor {
namespace {

constexpr std::uint64_t kUsualLockedMemory = std::uint64_t{1} << 30;

std::string mebibytes(std::uint64_t bytes) {
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

bool is_musl(const std::string& interpreter) {
    return interpreter.find("ld-musl") != std::string::npos;
}

void judge_static(const Facts& facts, Findings& findings) {
    const std::string& path = facts.program->path;
    if (facts.view.preload_library) {
        findings.push_back(
            {"program-static", Level::error,
             path + " is a static program: the preload library, by which this process sees the "
                    "device, does not reach it",
             "vrdma-run --mode mount (needs CAP_SYS_ADMIN) or the service's system_view, and a "
             "program that loads libibverbs.so"});
    } else {
        findings.push_back({"program-static-verbs", Level::warning,
                            path + " is a static program: a libibverbs inside it finds no provider",
                            "link it dynamically with libibverbs"});
    }
}

}  // namespace

void judge_limits(const Facts& facts, Findings& findings) {
    const Limits& limits = facts.limits;
    if (limits.file_size) {
        findings.push_back({"file-size-limit", Level::warning,
                            "files may not grow above " + mebibytes(*limits.file_size) +
                                " (ulimit -f): private memory is not adopted then",
                            "ulimit -f unlimited"});
    }
    if (limits.locked_memory && *limits.locked_memory < kUsualLockedMemory) {
        findings.push_back({"memlock-low", Level::note,
                            "only " + mebibytes(*limits.locked_memory) +
                                " may be locked (RLIMIT_MEMLOCK). vRDMA locks nothing, but some "
                                "programs ask, and real RDMA devices need it",
                            "ulimit -l unlimited, if a program complains"});
    }
    if (limits.ptrace_scope > 0) {
        findings.push_back({"yama-ptrace", Level::note,
                            fmt::format("kernel.yama.ptrace_scope is {}. vRDMA does not need it, "
                                        "but UCX's cma and similar copies between processes do",
                                        limits.ptrace_scope),
                            "nothing, or sysctl kernel.yama.ptrace_scope=0"});
    }
    if (limits.seccomp && !limits.userfaultfd) {
        findings.push_back({"seccomp-userfaultfd", Level::note,
                            "a seccomp filter is active and userfaultfd is refused",
                            "where memory below is of the kind process: permit userfaultfd in the "
                            "container's seccomp profile, or set userfaultfd = true for the vNIC"});
    }
    findings.push_back(
        {"limits", Level::ok,
         fmt::format(
             "userfaultfd {}, seccomp {}, locked memory {}",
             limits.userfaultfd ? "permitted" : "refused", limits.seccomp ? "active" : "off",
             limits.locked_memory ? mebibytes(*limits.locked_memory) : std::string("unlimited")),
         ""});
}

void judge_program(const Facts& facts, Findings& findings) {
    if (!facts.program) {
        return;
    }
    const Program& program = *facts.program;
    if (!program.problem.empty()) {
        findings.push_back(
            {"program-not-started", Level::error, program.problem, "check the name and its mode"});
    } else if (program.gains_privileges) {
        findings.push_back({"program-setuid", Level::error,
                            program.path + " is set-uid, set-gid or has file capabilities: the "
                                           "loader and libibverbs ignore the environment for it",
                            "run it as the user it changes to, or use the service's system_view"});
    } else if (!program.readable) {
        findings.push_back({"program-unreadable", Level::warning,
                            program.path + " may be executed but not read: it will not be "
                                           "dumpable, and memory of it may be unreachable",
                            "chmod +r it"});
    } else if (!program.elf) {
        findings.push_back({"program-unknown", Level::note,
                            program.path + " is neither an ELF file nor a script of one: whether "
                                           "it can use the device cannot be told",
                            "name the program that it starts"});
    } else if (program.foreign) {
        findings.push_back({"program-foreign", Level::error,
                            program.path + " is made for another machine or word size, and there "
                                           "is no provider for it",
                            "use the 64-bit program of this machine"});
    } else if (program.interpreter.empty()) {
        judge_static(facts, findings);
    } else if (is_musl(program.interpreter)) {
        findings.push_back({"program-musl", Level::error,
                            program.path + " uses the C library musl (" + program.interpreter +
                                "): neither the provider nor the preload library, both made for "
                                "glibc, can be loaded into it",
                            "use an image with glibc (Debian, Ubuntu, RHEL) instead of Alpine's"});
    } else if (!program.links_libibverbs) {
        findings.push_back({"program-no-libibverbs", Level::note,
                            program.path + " is not linked with libibverbs itself: it uses vRDMA "
                                           "only if it loads that later (NCCL, UCX, Python do)",
                            "look at the settings of what it loads"});
    } else {
        findings.push_back(
            {"program", Level::ok, program.path + " is dynamic and linked with libibverbs", ""});
    }
}

Findings judge(const Facts& facts) {
    Findings findings;
    judge_device(facts, findings);
    judge_memory(facts, findings);
    judge_limits(facts, findings);
    judge_settings(facts, findings);
    judge_program(facts, findings);
    judge_peer(facts, findings);
    return findings;
}

}  // namespace vrdma::doctor
