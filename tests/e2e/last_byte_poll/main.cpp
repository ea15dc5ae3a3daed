#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <vector>

#include "tests/e2e/last_byte_poll/cell.h"
#include "tests/e2e/last_byte_poll/message.h"
#include "tests/e2e/last_byte_poll/rig.h"
#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/sizes.h"
#include "tools/verbs_util/tsc.h"

// vrdma-last-byte: does the end of a message ever become visible before the rest? Programs rely on
// it that it does not (NCCL's flags, mailboxes, ib_write_lat), and a device that copies with an
// ordinary memcpy breaks it now and then.
//
// For each message: put it into one of four sources, start the transfer, poll the end of the
// target, look at everything in front of it, wait for the completion, look again. A byte that is
// stale at the first look and right at the second is a violation of order; stale at the second is
// wrong data. The target takes turns between a place on a page, one across a page boundary and one
// in between.

namespace {

using vrdma::last_byte::Cell;
using vrdma::last_byte::LookOrder;
using vrdma::last_byte::Rig;
using vrdma::last_byte::RigOptions;
using vrdma::verbs_util::ErrorKind;
using vrdma::verbs_util::fail;
using vrdma::verbs_util::monotonic_ns;
using vrdma::verbs_util::Result;

constexpr std::uint64_t kTargets = 3;  // not a divisor of kBodies: what was there before differs
constexpr std::size_t kPage = 4096;
constexpr unsigned kPollsBeforeYield = 4096;
constexpr std::uint64_t kPatienceNs = 10'000'000'000;

struct Options {
    RigOptions rig;
    std::uint64_t operations = 1'000'000;
    std::string memory = "malloc";
    int cpu = -1;
};

struct CellResult {
    std::uint64_t violations = 0;
    std::uint64_t first_message = 0;
    std::size_t first_offset = 0;
};

std::byte* source_of(const Rig& rig, std::uint64_t number) {
    static constexpr std::size_t kOffsets[] = {0, 8, 1, 5};
    const std::uint64_t body = number % vrdma::last_byte::kBodies;
    return rig.source() + body * Rig::kSlotBytes + kOffsets[body];
}

std::byte* target_of(const Rig& rig, const Cell& cell, std::uint64_t number) {
    const auto base = reinterpret_cast<std::uintptr_t>(rig.target());
    const std::size_t to_page = (kPage - base % kPage) % kPage;
    const std::uint64_t slot = number % kTargets;
    std::byte* page = rig.target() + to_page + slot * (Rig::kSlotBytes / kPage * kPage);
    if (slot == 0) {
        return page + cell.offset;
    }
    // The second one lies across a page boundary, on a cache line like the others.
    const std::size_t half = (cell.size / 2 + 63) / 64 * 64;
    const std::size_t before = half < kPage ? kPage - half : 64;
    return page + (slot == 1 ? before : kPage / 2 + 64) + cell.offset;
}

Result<void> wait_visible(const std::byte* target, const Cell& cell, std::uint64_t number) {
    std::uint64_t give_up = 0;
    for (unsigned polls = 1; !vrdma::last_byte::end_is_visible(target, cell.size, number);
         ++polls) {
        if (polls % kPollsBeforeYield != 0) {
            continue;
        }
        (void)sched_yield();
        const std::uint64_t now = monotonic_ns();
        give_up = give_up == 0 ? now + kPatienceNs : give_up;
        if (now > give_up) {
            return fail(ErrorKind::kTransfer, "the message did not arrive within 10 s");
        }
    }
    return {};
}

Result<void> transfer_one(Rig& rig, const Cell& cell, std::uint64_t number, CellResult& result) {
    std::byte* source = source_of(rig, number);
    std::byte* target = target_of(rig, cell, number);
    vrdma::last_byte::write_stamp(source, cell.size, number);
    auto done = rig.start(cell.path, source, target, cell.size);
    if (done) {
        done = wait_visible(target, cell, number);
    }
    if (!done) {
        return done;
    }
    const auto order = static_cast<LookOrder>(number % vrdma::last_byte::kLookOrders);
    const auto stale = vrdma::last_byte::find_stale(target, cell.size, number, order);
    if (stale) {
        if (result.violations++ == 0) {
            result.first_message = number;
            result.first_offset = *stale;
        }
    }
    if (done = rig.finish(cell.path); !done) {
        return done;
    }
    const auto wrong = vrdma::last_byte::find_stale(target, cell.size, number, LookOrder::kForward);
    if (wrong || !vrdma::last_byte::end_is_visible(target, cell.size, number)) {
        return fail(ErrorKind::kVerification,
                    fmt::format("message {} is wrong at byte {} after its completion", number,
                                wrong.value_or(cell.size - 1)));
    }
    return {};
}

Result<CellResult> run_cell(Rig& rig, const Cell& cell) {
    CellResult result;
    for (std::uint64_t body = 0; body < vrdma::last_byte::kBodies; ++body) {
        vrdma::last_byte::write_body(source_of(rig, body), cell.size, body);
    }
    // What the targets hold before the first message must not look like it.
    for (std::uint64_t number = 0; number < kTargets; ++number) {
        std::byte* target = target_of(rig, cell, number);
        vrdma::last_byte::write_body(target, cell.size, number + 1);
        vrdma::last_byte::write_stamp(target, cell.size, number + 1);
    }
    for (std::uint64_t number = 0; number < cell.operations; ++number) {
        if (auto done = transfer_one(rig, cell, number, result); !done) {
            auto error = done.error();
            error.what = fmt::format("{} of {} bytes at offset +{}: {}",
                                     vrdma::last_byte::path_name(cell.path), cell.size, cell.offset,
                                     error.what);
            return tl::make_unexpected(std::move(error));
        }
    }
    return result;
}

void print_cell(const Cell& cell, const CellResult& result) {
    fmt::print("{:<13} {:>6} {:>4} {:>10} {:>10}", vrdma::last_byte::path_name(cell.path),
               vrdma::verbs_util::format_size(cell.size), fmt::format("+{}", cell.offset),
               cell.operations, result.violations);
    if (result.violations != 0) {
        fmt::print("   first: message {}, byte {} not there yet", result.first_message,
                   result.first_offset);
    }
    fmt::print("\n");
}

Result<std::uint64_t> run_all(const Options& options) {
    auto rig = Rig::create(options.rig);
    if (!rig) {
        return tl::make_unexpected(rig.error());
    }
    const char* forced = std::getenv("VRDMA_MEMORY");
    fmt::print("last-byte: {}, memory {}{}{}; device says: write {}, read {}, send {}\n",
               (*rig)->device_names(), options.memory, forced != nullptr ? ", VRDMA_MEMORY=" : "",
               forced != nullptr ? forced : "",
               (*rig)->promised_order(vrdma::last_byte::Path::kWrite),
               (*rig)->promised_order(vrdma::last_byte::Path::kRead),
               (*rig)->promised_order(vrdma::last_byte::Path::kSend));
    if (vrdma::verbs_util::allowed_cpus().size() < 2 && options.cpu < 0) {
        fmt::print(
            "last-byte: only one CPU may be used: the device never copies while this program "
            "looks\n");
    }
    if (options.cpu >= 0) {
        if (auto pinned = vrdma::verbs_util::pin_this_thread(options.cpu); !pinned) {
            return tl::make_unexpected(pinned.error());
        }
    }
    fmt::print("{:<13} {:>6} {:>4} {:>10} {:>10}\n", "path", "bytes", "at", "operations",
               "violations");
    std::uint64_t violations = 0;
    for (const Cell& cell :
         vrdma::last_byte::make_cells(options.operations, (*rig)->max_inline())) {
        const auto result = run_cell(**rig, cell);
        if (!result) {
            return tl::make_unexpected(result.error());
        }
        print_cell(cell, *result);
        violations += result->violations;
    }
    return violations;
}

void add_options(CLI::App& app, Options& options) {
    app.add_option("-n,--operations", options.operations, "messages in total")
        ->capture_default_str();
    app.add_option("--device", options.rig.device, "device to use (default: the first)");
    app.add_option("--peer-device", options.rig.peer_device,
                   "device of the other end (default: the same)");
    app.add_flag("--separate-contexts", options.rig.separate_contexts, "open the device twice");
    app.add_option("--gid-index", options.rig.gid_index, "GID to use");
    app.add_option("--memory", options.memory, "malloc, mmap, memfd or hugetlb")
        ->capture_default_str();
    app.add_option("--cpu", options.cpu, "CPU to run on");
    app.footer(
        "Exit codes: 0 no violation, 1 usage, 2 no device, 3 set-up failed, 4 a transfer "
        "failed, 5 order violated or data wrong.");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("vrdma-last-byte: is the end of a message ever visible before the rest?",
                 "vrdma-last-byte");
    Options options;
    add_options(app, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
    }
    const auto memory = vrdma::verbs_util::memory_kind_from(options.memory);
    if (!memory) {
        fmt::print(stderr, "vrdma-last-byte: --memory {}; write malloc, mmap, memfd or hugetlb\n",
                   options.memory);
        return static_cast<int>(ErrorKind::kUsage);
    }
    options.rig.memory = *memory;
    const auto violations = run_all(options);
    if (!violations) {
        std::fflush(stdout);
        fmt::print(stderr, "vrdma-last-byte: {}\n", violations.error().message());
        return violations.error().exit_code();
    }
    fmt::print("last-byte: {} operations, {} violations\n", options.operations, *violations);
    return *violations == 0 ? 0 : static_cast<int>(ErrorKind::kVerification);
}
