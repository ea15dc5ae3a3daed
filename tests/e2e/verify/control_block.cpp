#include "tests/e2e/verify/control_block.h"

#include <sys/mman.h>

#include <new>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/tsc.h"

// The rendezvous of two sides is a counter each: everything a side wrote before it came is visible
// to the other after it (release and acquire). The wait yields, because with more spinning
// processes than processors the other side may need this one's.

namespace vrdma::verify {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::monotonic_ns;
using verbs_util::Result;

constexpr std::uint64_t kPatienceNs = 60'000'000'000;
constexpr unsigned kLooksPerClock = 1024;
constexpr char kConsequence[] = "another process of this run failed";

}  // namespace

Result<ControlBlock*> ControlBlock::create() {
    void* at = mmap(nullptr, sizeof(ControlBlock), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return verbs_util::fail_errno(ErrorKind::kSetup, "mapping the control block", errno);
    }
    return new (at) ControlBlock;
}

Result<void> Meeting::wait() {
    const std::uint64_t count = mine_.fetch_add(1, std::memory_order_acq_rel) + 1;
    verbs_util::Spinner spinner;
    std::uint64_t give_up = 0;
    for (unsigned looks = 1; theirs_.load(std::memory_order_acquire) < count; ++looks) {
        spinner.idle();
        if (looks % kLooksPerClock != 0) {
            continue;
        }
        if (control_.failures.load(std::memory_order_relaxed) != 0) {
            return fail(ErrorKind::kPartner, kConsequence);
        }
        const std::uint64_t now = monotonic_ns();
        give_up = give_up == 0 ? now + kPatienceNs : give_up;
        if (now > give_up) {
            return fail(ErrorKind::kPartner, "the other side of the pair did not come for 60 s");
        }
    }
    return {};
}

bool is_consequence(const verbs_util::Error& error) {
    return error.what == kConsequence;
}

}  // namespace vrdma::verify
