#include "tests/e2e/verify/side_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "tests/e2e/verify/end.h"
#include "tests/e2e/verify/random.h"
#include "tests/e2e/verify/round_run.h"

// A pair works in epochs of some hundred rounds. For each epoch all objects are planned, created,
// connected and destroyed again, so creation and destruction are part of what is verified. Seeds
// are derived, not drawn: epoch and round numbers lead to the same plan whatever happened before.

namespace vrdma::verify {

namespace {

using verbs_util::Device;
using verbs_util::Result;

constexpr std::uint32_t kRoundsBetweenIdleChecks = 64;
constexpr std::uint64_t kEpochSeeds = 0x65706f63;
constexpr std::uint64_t kArenaSeeds = 0x6172656e;

class SideRun {
  public:
    SideRun(const Options& options, ControlBlock& control, std::uint32_t index, unsigned side)
        : options_(options),
          index_(index),
          side_(side),
          pair_(control.pairs[index]),
          meeting_(control, pair_, side),
          pair_seed_(derive(options.seed, index)),
          left_(share_of(options, index)) {}

    Result<void> run() {
        verbs_util::DeviceOptions wanted;
        const bool own_peer = side_ == 1 && !options_.peer_device.empty();
        wanted.name = own_peer ? options_.peer_device : options_.device;
        wanted.gid_index = options_.gid_index;
        auto device = Device::open(wanted);
        if (!device) {
            return tl::make_unexpected(device.error());
        }
        if (auto agreed = agree_on_limits(**device); !agreed) {
            return agreed;
        }
        while (left_ > 0) {
            if (auto done = run_epoch(*device); !done) {
                return with_place(done.error());
            }
            ++epoch_;
            pair_.sides[side_].epochs = epoch_;
        }
        return {};
    }

  private:
    Result<void> agree_on_limits(const Device& device) {
        auto limits = limits_of(device, options_.limits);
        if (!limits) {
            return tl::make_unexpected(limits.error());
        }
        pair_.sides[side_].limits = *limits;
        if (auto met = meeting_.wait(); !met) {
            return met;
        }
        // The same order of arguments on both sides: both must come to the same limits.
        limits_ = common_limits(pair_.sides[0].limits, pair_.sides[1].limits);
        return {};
    }

    Result<void> run_epoch(const std::shared_ptr<Device>& device) {
        const std::uint64_t seed = derive(pair_seed_ ^ kEpochSeeds, epoch_);
        const EpochPlan plan = plan_epoch(limits_, seed);
        auto end = End::create(device, plan, side_);
        if (!end) {
            return tl::make_unexpected(end.error());
        }
        (*end)->publish(pair_.sides[side_]);
        if (auto met = meeting_.wait(); !met) {
            return met;
        }
        if (auto connected = (*end)->connect(pair_.sides[1 - side_]); !connected) {
            return connected;
        }
        RoundRun rounds(**end, plan, side_, pair_, meeting_, derive(seed ^ kArenaSeeds, side_));
        for (round_ = 0; round_ < options_.rounds_per_epoch && left_ > 0; ++round_) {
            const auto most =
                static_cast<std::uint32_t>(std::min<std::uint64_t>(left_, kMaxRoundOperations));
            plan_round(plan, limits_, derive(seed, round_), most, round_plan_);
            if (auto done = rounds.run(round_plan_, round_); !done) {
                return done;
            }
            left_ -= round_plan_.operations.size();
            if ((round_ + 1) % kRoundsBetweenIdleChecks == 0) {
                if (auto idle = rounds.check_idle(); !idle) {
                    return idle;
                }
            }
        }
        if (auto idle = rounds.check_idle(); !idle) {
            return idle;
        }
        if (options_.progress && side_ == 0) {
            fmt::print(stderr, "verify: pair {} epoch {}: {} QPs, {} operations left\n", index_,
                       epoch_, plan.queues.size(), left_);
        }
        return meeting_.wait();  // nobody destroys what the other may still use
    }

    Result<void> with_place(verbs_util::Error error) const {
        if (!is_consequence(error)) {
            error.what = fmt::format("seed {} pair {} side {} epoch {} round {}: {}", options_.seed,
                                     index_, side_ == 0 ? "A" : "B", epoch_, round_, error.what);
        }
        return tl::make_unexpected(std::move(error));
    }

    const Options& options_;
    const std::uint32_t index_;
    const unsigned side_;
    PairBlock& pair_;
    Meeting meeting_;
    const std::uint64_t pair_seed_;
    std::uint64_t left_;
    Limits limits_;
    RoundPlan round_plan_;
    std::uint64_t epoch_ = 0;
    std::uint32_t round_ = 0;
};

}  // namespace

std::uint64_t share_of(const Options& options, std::uint32_t index) {
    const std::uint64_t rest = options.operations % options.pairs;
    return options.operations / options.pairs + (index < rest ? 1 : 0);
}

Result<void> run_side(const Options& options, ControlBlock& control, std::uint32_t index,
                      unsigned side) {
    return SideRun(options, control, index, side).run();
}

}  // namespace vrdma::verify
