// The command line of vrdmactl.
//
// Each subcommand is translated into one request of the control API and one way to show its answer;
// there is no other logic here, so whatever vrdmactl can do, curl can do too. Values are passed to
// the service unchecked: it has the rules, and a second copy of them would drift. Names are checked
// as far as they become part of a path.

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <sstream>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vrdmactl/answer.h"
#include "tools/vrdmactl/capture.h"
#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/invocation.h"
#include "tools/vrdmactl/render.h"

namespace vrdma::vrdmactl {
namespace {

constexpr char kFooter[] =
    "Exit status: 0 done, 1 the service refused or cannot be reached, 2 the command line is "
    "wrong.\n"
    "The manual is vrdmactl(1).";

/// What the options of all subcommands are read into.
struct Raw {
    std::string socket;
    std::string runtime_dir;
    bool json = false;
    std::string name;
    std::string vnic;
    std::string qpn;
    std::string state;
    std::uint32_t limit = 0;
    bool force = false;
    bool all = false;
    std::vector<std::string> faults;
    std::string file;
    std::string duration;
    std::string peer;
    std::uint32_t snaplen = 0;
    std::uint64_t count = 0;
    std::string wrong;  ///< what CLI11 cannot check
    std::vector<std::pair<std::string, std::string>> texts;
};

/// A subcommand and what to do when it was used.
struct Entry {
    CLI::App* app;
    std::function<void(Invocation&)> fill;
};

bool is_name(const std::string& text) {
    const auto good = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
    };
    return !text.empty() && std::all_of(text.begin(), text.end(), good);
}

CLI::Validator name_validator() {
    return CLI::Validator(
        [](const std::string& text) {
            return is_name(text) ? std::string() : "\"" + text + "\" cannot be a name";
        },
        "NAME");
}

std::string list_target(const std::string& path, const Raw& raw) {
    std::string target = path;
    char separator = '?';
    if (!raw.vnic.empty()) {
        target += separator + ("vnic=" + raw.vnic);
        separator = '&';
    }
    if (raw.limit != 0) {
        target += separator + ("limit=" + std::to_string(raw.limit));
    }
    return target;
}

/// Numbers as numbers, where the API takes a name or a number, and truth values as such. What is
/// neither stays text, which the service refuses with what it expects.
Json value_of(const std::string& key, const std::string& text) {
    if (key == "process_memory" || key == "userfaultfd") {
        return text == "true" || text == "false" ? Json(text == "true") : Json(text);
    }
    if (key != "owner" && key != "group" && !key.starts_with("max_")) {
        return Json(text);
    }
    constexpr std::size_t kMostDigits = 18;
    const bool number = !text.empty() && text.size() <= kMostDigits &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    return number ? Json(std::stoll(text)) : Json(text);
}

/// "drop=0.01 delay=50us" as a table; "off" as it is. Nothing if it is neither.
std::optional<Json> faults_of(const std::vector<std::string>& words) {
    if (words.size() == 1 && words.front() == "off") {
        return Json("off");
    }
    Json table = Json::object();
    for (const std::string& word : words) {
        const std::size_t equals = word.find('=');
        const std::string key = word.substr(0, equals);
        if (equals == std::string::npos || key.empty() || table.contains(key)) {
            return std::nullopt;
        }
        const std::string text = word.substr(equals + 1);
        const Json number = Json::parse(text, nullptr, false);
        table[key] = number.is_number() ? number : Json(text);
    }
    return table;
}

CLI::Validator fault_validator() {
    return CLI::Validator(
        [](const std::string& word) {
            const bool good =
                word == "off" || (word.find('=') != std::string::npos && word.front() != '=');
            return good ? std::string() : "\"" + word + "\" is neither KEY=VALUE nor off";
        },
        "KEY=VALUE");
}

/// "10s" as a time. Nothing if it is none, or zero.
std::optional<std::chrono::nanoseconds> time_of(const std::string& text) {
    using std::chrono::nanoseconds;
    constexpr std::array<std::pair<std::string_view, nanoseconds>, 4> kUnits{
        {{"ms", std::chrono::milliseconds(1)},
         {"s", std::chrono::seconds(1)},
         {"min", std::chrono::minutes(1)},
         {"h", std::chrono::hours(1)}}};
    std::uint32_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& candidate) {
        return candidate.first == std::string_view(stop, static_cast<std::size_t>(end - stop));
    });
    if (error != std::errc{} || number == 0 || unit == kUnits.end()) {
        return std::nullopt;
    }
    return number * unit->second;
}

