#include "tests/e2e/fault_client/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/sizes.h"

// Reads the command line with CLI11, one subcommand for each role. The footer documents the output,
// because drivers are written against it.

namespace vrdma::fault {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr char kFooter[] =
    "Every role writes JSON lines to standard output, each with role, pid, event and monotonic_ns\n"
    "(CLOCK_MONOTONIC, comparable between the processes of a host).\n"
    "\n"
    "victim     created, connected, transferring (a request has completed on every QP: the time "
    "to\n"
    "           kill it), then first_error, all_errors, async_event, control_closed if it lives "
    "to\n"
    "           see its partner or the service go\n"
    "partner    listening (with the port), then for each victim connected, transferring;\n"
    "           first_error (qp, qpn, status, receive), all_errors (the last QP has failed),\n"
    "           async_event (the first of each type: type, qpn), control_closed (the victim's\n"
    "           process has ended: the reference time), and summary: operations, failed_qps,\n"
    "           noticed, async_events (how many of each type), and the times first_error_ns,\n"
    "           all_errors_ns, first_event_ns from control_closed on (negative: before it; null:\n"
    "           did not happen)\n"
    "bystander  transferring, progress and summary: operations, errors, longest_wait_ns,\n"
    "           longest_wait_since_report_ns\n"
    "churn      churned (round)\n"
    "all        failed (exit_code, message) before an exit code other than 0\n"
    "\n"
    "Exit codes: 0 all as it must be, 1 usage, 2 no device, 3 set-up failed, 4 a transfer failed "
    "or\n"
    "a victim's end was not noticed in time, 5 data wrong, 6 the other process is gone or silent.\n"
    "\n"
    "Example (the driver kills the victim after its line \"transferring\"):\n"
    "  vrdma-fault-client partner --listen unix:/tmp/p.sock &\n"
    "  vrdma-fault-client bystander --seconds 30 &\n"
    "  vrdma-fault-client victim --connect unix:/tmp/p.sock --qps 100 --mrs 10 --cqs 5";

struct Raw {
    std::string size = "4K";
    std::string memory = "malloc";
    std::string transfer = "mixed";
    std::string traffic = "both";
    std::string device;
    int gid_index = -1;
    LinkOptions link;
};

void add_common(CLI::App& app, Raw& raw) {
    app.add_option("--device", raw.device, "device to use (default: the first)");
    app.add_option("--gid-index", raw.gid_index, "GID to use (default: RoCE v2 over IPv4)");
}

void add_memory(CLI::App& app, Raw& raw) {
    app.add_option("--size", raw.size, "bytes of a message")->capture_default_str();
    app.add_option("--memory", raw.memory, "malloc, mmap, memfd or hugetlb")->capture_default_str();
}

void add_link(CLI::App& app, Raw& raw) {
    add_memory(app, raw);
    app.add_option("--qps", raw.link.qps, "queue pairs")->capture_default_str();
    app.add_option("--mrs", raw.link.mrs, "memory regions, each with memory of its own")
        ->capture_default_str();
    app.add_option("--cqs", raw.link.cqs, "completion queues")->capture_default_str();
    app.add_option("--window", raw.link.window, "outstanding requests and receives of a QP")
        ->capture_default_str();
    app.add_option("--timeout", raw.link.timeout, "local ACK timeout code of the QPs")
        ->capture_default_str();
    app.add_option("--retries", raw.link.retry_count, "retry count of the QPs")
        ->capture_default_str();
}

void add_roles(CLI::App& app, Raw& raw, Options& options) {
    auto* victim = app.add_subcommand("victim", "connects to a partner and transfers until killed");
    add_common(*victim, raw);
    add_link(*victim, raw);
    victim->add_option("--connect", options.session.address, "HOST:PORT or unix:PATH")->required();
    victim->add_option("--operation", raw.transfer, "write, read, send or mixed")
        ->capture_default_str();
    victim->add_option("--traffic", raw.traffic, "who posts requests: both, victim, partner, none")
        ->capture_default_str();
    victim->add_option("--seconds", options.session.seconds, "stop by itself, in an orderly way");

    auto* partner = app.add_subcommand("partner", "waits for victims and reports their end");
    add_common(*partner, raw);
    partner->add_option("--listen", options.session.address, "[HOST]:PORT or unix:PATH")
        ->required();
    partner->add_option("--rounds", options.session.rounds, "victims, one after the other")
        ->capture_default_str();
    partner
        ->add_option("--within-ms", options.session.within_ms,
                     "a victim's end must be noticed within this time")
        ->capture_default_str();

    auto* bystander =
        app.add_subcommand("bystander", "transfers and verifies within this process all the time");
    add_common(*bystander, raw);
    add_memory(*bystander, raw);
    bystander->add_option("--peer-device", options.bystander.peer_device,
                          "device of the other end (default: the same)");
    bystander->add_option("--seconds", options.bystander.seconds,
                          "how long (default: until SIGTERM)");
    bystander->add_option("--report-ms", options.bystander.report_ms, "time between progress lines")
        ->capture_default_str();

    auto* churn = app.add_subcommand("churn", "creates and destroys everything until killed");
    add_common(*churn, raw);
    add_link(*churn, raw);
    churn->add_option("--rounds", options.churn.rounds, "stop after so many (default: never)");
    app.require_subcommand(1);
}

Result<void> translate_words(const Raw& raw, SessionOptions& session) {
    constexpr std::array kTransfers = {
        std::pair("write", Transfer::kWrite), std::pair("read", Transfer::kRead),
        std::pair("send", Transfer::kSend), std::pair("mixed", Transfer::kMixed)};
    bool known = false;
    for (const auto& [name, transfer] : kTransfers) {
        if (raw.transfer == name) {
            session.transfer = transfer;
            known = true;
        }
    }
    if (!known) {
        return fail(ErrorKind::kUsage, "--operation " + raw.transfer,
                    "write write, read, send or mixed");
    }
    session.victim_sends = raw.traffic == "both" || raw.traffic == "victim";
    session.partner_sends = raw.traffic == "both" || raw.traffic == "partner";
    if (!session.victim_sends && !session.partner_sends && raw.traffic != "none") {
        return fail(ErrorKind::kUsage, "--traffic " + raw.traffic,
                    "write both, victim, partner or none");
    }
    return {};
}

Result<void> translate(const CLI::App& app, const Raw& raw, Options& options) {
    if (auto words = translate_words(raw, options.session); !words) {
        return words;
    }
    const auto size = verbs_util::parse_size(raw.size);
    const auto memory = verbs_util::memory_kind_from(raw.memory);
    if (!size || *size > UINT32_MAX || !memory) {
        return fail(ErrorKind::kUsage, fmt::format("--size {} --memory {}", raw.size, raw.memory),
                    "write a size such as 4K, and malloc, mmap, memfd or hugetlb");
    }
    LinkOptions link = raw.link;
    link.size = static_cast<std::uint32_t>(*size);
    link.memory = *memory;
    if (auto valid = validate(link); !valid) {
        return valid;
    }
    verbs_util::DeviceOptions device;
    device.name = raw.device;
    device.gid_index = raw.gid_index;
    options.session.device = options.bystander.device = options.churn.device = device;
    options.session.link = options.churn.link = link;
    options.bystander.size = link.size;
    options.bystander.memory = link.memory;
    const std::string role = app.get_subcommands().front()->get_name();
    for (const Role candidate : {Role::kVictim, Role::kPartner, Role::kBystander, Role::kChurn}) {
        options.role = role == role_name(candidate) ? candidate : options.role;
    }
    return {};
}

}  // namespace

const char* role_name(Role role) {
    switch (role) {
        case Role::kVictim:
            return "victim";
        case Role::kPartner:
            return "partner";
        case Role::kBystander:
            return "bystander";
        case Role::kChurn:
            return "churn";
    }
    return "unknown";
}

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
    CLI::App app("vrdma-fault-client: programs for tests in which something dies",
                 "vrdma-fault-client");
    app.footer(kFooter);
    Raw raw;
    Options options;
    add_roles(app, raw, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::kUsage);
    }
    if (const auto done = translate(app, raw, options); !done) {
        fmt::print(stderr, "vrdma-fault-client: {}\n", done.error().message());
        return done.error().exit_code();
    }
    return options;
}

}  // namespace vrdma::fault
