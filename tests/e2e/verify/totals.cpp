#include "tests/e2e/verify/totals.h"

#include <fmt/format.h>

// Adds up what the sides counted. Each side counts what it posted when the round was checked, and
// what it received by its own completions, so the two sums come from different processes.

namespace vrdma::verify {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

Totals add_up(const ControlBlock& control, std::uint32_t pairs) {
    Totals totals;
    for (std::uint32_t pair = 0; pair < pairs; ++pair) {
        for (const SideBlock& side : control.pairs[pair].sides) {
            for (std::size_t i = 0; i < kOpcodes; ++i) {
                totals.posted[i].operations += side.posted[i].operations;
                totals.posted[i].bytes += side.posted[i].bytes;
                totals.received[i].operations += side.received[i].operations;
                totals.received[i].bytes += side.received[i].bytes;
                totals.operations += side.posted[i].operations;
                totals.bytes += side.posted[i].bytes;
            }
            totals.completions += side.completions;
        }
        totals.rounds += control.pairs[pair].sides[0].rounds;
        totals.epochs += control.pairs[pair].sides[0].epochs;
    }
    return totals;
}

Result<void> reconcile(const Totals& totals, const Options& options) {
    if (totals.operations != options.operations) {
        return fail(ErrorKind::kVerification, fmt::format("{} operations done, {} asked for",
                                                          totals.operations, options.operations));
    }
    for (std::size_t i = 0; i < kOpcodes; ++i) {
        const auto opcode = static_cast<Opcode>(i);
        const OpcodeTotals& sent = totals.posted[i];
        const OpcodeTotals& received = totals.received[i];
        if (consumes_receive(opcode) &&
            (sent.operations != received.operations || sent.bytes != received.bytes)) {
            return fail(ErrorKind::kVerification,
                        fmt::format("{}: {} messages of {} bytes sent, {} of {} received",
                                    opcode_name(opcode), sent.operations, sent.bytes,
                                    received.operations, received.bytes));
        }
    }
    return {};
}

std::string describe(const Totals& totals) {
    std::string text;
    for (std::size_t i = 0; i < kOpcodes; ++i) {
        text += fmt::format("{:<10} {:>12} operations {:>16} bytes",
                            opcode_name(static_cast<Opcode>(i)), totals.posted[i].operations,
                            totals.posted[i].bytes);
        if (consumes_receive(static_cast<Opcode>(i))) {
            text += fmt::format(" {:>12} received", totals.received[i].operations);
        }
        text += "\n";
    }
    text += fmt::format(
        "{:<10} {:>12} operations {:>16} bytes {:>12} completions, {} rounds, {} epochs\n", "total",
        totals.operations, totals.bytes, totals.completions, totals.rounds, totals.epochs);
    return text;
}

}  // namespace vrdma::verify
