#include "tools/vrdma-perf/control.h"

#include <fmt/format.h>

#include <limits>

#include "tools/verbs_util/address_json.h"
#include "tools/vrdma-perf/options.h"

// Encodes and decodes the control messages. The decoding side trusts nothing: every number has a
// limit, layouts must fit into the buffer that was opened, batches into the layout. A server that
// faces another version, or somebody else's program, answers with the field that is wrong.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::number_field;
using verbs_util::Result;

constexpr std::uint64_t kMaxBuffer = std::uint64_t{1} << 40;

/// Reads numbers into fields and keeps the first error.
class FieldReader {
  public:
    explicit FieldReader(const nlohmann::json& json) : json_(json) {}

    template <typename T>
    FieldReader& read(const char* name, T& to,
                      std::uint64_t limit = std::numeric_limits<T>::max()) {
        if (!error_) {
            auto number = number_field(json_, name, limit);
            if (number) {
                to = static_cast<T>(*number);
            } else {
                error_ = number.error();
            }
        }
        return *this;
    }
    [[nodiscard]] const std::optional<verbs_util::Error>& error() const { return error_; }

  private:
    const nlohmann::json& json_;
    std::optional<verbs_util::Error> error_;
};

}  // namespace

nlohmann::json to_json(const EndpointOptions& options) {
    return {{"version", kControlVersion},
            {"transport", static_cast<unsigned>(options.transport)},
            {"qps", options.qps},
            {"active", options.active},
            {"send_depth", options.send_depth},
            {"recv_depth", options.recv_depth},
            {"max_inline", options.max_inline},
            {"buffer_bytes", options.buffer_bytes},
            {"memory", static_cast<unsigned>(options.memory)},
            {"events", options.events ? 1U : 0U}};
}

Result<EndpointOptions> endpoint_options_from(const nlohmann::json& json) {
    EndpointOptions options;
    unsigned version = 0;
    unsigned transport = 0;
    unsigned memory = 0;
    unsigned events = 0;
    FieldReader fields(json);
    fields.read("version", version)
        .read("transport", transport)
        .read("qps", options.qps, kMaxQueuePairs)
        .read("active", options.active, kMaxQueuePairs)
        .read("send_depth", options.send_depth, kMaxWindow)
        .read("recv_depth", options.recv_depth, 2 * kMaxWindow)
        .read("max_inline", options.max_inline, kMaxUdMessage)
        .read("buffer_bytes", options.buffer_bytes, kMaxBuffer)
        .read("memory", memory, static_cast<unsigned>(verbs_util::MemoryKind::kHugetlb))
        .read("events", events, 1);
    if (fields.error()) {
        return tl::make_unexpected(*fields.error());
    }
    if (version != kControlVersion) {
        return fail(ErrorKind::kPartner,
                    fmt::format("the other side speaks version {} of the control protocol, this "
                                "side version {}",
                                version, kControlVersion),
                    "run the same version on both sides");
    }
    if (transport != IBV_QPT_RC && transport != IBV_QPT_UC && transport != IBV_QPT_UD) {
        return fail(ErrorKind::kPartner, fmt::format("transport {} is unknown", transport));
    }
    options.transport = static_cast<ibv_qp_type>(transport);
    options.memory = static_cast<verbs_util::MemoryKind>(memory);
    options.events = events != 0;
    return options;
}

nlohmann::json to_json(const EndpointDescription& description) {
    nlohmann::json addresses = nlohmann::json::array();
    for (const auto& address : description.addresses) {
        addresses.push_back(verbs_util::address_to_json(address));
    }
    return {{"buffer", description.buffer},
            {"buffer_bytes", description.buffer_bytes},
            {"rkey", description.rkey},
            {"mtu_bytes", description.mtu_bytes},
            {"addresses", std::move(addresses)}};
}

