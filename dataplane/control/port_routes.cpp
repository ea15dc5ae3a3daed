// Requests about ports.
//
// A capture is a resource of its own under its port, because it lasts longer than a request may:
// its packets are fetched piece by piece, with the bytes of the file as the body. 204 says that
// nothing follows. A client that stops asking loses it (PortCapture); so a GET here is more than a
// look, and fetching twice gives two different pieces.

#include "dataplane/control/port_routes.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "dataplane/control/capture_reader.h"
#include "dataplane/control/fault_reader.h"

namespace vrdma::control {
namespace {

/// Answers 404 and returns false if the path names no port.
bool port_exists(const Call& call) {
    const Configuration& configuration = call.model.configuration();
    if (configuration.find_port(call.name) != nullptr) {
        return true;
    }
    std::string known;
    for (const PortConfig& port : configuration.ports) {
        known += (known.empty() ? "" : ", ") + port.name;
    }
    call.respond(problem(404, fmt::format("there is no port \"{}\"", call.name),
                         known.empty() ? "the configuration has no [[port]]" : "one of: " + known,
                         "list them with vrdmactl port list (GET /v1/ports)"));
    return false;
}

Done<std::vector<PortInfo>> respond_port(const Call& call) {
    return respond_with<std::vector<PortInfo>>(call, [name = call.name](const auto& ports) {
        const auto it = std::find_if(ports.begin(), ports.end(), [&](const PortInfo& port) {
            return port.config.name == name;
        });
        return it == ports.end() ? failure() : ok(to_json(*it));
    });
}

/// The capture in the path. Nothing, with the answer given, if port or number are wrong.
std::optional<std::uint32_t> capture_id(const Call& call) {
    if (!port_exists(call)) {
        return std::nullopt;
    }
    const std::string& text = call.target.path.back();
    std::uint32_t id = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, id);
    if (error != std::errc{} || stop != end) {
        call.respond(problem(400, fmt::format("\"{}\" is no capture", text),
                             "the id that starting it gave",
                             "start one with POST /v1/ports/NAME/captures"));
        return std::nullopt;
    }
    return id;
}

}  // namespace

void get_ports(const Call& call) {
    call.model.ports(respond_with<std::vector<PortInfo>>(call, [](const auto& ports) {
        Json list = Json::array();
        for (const PortInfo& port : ports) {
            list.push_back(to_json(port));
        }
        return ok({{"ports", std::move(list)}});
    }));
}

void get_port(const Call& call) {
    if (port_exists(call)) {
        call.model.ports(respond_port(call));
    }
}

void set_port(const Call& call) {
    const auto change = parse_fault_request(call.request.body);
    if (!change) {
        call.respond(refused(change.error()));
        return;
    }
    if (!port_exists(call)) {
        return;
    }
    call.model.set_port_faults(
        call.name, *change,
        [&model = call.model, then = respond_port(call)](Outcome<Nothing> done) {
            if (!done) {
                then(tl::unexpected(done.error()));
                return;
            }
            model.ports(then);
        });
}

void start_capture(const Call& call) {
    const auto request = parse_capture_request(call.request.body);
    if (!request) {
        call.respond(refused(request.error()));
        return;
    }
    if (port_exists(call)) {
        call.model.start_capture(call.name, *request, respond_json<CaptureInfo>(call, 201));
    }
}

void read_capture(const Call& call) {
    const auto id = capture_id(call);
    if (!id) {
        return;
    }
    call.model.read_capture(call.name, *id, [respond = call.respond](Outcome<CapturePiece> piece) {
        guarded(respond, [&] {
            if (!piece) {
                return refused(piece.error());
            }
            ApiResponse response;
            response.status = piece->over ? 204 : 200;
            response.content_type = "application/octet-stream";
            response.body = std::move(piece->bytes);
            return response;
        });
    });
}

void stop_capture(const Call& call) {
    const auto body = nlohmann::json::parse(call.request.body, nullptr, false);
    if (body != nlohmann::json{{"running", false}}) {
        call.respond(problem(400, "the body is something else",
                             "{\"running\": false}, nothing more",
                             "send this; a capture that was stopped cannot go on"));
        return;
    }
    if (const auto id = capture_id(call)) {
        call.model.stop_capture(call.name, *id, respond_json<CaptureInfo>(call));
    }
}

void end_capture(const Call& call) {
    if (const auto id = capture_id(call)) {
        call.model.end_capture(call.name, *id, respond_json<CaptureInfo>(call));
    }
}

}  // namespace vrdma::control
