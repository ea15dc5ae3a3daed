// Judges how memory becomes reachable (docs/memory.md). Most programs have threads, so what counts
// is the registration that was made with a second thread; the one before it tells whether the
// threads are the cause.
#include "tools/vrdma-doctor/judge.h"

namespace vrdma::doctor {
namespace {

bool slow(const Registration& registration) {
    return registration.kind == "process";
}

bool refused(const Registration& registration) {
    return registration.tried && !registration.error.empty();
}

std::string kinds(const Memory& memory) {
    return "private memory: " + memory.threaded.kind + ", shared memory: " + memory.shared.kind;
}

}  // namespace

void judge_memory(const Facts& facts, Findings& findings) {
    const Memory& memory = facts.memory;
    if (!memory.threaded.tried) {
        return;
    }
    const auto forced = facts.settings.find("VRDMA_MEMORY");
    const bool set = forced != facts.settings.end();
    if (set && forced->second.value == "process") {
        findings.push_back({"memory-forced", Level::warning,
                            "VRDMA_MEMORY=process: each access is a system call and a copy",
                            "unset VRDMA_MEMORY"});
    } else if (set && forced->second.value != "auto") {
        findings.push_back({"memory-setting", Level::error,
                            "VRDMA_MEMORY=" + forced->second.value +
                                " is not understood, so that registrations fail",
                            "unset VRDMA_MEMORY, or set auto or process"});
    } else if (refused(memory.shared)) {
        findings.push_back({"memory-refused", Level::error,
                            "memory cannot be registered: " + memory.shared.error,
                            "VRDMA_LOG=info of a program says why; docs/memory.md"});
    } else if (refused(memory.threaded)) {
        findings.push_back({"memory-private-refused", Level::error,
                            "private memory of a program with threads cannot be registered: " +
                                memory.threaded.error + " (" + memory.threaded.reason + ")",
                            "set userfaultfd = true for the vNIC (docs/memory.md), or register "
                            "shared memory only"});
    } else if (slow(memory.shared)) {
        findings.push_back({"memory-shared-slow", Level::warning,
                            "shared memory is reached through the process, a system call for "
                            "each access: " +
                                memory.shared.reason,
                            "docs/memory.md lists what each kind needs"});
    } else if (slow(memory.single)) {
        findings.push_back({"memory-private-slow", Level::warning,
                            "private memory is reached through the process, a system call for "
                            "each access: " +
                                memory.single.reason,
                            "docs/memory.md lists what adoption needs"});
    } else if (slow(memory.threaded)) {
        findings.push_back(
            {"memory-threads-slow", Level::warning,
             "private memory of programs with threads is reached through the "
             "process, a system call for each access: " +
                 memory.threaded.reason,
             "set userfaultfd = true for the vNIC, or vm.unprivileged_userfaultfd=1, "
             "or give the program CAP_SYS_PTRACE"});
    } else {
        findings.push_back({"memory", Level::ok, kinds(memory), ""});
    }
}

}  // namespace vrdma::doctor