Result<EndpointDescription> endpoint_description_from(const nlohmann::json& json) {
    EndpointDescription description;
    FieldReader fields(json);
    fields.read("buffer", description.buffer)
        .read("buffer_bytes", description.buffer_bytes, kMaxBuffer)
        .read("rkey", description.rkey)
        .read("mtu_bytes", description.mtu_bytes, kMaxUdMessage);
    if (fields.error()) {
        return tl::make_unexpected(*fields.error());
    }
    const auto addresses = json.find("addresses");
    if (addresses == json.end() || !addresses->is_array() || addresses->size() > kMaxQueuePairs) {
        return fail(ErrorKind::kPartner, "a message of the other side has no list of addresses");
    }
    for (const auto& entry : *addresses) {
        auto address = verbs_util::address_from_json(entry);
        if (!address) {
            return tl::make_unexpected(address.error());
        }
        description.addresses.push_back(*address);
    }
    return description;
}

nlohmann::json to_json(const Workload& workload) {
    return {{"operation", static_cast<unsigned>(workload.operation)},
            {"size", workload.size},
            {"active", workload.active},
            {"stride", workload.layout.stride},
            {"slots", workload.layout.slots},
            {"recv_bytes", workload.recv_bytes}};
}

Result<Workload> workload_from(const nlohmann::json& json, const EndpointOptions& limits) {
    Workload workload;
    unsigned operation = 0;
    FieldReader fields(json);
    fields.read("operation", operation, static_cast<unsigned>(Operation::kCmpSwap))
        .read("size", workload.size, kMaxMessage)
        .read("active", workload.active, limits.active)
        .read("stride", workload.layout.stride, limits.buffer_bytes)
        .read("slots", workload.layout.slots, limits.buffer_bytes)
        .read("recv_bytes", workload.recv_bytes, limits.buffer_bytes);
    if (fields.error()) {
        return tl::make_unexpected(*fields.error());
    }
    workload.operation = static_cast<Operation>(operation);
    const Layout& layout = workload.layout;
    const bool fits =
        layout.stride != 0 && layout.slots != 0 &&
        layout.slots <= limits.buffer_bytes / layout.stride &&
        workload.recv_bytes <= limits.buffer_bytes - (layout.slots - 1) * layout.stride &&
        workload.size <= layout.stride && workload.active != 0;
    if (!fits || !supported_over(workload.operation, limits.transport)) {
        return fail(
            ErrorKind::kPartner,
            fmt::format("the other side asked for {} slots of {} bytes with {} bytes to "
                        "receive, which do not fit into the {} bytes it opened",
                        layout.slots, layout.stride, workload.recv_bytes, limits.buffer_bytes));
    }
    return workload;
}

nlohmann::json to_json(const VerifyBatch& batch) {
    return {{"seed", batch.seed}, {"first", batch.first}, {"count", batch.count}};
}

Result<VerifyBatch> batch_from(const nlohmann::json& json, const Workload& workload) {
    VerifyBatch batch;
    FieldReader fields(json);
    fields.read("seed", batch.seed)
        .read("first", batch.first)
        .read("count", batch.count, workload.layout.slots);
    if (fields.error()) {
        return tl::make_unexpected(*fields.error());
    }
    return batch;
}

nlohmann::json to_json(const verbs_util::Error& error) {
    return {{"kind", error.exit_code()},
            {"what", error.what},
            {"errno", static_cast<unsigned>(error.error_number)},
            {"remedy", error.remedy},
            {"message", error.message()}};
}

Result<nlohmann::json> accept_answer(nlohmann::json answer) {
    const auto& error = verbs_util::object_field(answer, "error");
    if (error.empty()) {
        return answer;
    }
    unsigned kind = 0;
    unsigned error_number = 0;
    FieldReader fields(error);
    fields.read("kind", kind, static_cast<unsigned>(ErrorKind::kPartner))
        .read("errno", error_number);
    verbs_util::Error copy;
    copy.kind = kind == 0 ? ErrorKind::kPartner : static_cast<ErrorKind>(kind);
    copy.what = "the other side: " + verbs_util::text_field(error, "what");
    copy.error_number = static_cast<int>(error_number);
    copy.remedy = verbs_util::text_field(error, "remedy");
    return tl::make_unexpected(std::move(copy));
}

}  // namespace vrdma::perf