CLI::Validator time_validator() {
    return CLI::Validator(
        [](const std::string& text) {
            return time_of(text) ? std::string()
                                 : "\"" + text + "\" is no time such as 500ms, 10s, 5min or 1h";
        },
        "TIME");
}

/// A number if it is one, decimal or 0x and hexadecimal; else text, which the service refuses.
Json qpn_of(const std::string& text) {
    const bool hexadecimal = text.starts_with("0x");
    std::uint32_t qpn = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] =
        std::from_chars(text.data() + (hexadecimal ? 2 : 0), end, qpn, hexadecimal ? 16 : 10);
    return error == std::errc{} && stop == end ? Json(qpn) : Json(text);
}

class Builder {
  public:
    Builder() : app_("Looks at and changes a running vrdmad.", "vrdmactl") {
        app_.footer(kFooter);
        app_.require_subcommand(1);
        app_.fallthrough();
        app_.set_version_flag("--version", std::string("vrdmactl ") + VRDMA_VERSION);
        app_.add_option("--runtime-dir", raw_.runtime_dir, "The service's runtime directory");
        app_.add_option("--socket", raw_.socket, "The service's control socket")
            ->excludes("--runtime-dir");
        app_.add_flag("--json", raw_.json, "Print the service's answer as JSON");
        add_status();
        add_vnic();
        add_port();
        add_qp();
        add_mr();
        add_multicast();
        add_counters();
        add_capture();
    }

    tl::expected<Invocation, Ending> parse(std::vector<std::string> arguments) {
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
        try {
            app_.parse(arguments);
        } catch (const CLI::ParseError& error) {
            std::ostringstream out;
            const int code = app_.exit(error, out, out);
            return tl::unexpected(Ending{code == 0 ? kDone : kUsage, out.str()});
        }
        Invocation invocation;
        if (!raw_.socket.empty()) {
            invocation.service.socket = raw_.socket;
        }
        if (!raw_.runtime_dir.empty()) {
            invocation.service.runtime_dir = raw_.runtime_dir;
        }
        invocation.json = raw_.json;
        for (const Entry& entry : entries_) {
            if (entry.app->parsed()) {
                entry.fill(invocation);
            }
        }
        if (!raw_.wrong.empty()) {
            return tl::unexpected(Ending{kUsage, raw_.wrong + "\n"});
        }
        return invocation;
    }

  private:
    void add_status() {
        CLI::App* const app = app_.add_subcommand("status", "The service and its workers");
        entries_.push_back({app, [](Invocation& to) {
                                to.request = {"GET", "/v1/status", ""};
                                to.render = render_status;
                            }});
    }

    CLI::App* add_group(const std::string& name, const std::string& help) {
        CLI::App* const group = app_.add_subcommand(name, help);
        group->require_subcommand(1);
        group->fallthrough();
        return group;
    }

    void take_name(CLI::App* app) {
        app->add_option("NAME", raw_.name, "The vNIC's name")->required()->check(name_validator());
    }

    // Of one vNIC or all, and no longer than asked for.
    void answers_with_list(CLI::App* app, const char* path, std::string (*render)(const Json&)) {
        app->add_option("--vnic", raw_.vnic, "Only those of this vNIC")->check(name_validator());
        app->add_option("--limit", raw_.limit, "At most so many; 1000 if not given")
            ->check(CLI::Range(1, 65536));
        entries_.push_back({app, [this, path, render](Invocation& to) {
                                to.request = {"GET", list_target(path, raw_), ""};
                                to.render = render;
                            }});
    }

    void add_vnic() {
        CLI::App* const group = add_group("vnic", "Virtual NICs");
        CLI::App* const list = group->add_subcommand("list", "All vNICs");
        entries_.push_back({list, [](Invocation& to) {
                                to.request = {"GET", "/v1/vnics", ""};
                                to.render = render_vnics;
                            }});
        CLI::App* const show = group->add_subcommand("show", "Everything about one vNIC");
        take_name(show);
        entries_.push_back({show, [this](Invocation& to) {
                                to.request = {"GET", "/v1/vnics/" + raw_.name, ""};
                                to.render = render_vnic;
                            }});
        add_vnic_add(group);
        add_vnic_del(group);
        add_vnic_set(group);
    }

