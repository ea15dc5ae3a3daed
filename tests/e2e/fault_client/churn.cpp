#include "tests/e2e/fault_client/churn.h"

// Set-up and tear-down as a load of their own. QP i is connected with itself, which is legal and
// needs no partner, so every command of the control path is in use when the process is killed.

namespace vrdma::fault {

verbs_util::Result<void> run_churn(const ChurnOptions& options, EventLog& log) {
    for (std::uint32_t round = 0; options.rounds == 0 || round < options.rounds; ++round) {
        auto device = verbs_util::Device::open(options.device);
        if (!device) {
            return tl::make_unexpected(device.error());
        }
        auto link = Link::create(std::move(*device), options.link);
        if (!link) {
            return tl::make_unexpected(link.error());
        }
        if (auto connected = (*link)->connect((*link)->describe()); !connected) {
            return connected;
        }
        link->reset();
        (void)log.write("churned", {{"round", round}});
    }
    return {};
}

}  // namespace vrdma::fault
