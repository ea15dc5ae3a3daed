// Paths and methods of the control API.
//
// Knows nothing of sockets and HTTP framing (http_server.cpp does), so it can be tested with
// strings. A table says which resource has which methods; a request is checked in the order path,
// method, query, body, existence of the vNIC, and each failure answers with what was expected and
// what to do. The model never sees a request that is not well-formed.
//
// Two things can throw in here, memory exhaustion and a bug; both end in a 500 for that request
// alone. Because outcomes may arrive later, from code that is compiled without exceptions, each
// continuation is guarded as well as the first call.

#include "dataplane/control/routes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "dataplane/control/call.h"
#include "dataplane/control/json.h"
#include "dataplane/control/metrics.h"
#include "dataplane/control/port_routes.h"
#include "dataplane/control/target.h"

namespace vrdma::control {
namespace {

struct Route {
    std::string_view method;
    std::array<std::string_view, 5> path;  ///< "*" matches any one segment; "" is the end
    std::array<std::string_view, 2> query;
    void (*run)(const Call&);
};

ApiResponse no_such_vnic(const Call& call, const std::string& name) {
    std::string known;
    for (const VnicConfig& vnic : call.model.configuration().vnics) {
        constexpr std::size_t kEnough = 200;
        if (known.size() > kEnough) {
            known += ", ...";
            break;
        }
        known += (known.empty() ? "" : ", ") + vnic.name;
    }
    return problem(404, fmt::format("there is no vNIC \"{}\"", name),
                   known.empty() ? "no vNIC exists yet" : "one of: " + known,
                   "list them with vrdmactl vnic list (GET /v1/vnics)");
}

/// Answers 404 and returns false if the path names no vNIC.
bool vnic_exists(const Call& call) {
    if (call.model.configuration().find_vnic(call.name) != nullptr) {
        return true;
    }
    call.respond(no_such_vnic(call, call.name));
    return false;
}

/// The list's filter from the query. Nothing, with the answer given, if it is wrong.
std::optional<ListFilter> list_filter(const Call& call) {
    ListFilter filter{call.target.find("vnic"), kDefaultListLimit};
    if (filter.vnic && call.model.configuration().find_vnic(*filter.vnic) == nullptr) {
        call.respond(no_such_vnic(call, *filter.vnic));
        return std::nullopt;
    }
    const auto limit = call.target.find("limit");
    if (!limit) {
        return filter;
    }
    const char* const end = limit->data() + limit->size();
    const auto [stop, error] = std::from_chars(limit->data(), end, filter.limit);
    if (error != std::errc{} || stop != end || filter.limit == 0 || filter.limit > kMaxListLimit) {
        call.respond(problem(400, fmt::format("limit is \"{}\"", *limit),
                             fmt::format("a whole number from 1 to {}", kMaxListLimit),
                             "correct limit or leave it out"));
        return std::nullopt;
    }
    return filter;
}

void get_status(const Call& call) {
    call.model.status(respond_json<ServiceStatus>(call));
}

void get_vnics(const Call& call) {
    call.model.vnics(respond_with<std::vector<VnicInfo>>(call, [](const auto& vnics) {
        Json list = Json::array();
        for (const VnicInfo& vnic : vnics) {
            list.push_back(to_json(vnic));
        }
        return ok({{"vnics", std::move(list)}});
    }));
}

void add_vnic(const Call& call) {
    const auto config =
        parse_vnic_request(call.request.body, call.model.configuration(), host_facts());
    if (!config) {
        call.respond(refused(config.error()));
        return;
    }
    const Configuration& now = call.model.configuration();
    if (now.vnics.size() >= now.limits.max_vnics) {
        call.respond(problem(507, fmt::format("there are {} vNICs already", now.vnics.size()),
                             fmt::format("fewer than limits.max_vnics = {}", now.limits.max_vnics),
                             "delete one, or raise limits.max_vnics and restart the service"));
        return;
    }
    call.model.add_vnic(*config, respond_json<VnicInfo>(call, 201));
}

void get_vnic(const Call& call) {
    if (vnic_exists(call)) {
        call.model.vnic(call.name, respond_json<VnicInfo>(call));
    }
}

void delete_vnic(const Call& call) {
    const std::string force = call.target.find("force").value_or("false");
    if (force != "true" && force != "false") {
        call.respond(problem(400, fmt::format("force is \"{}\"", force), "true or false",
                             "correct force or leave it out"));
        return;
    }
    if (vnic_exists(call)) {
        call.model.delete_vnic(call.name, force == "true", respond_with<Nothing>(call, [](Nothing) {
                                   ApiResponse response;
                                   response.status = 204;
                                   return response;
                               }));
    }
}

void set_vnic(const Call& call) {
    const auto body = nlohmann::json::parse(call.request.body, nullptr, false);
    const bool up = body == nlohmann::json{{"state", "up"}};
    const bool down = body == nlohmann::json{{"state", "down"}};
    if (!up && !down) {
        call.respond(problem(400, "the body is something else",
                             "{\"state\": \"up\"} or {\"state\": \"down\"}, nothing more",
                             "send one of these; other properties need delete and add"));
        return;
    }
    if (vnic_exists(call)) {
        call.model.set_vnic_state(call.name, up ? LinkState::kUp : LinkState::kDown,
                                  respond_json<VnicInfo>(call));
    }
}

// A list of which only a part may be asked for, and how long it is in all.
template <class List, class Item>
void get_list(const Call& call, const char* name,
              void (ServiceModel::*ask)(const ListFilter&, Done<List>),
              std::vector<Item> List::*items) {
    const auto filter = list_filter(call);
    if (!filter) {
        return;
    }
    (call.model.*ask)(*filter, respond_with<List>(call, [name, items](const List& list) {
        Json shown = Json::array();
        for (const Item& item : list.*items) {
            shown.push_back(to_json(item));
        }
        return ok({{name, std::move(shown)}, {"total", list.total}});
    }));
}

void get_qps(const Call& call) {
    get_list(call, "qps", &ServiceModel::qps, &QpList::qps);
}

void get_qp(const Call& call) {
    constexpr std::uint32_t kHighest = (1U << 24) - 1;  // a queue pair number has 24 bits
    std::uint32_t qpn = 0;
    const bool hexadecimal = call.name.starts_with("0x");
    const char* const begin = call.name.data() + (hexadecimal ? 2 : 0);
    const char* const end = call.name.data() + call.name.size();
    const auto [stop, error] = std::from_chars(begin, end, qpn, hexadecimal ? 16 : 10);
    if (error != std::errc{} || stop != end || qpn > kHighest) {
        call.respond(problem(400, fmt::format("\"{}\" is no queue pair number", call.name),
                             "a whole number of 24 bits, decimal or 0x and hexadecimal",
                             "list queue pairs with vrdmactl qp list (GET /v1/qps)"));
        return;
    }
    call.model.qp(qpn, respond_json<QpInfo>(call));
}

void get_mrs(const Call& call) {
    get_list(call, "mrs", &ServiceModel::mrs, &MrList::mrs);
}

void get_groups(const Call& call) {
    get_list(call, "groups", &ServiceModel::groups, &GroupList::groups);
}

void get_counters(const Call& call) {
    const auto vnic = call.target.find("vnic");
    if (vnic && call.model.configuration().find_vnic(*vnic) == nullptr) {
        call.respond(no_such_vnic(call, *vnic));
        return;
    }
    call.model.counters(vnic, respond_json<Counters>(call));
}

/// Four questions, one after the other, then one text.
void get_metrics(const Call& call) {
    struct Scrape {
        ServiceStatus status;
        std::vector<VnicInfo> vnics;
        std::vector<PortInfo> ports;
    };
    const auto scrape = std::make_shared<Scrape>();
    const auto& respond = call.respond;
    auto finish = [scrape, respond](Outcome<Counters> counters) {
        guarded(respond, [&] {
            if (!counters) {
                return refused(counters.error());
            }
            ApiResponse response;
            response.content_type = "text/plain; version=0.0.4; charset=utf-8";
            response.body =
                prometheus_text(scrape->status, scrape->vnics, scrape->ports, *counters);
            return response;
        });
    };
    auto then_counters = [&model = call.model, scrape, respond,
                          finish](Outcome<std::vector<PortInfo>> ports) {
        if (!ports) {
            guarded(respond, [&] { return refused(ports.error()); });
            return;
        }
        scrape->ports = std::move(*ports);
        model.counters(std::nullopt, finish);
    };
    auto then_ports = [&model = call.model, scrape, respond,
                       then_counters](Outcome<std::vector<VnicInfo>> vnics) {
        if (!vnics) {
            guarded(respond, [&] { return refused(vnics.error()); });
            return;
        }
        scrape->vnics = std::move(*vnics);
        model.ports(then_counters);
    };
    call.model.status(
        [&model = call.model, scrape, respond, then_ports](Outcome<ServiceStatus> status) {
            if (!status) {
                guarded(respond, [&] { return refused(status.error()); });
                return;
            }
            scrape->status = std::move(*status);
            model.vnics(then_ports);
        });
}

constexpr Route kRoutes[] = {
    {"GET", {"v1", "status"}, {}, get_status},
    {"GET", {"v1", "vnics"}, {}, get_vnics},
    {"POST", {"v1", "vnics"}, {}, add_vnic},
    {"GET", {"v1", "vnics", "*"}, {}, get_vnic},
    {"DELETE", {"v1", "vnics", "*"}, {"force"}, delete_vnic},
    {"PATCH", {"v1", "vnics", "*"}, {}, set_vnic},
    {"GET", {"v1", "ports"}, {}, get_ports},
    {"GET", {"v1", "ports", "*"}, {}, get_port},
    {"PATCH", {"v1", "ports", "*"}, {}, set_port},
    {"POST", {"v1", "ports", "*", "captures"}, {}, start_capture},
    {"GET", {"v1", "ports", "*", "captures", "*"}, {}, read_capture},
    {"PATCH", {"v1", "ports", "*", "captures", "*"}, {}, stop_capture},
    {"DELETE", {"v1", "ports", "*", "captures", "*"}, {}, end_capture},
    {"GET", {"v1", "qps"}, {"vnic", "limit"}, get_qps},
    {"GET", {"v1", "qps", "*"}, {}, get_qp},
    {"GET", {"v1", "mrs"}, {"vnic", "limit"}, get_mrs},
    {"GET", {"v1", "groups"}, {"vnic", "limit"}, get_groups},
    {"GET", {"v1", "counters"}, {"vnic"}, get_counters},
    {"GET", {"metrics"}, {}, get_metrics},
};

/// What stands for the route's first "*".
std::string name_in(const Route& route, const Target& target) {
    const auto any = std::find(route.path.begin(), route.path.end(), "*");
    return any == route.path.end()
               ? std::string()
               : target.path[static_cast<std::size_t>(any - route.path.begin())];
}

bool matches(const Route& route, const Target& target) {
    for (std::size_t i = 0; i < route.path.size(); ++i) {
        const std::string_view have =
            i < target.path.size() ? std::string_view(target.path[i]) : std::string_view();
        const bool any = route.path[i] == "*" && !have.empty();
        if (!any && route.path[i] != have) {
            return false;
        }
    }
    return target.path.size() <= route.path.size();
}

ApiResponse no_such_path(std::string_view target) {
    constexpr std::size_t kShown = 100;
    return problem(404, fmt::format("there is nothing at {}", target.substr(0, kShown)),
                   "/v1/status, /v1/vnics[/NAME], /v1/ports[/NAME[/captures[/ID]]], /v1/qps[/QPN], "
                   "/v1/mrs, /v1/groups, /v1/counters or /metrics",
                   "correct the path; names need no percent-encoding");
}

ApiResponse no_such_method(const std::string& method, const std::string& allowed) {
    ApiResponse response = problem(405, fmt::format("{} is not possible here", method), allowed,
                                   "use another method or another path");
    response.allow = allowed;
    return response;
}

/// The first query key that the route does not know.
std::optional<std::string> unknown_query(const Route& route, const Target& target) {
    for (const auto& [key, value] : target.query) {
        if (std::find(route.query.begin(), route.query.end(), key) == route.query.end()) {
            return key;
        }
    }
    return std::nullopt;
}

std::string known_query(const Route& route) {
    std::string known;
    for (const std::string_view key : route.query) {
        if (!key.empty()) {
            known += (known.empty() ? "only " : ", ") + std::string(key);
        }
    }
    return known.empty() ? "no query" : known;
}

/// `respond`, guarded against a second answer to one request.
Respond once(Respond respond) {
    return [respond = std::move(respond),
            answered = std::make_shared<bool>(false)](ApiResponse response) {
        if (!std::exchange(*answered, true)) {
            respond(std::move(response));
        }
    };
}

void dispatch(ServiceModel& model, const ApiRequest& request, const Respond& respond) {
    const auto target = parse_target(request.target);
    if (!target) {
        respond(no_such_path(request.target));
        return;
    }
    std::string allowed;
    for (const Route& route : kRoutes) {
        if (!matches(route, *target)) {
            continue;
        }
        if (route.method != request.method) {
            allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
            continue;
        }
        if (const auto key = unknown_query(route, *target)) {
            respond(problem(400, fmt::format("the query has an unknown key \"{}\"", *key),
                            known_query(route), "leave it out"));
            return;
        }
        route.run({model, request, *target, name_in(route, *target), respond});
        return;
    }
    respond(allowed.empty() ? no_such_path(request.target)
                            : no_such_method(request.method, allowed));
}

}  // namespace

void Routes::handle(const ApiRequest& request, Respond respond) const {
    const Respond answer = once(std::move(respond));
    try {
        dispatch(model_, request, answer);
    } catch (const std::exception&) {
        guarded(answer, failure);
    }
}

}  // namespace vrdma::control