    void take_text(CLI::App* app, const std::string& key, const std::string& help, bool required) {
        std::string flag = "--" + key;
        std::replace(flag.begin(), flag.end(), '_', '-');
        app->add_option_function<std::string>(
               flag, [this, key](const std::string& value) { raw_.texts.emplace_back(key, value); },
               help)
            ->required(required);
    }

    void add_vnic_add(CLI::App* group) {
        CLI::App* const app = group->add_subcommand(
            "add", "Add a vNIC; it is gone after a restart unless the configuration has it too");
        take_name(app);
        take_text(app, "network", "Name of its network", true);
        take_text(app, "address", "Its IPv4 address in the network", true);
        take_text(app, "mac", "Its MAC address; derived from the address if not given", false);
        take_text(app, "owner", "Owner of the attach socket, name or uid", false);
        take_text(app, "group", "Group of the attach socket, name or gid", false);
        take_text(app, "mode", "Permissions of the attach socket; 0660 if not given", false);
        take_text(app, "process_memory",
                  "true or false: may memory be reached through the process; true if not given",
                  false);
        take_text(app, "userfaultfd",
                  "true or false: do its programs get /dev/userfaultfd; false if not given", false);
        for (const char* quota :
             {"max_contexts", "max_pds", "max_mrs", "max_cqs", "max_qps", "max_srqs"}) {
            take_text(app, quota, "Quota", false);
        }
        take_text(app, "max_mr_bytes", "Quota, such as 68719476736 or 64GiB", false);
        entries_.push_back({app, [this](Invocation& to) {
                                Json body = {{"name", raw_.name}};
                                for (const auto& [key, value] : raw_.texts) {
                                    body[key] = value_of(key, value);
                                }
                                to.request = {
                                    "POST", "/v1/vnics",
                                    body.dump(-1, ' ', true, Json::error_handler_t::replace)};
                                to.render = render_vnic;
                            }});
    }

    void add_vnic_del(CLI::App* group) {
        CLI::App* const app = group->add_subcommand("del", "Delete a vNIC");
        take_name(app);
        app->add_flag("--force", raw_.force, "Also while processes use it: they lose the device");
        entries_.push_back(
            {app, [this](Invocation& to) {
                 to.request = {"DELETE",
                               "/v1/vnics/" + raw_.name + (raw_.force ? "?force=true" : ""), ""};
                 to.render = [](const Json&) { return std::string(); };
             }});
    }

    void add_vnic_set(CLI::App* group) {
        CLI::App* const app = group->add_subcommand("set", "Take a vNIC's port up or down");
        take_name(app);
        app->add_option("STATE", raw_.state, "up or down")
            ->required()
            ->check(CLI::IsMember({"up", "down"}));
        entries_.push_back({app, [this](Invocation& to) {
                                to.request = {"PATCH", "/v1/vnics/" + raw_.name,
                                              Json{{"state", raw_.state}}.dump()};
                                to.render = render_vnic;
                            }});
    }

    void add_port() {
        CLI::App* const group = add_group("port", "Ports to other hosts");
        CLI::App* const list = group->add_subcommand("list", "All ports");
        entries_.push_back({list, [](Invocation& to) {
                                to.request = {"GET", "/v1/ports", ""};
                                to.render = render_ports;
                            }});
        CLI::App* const show =
            group->add_subcommand("show", "Everything about one port, its counters and neighbours");
        show->add_option("NAME", raw_.name, "The port's name")->required()->check(name_validator());
        show->add_flag("--all", raw_.all, "Also counters that are zero");
        entries_.push_back({show, [this](Invocation& to) {
                                to.request = {"GET", "/v1/ports/" + raw_.name, ""};
                                to.render = [all = raw_.all](const Json& answer) {
                                    return render_port(answer, all);
                                };
                            }});
        add_port_fault(group);
    }

