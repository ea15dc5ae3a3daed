#include <variant>

#include "tests/e2e/fault_client/options.h"

// Entry point: runs the role, reports what made it fail as its last line.

namespace {

using vrdma::fault::EventLog;
using vrdma::fault::Options;
using vrdma::fault::Role;

vrdma::verbs_util::Result<void> run(const Options& options, EventLog& log) {
    switch (options.role) {
        case Role::kVictim:
            return vrdma::fault::run_victim(options.session, log);
        case Role::kPartner:
            return vrdma::fault::run_partner(options.session, log);
        case Role::kBystander:
            return vrdma::fault::run_bystander(options.bystander, log);
        case Role::kChurn:
            return vrdma::fault::run_churn(options.churn, log);
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const auto parsed = vrdma::fault::parse_options(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) {
        return *code;
    }
    const auto& options = std::get<Options>(parsed);
    EventLog log(vrdma::fault::role_name(options.role));
    const auto done = run(options, log);
    if (!done) {
        log.write_error(done.error());
        return done.error().exit_code();
    }
    return 0;
}
