// Text has one screen: what is fine takes one line. JSON has the findings, which are stable by
// their ids, and of the facts those that a monitoring would want as values.
#include "tools/vrdma-doctor/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace vrdma::doctor {
namespace {

using nlohmann::json;

const char* verdict(int code) {
    switch (code) {
        case kExitFine:
            return "a program started here uses vRDMA";
        case kExitWarnings:
            return "a program started here uses vRDMA, with the warnings above";
        default:
            return "a program started here does not, or not always, use vRDMA: see the errors "
                   "above";
    }
}

json device_json(const Device& device) {
    json gids = json::array();
    for (const Gid& gid : device.gids) {
        gids.push_back({{"index", gid.index}, {"gid", gid.text}, {"type", gid.type}});
    }
    return {{"name", device.name},
            {"vrdma", device.vrdma},
            {"opened", device.opened},
            {"service_version", device.service_version},
            {"port_active", device.port_active},
            {"mtu", device.mtu},
            {"gids", gids}};
}

json registration_json(const Registration& registration) {
    return {{"kind", registration.kind},
            {"reason", registration.reason},
            {"error", registration.error}};
}

}  // namespace

std::string as_text(const Findings& findings) {
    std::string text;
    for (const Finding& finding : findings) {
        text += fmt::format("{:<8} {}: {}\n", name_of(finding.level), finding.id, finding.text);
        if (!finding.remedy.empty()) {
            text += fmt::format("{:<8}   -> {}\n", "", finding.remedy);
        }
    }
    return text + fmt::format("{}\n", verdict(exit_code(findings)));
}

std::string as_json(const Facts& facts, const Findings& findings) {
    json list = json::array();
    for (const Finding& finding : findings) {
        list.push_back({{"id", finding.id},
                        {"level", name_of(finding.level)},
                        {"text", finding.text},
                        {"remedy", finding.remedy}});
    }
    json devices = json::array();
    for (const Device& device : facts.devices) {
        devices.push_back(device_json(device));
    }
    json document = {{"version", facts.doctor_version},
                     {"exit_code", exit_code(findings)},
                     {"findings", list},
                     {"libibverbs",
                      {{"path", facts.library.path},
                       {"version", facts.library.version},
                       {"private_interface", facts.library.private_interface}}},
                     {"provider", facts.provider.loaded},
                     {"devices", devices}};
    if (facts.memory.threaded.tried) {
        document["memory"] = {{"private", registration_json(facts.memory.threaded)},
                              {"private_single_thread", registration_json(facts.memory.single)},
                              {"shared", registration_json(facts.memory.shared)}};
    }
    if (facts.transfer.tried && facts.transfer.problem.empty()) {
        document["transfer"] = {{"gigabytes_per_second", facts.transfer.speed.gigabytes_per_second},
                                {"microseconds", facts.transfer.speed.microseconds}};
    }
    // What comes from files and variables need not be UTF-8.
    return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace vrdma::doctor
