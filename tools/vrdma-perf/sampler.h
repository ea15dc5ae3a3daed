#pragma once

// Takes one sample of anything: probes distance and CPU share around it.

#include <concepts>
#include <cstdint>
#include <utility>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/sample.h"

namespace vrdma::perf {

/// The two CPUs whose distance labels the samples; equal: not probed.
struct ProbeCpus {
    int a = 0;
    int b = 0;
};

/// `--cpu A,B` where given, filled up with the first CPUs this process may use.
[[nodiscard]] ProbeCpus choose_probe_cpus(const std::vector<int>& wanted);

class Sampler {
  public:
    Sampler(const verbs_util::Tsc& tsc, ProbeCpus cpus) : tsc_(tsc), cpus_(cpus) {}

    /// `run` takes nothing and returns Result<RunResult>.
    template <typename Run>
    requires std::same_as<std::invoke_result_t<Run>, verbs_util::Result<RunResult>>
    [[nodiscard]] verbs_util::Result<Sample> take(Run&& run) const {
        Sample sample;
        sample.before = probe_distance(cpus_.a, cpus_.b, tsc_);
        const std::uint64_t cpu_before = verbs_util::thread_cpu_ns();
        const std::uint64_t start = verbs_util::Tsc::now();
        const verbs_util::Result<RunResult> result = std::forward<Run>(run)();
        if (!result) {
            return tl::make_unexpected(result.error());
        }
        const double wall_ns = tsc_.to_ns(verbs_util::Tsc::now() - start);
        const auto cpu_ns = static_cast<double>(verbs_util::thread_cpu_ns() - cpu_before);
        sample.cpu_share = wall_ns > 0.0 ? cpu_ns / wall_ns : 0.0;
        sample.operations = result->operations;
        sample.seconds = tsc_.to_ns(result->ticks) / 1e9;
        sample.after = probe_distance(cpus_.a, cpus_.b, tsc_);
        return sample;
    }

    [[nodiscard]] ProbeCpus cpus() const { return cpus_; }

  private:
    const verbs_util::Tsc& tsc_;
    ProbeCpus cpus_;
};

}  // namespace vrdma::perf