    void add_port_fault(CLI::App* group) {
        CLI::App* const app = group->add_subcommand(
            "fault", "Inject faults into what a port sends and receives, or stop that");
        app->add_option("NAME", raw_.name, "The port's name")->required()->check(name_validator());
        app->add_option("FAULT", raw_.faults,
                        "off, or some of drop=, duplicate=, corrupt=, mark=, reorder_share= with a "
                        "share such as 0.01, reorder=64, delay= and jitter= with a time such as "
                        "50us, seed=1, direction=both|send|receive")
            ->required()
            ->expected(1, -1)
            ->check(fault_validator());
        entries_.push_back({app, [this](Invocation& to) {
                                const auto faults = faults_of(raw_.faults);
                                if (!faults) {
                                    raw_.wrong = "FAULT: each key once, or off alone";
                                    return;
                                }
                                to.request = {"PATCH", "/v1/ports/" + raw_.name,
                                              Json{{"faults", *faults}}.dump(
                                                  -1, ' ', true, Json::error_handler_t::replace)};
                                to.render = [](const Json& answer) {
                                    return "Faults: " + faults_text(member(answer, "faults")) +
                                           "\n";
                                };
                            }});
    }

    void add_capture() {
        CLI::App* const app = app_.add_subcommand(
            "capture", "Write what a port sends and receives to a pcapng file, until Ctrl-C");
        app->add_option("PORT", raw_.name, "The port's name")->required()->check(name_validator());
        app->add_option("-w,--write", raw_.file, "The file; - is standard output")->required();
        app->add_option("--duration", raw_.duration,
                        "End after a time such as 500ms, 10s, 5min, 1h")
            ->check(time_validator());
        app->add_option("--count", raw_.count, "End after so many packets");
        app->add_option("--snaplen", raw_.snaplen, "Keep at most so many bytes of each, from 64");
        CLI::Option* const qp =
            app->add_option("--qp", raw_.qpn, "Only packets of this queue pair of this host");
        app->add_option("--peer", raw_.peer, "Only packets to and from this IP address")
            ->excludes(qp);
        entries_.push_back({app, [this, app](Invocation& to) {
                                Json body = Json::object();
                                for (const auto& [key, value] :
                                     {std::pair<const char*, Json>{"snaplen", raw_.snaplen},
                                      {"count", raw_.count},
                                      {"qp", qpn_of(raw_.qpn)},
                                      {"peer", raw_.peer}}) {
                                    if (app->count(std::string("--") + key) != 0) {
                                        body[key] = value;
                                    }
                                }
                                to.request = {
                                    "POST", "/v1/ports/" + raw_.name + "/captures",
                                    body.dump(-1, ' ', true, Json::error_handler_t::replace)};
                                to.render = render_capture;
                                to.capture = CaptureFile{raw_.file, time_of(raw_.duration)};
                            }});
    }

    void add_qp() {
        CLI::App* const group = add_group("qp", "Queue pairs");
        CLI::App* const list = group->add_subcommand("list", "Queue pairs and their state");
        answers_with_list(list, "/v1/qps", render_qps);
        CLI::App* const show = group->add_subcommand("show", "Everything about one queue pair");
        show->add_option("QPN", raw_.qpn, "Its number, decimal or 0x and hexadecimal")
            ->required()
            ->check(name_validator());
        entries_.push_back({show, [this](Invocation& to) {
                                to.request = {"GET", "/v1/qps/" + raw_.qpn, ""};
                                to.render = render_qp;
                            }});
    }

    void add_mr() {
        CLI::App* const group = add_group("mr", "Memory regions");
        CLI::App* const list =
            group->add_subcommand("list", "Memory regions and how the service reaches them");
        answers_with_list(list, "/v1/mrs", render_mrs);
    }

    void add_multicast() {
        CLI::App* const group = add_group("group", "Multicast groups");
        CLI::App* const list = group->add_subcommand("list", "Groups, and who is in them");
        answers_with_list(list, "/v1/groups", render_groups);
    }

    void add_counters() {
        CLI::App* const app = app_.add_subcommand("counters", "Counters of the service and vNICs");
        app->add_option("--vnic", raw_.vnic, "Only those of this vNIC")->check(name_validator());
        app->add_flag("--all", raw_.all, "Also counters that are zero");
        entries_.push_back({app, [this](Invocation& to) {
                                to.request = {"GET", list_target("/v1/counters", raw_), ""};
                                to.render = [all = raw_.all](const Json& answer) {
                                    return render_counters(answer, all);
                                };
                            }});
    }

    CLI::App app_;
    Raw raw_;
    std::vector<Entry> entries_;
};

}  // namespace

tl::expected<Invocation, Ending> parse_command_line(const std::vector<std::string>& arguments) {
    return Builder().parse(arguments);
}

}  // namespace vrdma::vrdmactl
