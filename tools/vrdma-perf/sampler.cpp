#include "tools/vrdma-perf/sampler.h"

// Which two CPUs label the samples. With `--cpu A,B` they are those of the two ends, or of this end
// and of the service's worker when both ends are here. Without, the first two CPUs: on the small
// virtual machines where the distance changes there are no others.

namespace vrdma::perf {

ProbeCpus choose_probe_cpus(const std::vector<int>& wanted) {
    const auto allowed = verbs_util::allowed_cpus();
    ProbeCpus cpus;
    if (!wanted.empty()) {
        cpus.a = wanted.front();
    } else if (!allowed.empty()) {
        cpus.a = allowed.front();
    }
    cpus.b = cpus.a;
    if (wanted.size() > 1) {
        cpus.b = wanted[1];
        return cpus;
    }
    for (const int cpu : allowed) {
        if (cpu != cpus.a) {
            cpus.b = cpu;
            break;
        }
    }
    return cpus;
}

}  // namespace vrdma::perf
