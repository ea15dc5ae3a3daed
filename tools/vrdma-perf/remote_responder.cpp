#include "tools/vrdma-perf/remote_responder.h"

#include "tools/verbs_util/address_json.h"
#include "tools/vrdma-perf/control.h"

// Puts each call of the Responder interface into a request and waits for the answer. The wait is
// long, because creating and connecting many thousand queue pairs takes the other side seconds.

namespace vrdma::perf {

namespace {

using verbs_util::Result;

constexpr int kAnswerMs = 120'000;

Result<void> only_success(const Result<nlohmann::json>& answer) {
    return answer ? Result<void>{} : tl::make_unexpected(answer.error());
}

}  // namespace

Result<nlohmann::json> RemoteResponder::ask(nlohmann::json request) {
    if (auto sent = stream_.send(request); !sent) {
        return tl::make_unexpected(sent.error());
    }
    auto answer = stream_.receive(kAnswerMs);
    if (!answer) {
        return answer;
    }
    return accept_answer(std::move(*answer));
}

Result<EndpointDescription> RemoteResponder::open(const EndpointOptions& options) {
    const auto answer = ask({{"request", "open"}, {"options", to_json(options)}});
    if (!answer) {
        return tl::make_unexpected(answer.error());
    }
    return endpoint_description_from(verbs_util::object_field(*answer, "endpoint"));
}

Result<void> RemoteResponder::connect(const EndpointDescription& ours) {
    return only_success(ask({{"request", "connect"}, {"endpoint", to_json(ours)}}));
}

Result<void> RemoteResponder::begin(const Workload& workload) {
    return only_success(ask({{"request", "begin"}, {"workload", to_json(workload)}}));
}

Result<ReceiveCount> RemoteResponder::end(std::uint64_t sent) {
    const auto answer = ask({{"request", "end"}, {"sent", sent}});
    if (!answer) {
        return tl::make_unexpected(answer.error());
    }
    const auto messages = verbs_util::number_field(*answer, "messages", UINT64_MAX);
    const auto bytes = verbs_util::number_field(*answer, "bytes", UINT64_MAX);
    if (!messages || !bytes) {
        return tl::make_unexpected(messages ? bytes.error() : messages.error());
    }
    return ReceiveCount{*messages, *bytes};
}

Result<void> RemoteResponder::prepare_batch(const Workload& workload, const VerifyBatch& batch) {
    return only_success(
        ask({{"request", "prepare"}, {"workload", to_json(workload)}, {"batch", to_json(batch)}}));
}

Result<void> RemoteResponder::check_batch(const Workload& workload, const VerifyBatch& batch) {
    return only_success(
        ask({{"request", "check"}, {"workload", to_json(workload)}, {"batch", to_json(batch)}}));
}

}  // namespace vrdma::perf
