#include "tests/e2e/fault_client/link.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/verbs_util/address_json.h"
#include "tools/verbs_util/registration.h"

// The objects that a fault test loses or keeps. QP i uses CQ i % cqs for both its queues and region
// i % mrs on both sides. Every region is an allocation of its own, so killing the owner frees many
// mappings and not one.

namespace vrdma::fault {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::number_field;
using verbs_util::Result;

constexpr std::uint32_t kMaxQps = 65536;
constexpr std::uint32_t kMaxObjects = 65536;
constexpr std::uint32_t kMaxSize = 16U << 20;
constexpr std::uint32_t kMaxQueueDepth = 1024;
constexpr std::uint64_t kParts = 3;
constexpr std::uint64_t kLine = 64;

}  // namespace

nlohmann::json to_json(const LinkOptions& options) {
    return {{"qps", options.qps},
            {"mrs", options.mrs},
            {"cqs", options.cqs},
            {"size", options.size},
            {"window", options.window},
            {"memory", static_cast<unsigned>(options.memory)},
            {"timeout", static_cast<unsigned>(options.timeout)},
            {"retry_count", static_cast<unsigned>(options.retry_count)}};
}

Result<LinkOptions> link_options_from(const nlohmann::json& json) {
    const auto qps = number_field(json, "qps", kMaxQps);
    const auto mrs = number_field(json, "mrs", kMaxObjects);
    const auto cqs = number_field(json, "cqs", kMaxObjects);
    const auto size = number_field(json, "size", kMaxSize);
    const auto window = number_field(json, "window", kMaxQueueDepth);
    const auto memory =
        number_field(json, "memory", static_cast<std::uint64_t>(verbs_util::MemoryKind::kHugetlb));
    const auto timeout = number_field(json, "timeout", 31);
    const auto retries = number_field(json, "retry_count", 7);
    for (const auto* field : {&qps, &mrs, &cqs, &size, &window, &memory, &timeout, &retries}) {
        if (!*field) {
            return tl::make_unexpected(field->error());
        }
    }
    LinkOptions options;
    options.qps = static_cast<std::uint32_t>(*qps);
    options.mrs = static_cast<std::uint32_t>(*mrs);
    options.cqs = static_cast<std::uint32_t>(*cqs);
    options.size = static_cast<std::uint32_t>(*size);
    options.window = static_cast<std::uint32_t>(*window);
    options.memory = static_cast<verbs_util::MemoryKind>(*memory);
    options.timeout = static_cast<std::uint8_t>(*timeout);
    options.retry_count = static_cast<std::uint8_t>(*retries);
    if (auto valid = validate(options); !valid) {
        return tl::make_unexpected(valid.error());
    }
    return options;
}

Result<void> validate(const LinkOptions& options) {
    struct Range {
        const char* option;
        std::uint32_t value, low, high;
    };
    const Range ranges[] = {{"--qps", options.qps, 1, kMaxQps},
                            {"--mrs", options.mrs, 1, kMaxObjects},
                            {"--cqs", options.cqs, 1, std::min(options.qps, kMaxObjects)},
                            {"--size", options.size, 8, kMaxSize},
                            {"--window", options.window, 1, kMaxQueueDepth},
                            {"--timeout", options.timeout, 0, 31},
                            {"--retries", options.retry_count, 0, 7}};
    for (const Range& range : ranges) {
        if (range.value < range.low || range.value > range.high) {
            return fail(ErrorKind::kUsage, fmt::format("{} {} is outside of {} to {}", range.option,
                                                       range.value, range.low, range.high));
        }
    }
    return {};
}

Result<std::unique_ptr<Link>> Link::create(std::shared_ptr<verbs_util::Device> device,
                                           const LinkOptions& options) {
    std::unique_ptr<Link> link(new Link);
    link->options_ = options;
    link->device_ = std::move(device);
    auto done = link->create_regions();
    if (done) {
        done = link->create_queues();
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return link;
}

std::uint64_t Link::offset_of(Part part) const {
    const std::uint64_t bytes = (options_.size + kLine - 1) / kLine * kLine;
    return static_cast<std::uint64_t>(part) * bytes;
}

Result<void> Link::create_regions() {
    auto pd = verbs_util::allocate_pd(*device_);
    if (!pd) {
        return tl::make_unexpected(pd.error());
    }
    pd_ = std::move(*pd);
    const std::uint64_t bytes = kParts * ((options_.size + kLine - 1) / kLine * kLine);
    for (std::uint32_t i = 0; i < options_.mrs; ++i) {
        auto buffer = verbs_util::Buffer::allocate(options_.memory, bytes);
        if (!buffer) {
            return tl::make_unexpected(buffer.error());
        }
        auto mr = verbs_util::register_memory(*device_, pd_.get(), buffer->data(), bytes);
        if (!mr) {
            return tl::make_unexpected(mr.error());
        }
        buffers_.push_back(std::move(*buffer));
        mrs_.push_back(std::move(*mr));
    }
    return {};
}

Result<void> Link::create_queues() {
    const std::uint32_t per_cq = (options_.qps + options_.cqs - 1) / options_.cqs;
    for (std::uint32_t i = 0; i < options_.cqs; ++i) {
        auto cq =
            verbs_util::CompletionQueue::create(*device_, 2 * per_cq * options_.window, false);
        if (!cq) {
            return tl::make_unexpected(cq.error());
        }
        cqs_.push_back(std::move(*cq));
    }
    qps_.reserve(options_.qps);
    for (std::uint32_t i = 0; i < options_.qps; ++i) {
        verbs_util::QueuePairOptions options;
        options.send_cq = cqs_[i % options_.cqs].get();
        options.recv_cq = options.send_cq;
        options.max_send_wr = options_.window;
        options.max_recv_wr = options_.window;
        auto qp = verbs_util::QueuePair::create(*device_, pd_.get(), options);
        if (!qp) {
            return tl::make_unexpected(qp.error());
        }
        numbers_.emplace_back(qp->address().qpn, i);
        qps_.push_back(std::move(*qp));
    }
    std::sort(numbers_.begin(), numbers_.end());
    return {};
}

nlohmann::json Link::describe() const {
    nlohmann::json addresses = nlohmann::json::array();
    for (const auto& qp : qps_) {
        addresses.push_back(verbs_util::address_to_json(qp.address()));
    }
    nlohmann::json regions = nlohmann::json::array();
    for (const auto& mr : mrs_) {
        regions.push_back(
            {{"address", reinterpret_cast<std::uintptr_t>(mr->addr)}, {"rkey", mr->rkey}});
    }
    return {{"addresses", std::move(addresses)}, {"regions", std::move(regions)}};
}

Result<void> Link::connect(const nlohmann::json& partner) {
    const auto addresses = partner.find("addresses");
    const auto regions = partner.find("regions");
    if (addresses == partner.end() || !addresses->is_array() || addresses->size() != qps_.size() ||
        regions == partner.end() || !regions->is_array() || regions->size() != mrs_.size()) {
        return fail(ErrorKind::kPartner, "the partner has another number of objects",
                    "run the same version on both sides");
    }
    for (const auto& entry : *regions) {
        const auto address = number_field(entry, "address", UINT64_MAX);
        const auto rkey = number_field(entry, "rkey", UINT32_MAX);
        if (!address || !rkey) {
            return tl::make_unexpected(address ? rkey.error() : address.error());
        }
        remote_.push_back({*address, static_cast<std::uint32_t>(*rkey)});
    }
    verbs_util::ConnectOptions options;
    options.timeout = options_.timeout;
    options.retry_count = options_.retry_count;
    for (std::size_t i = 0; i < qps_.size(); ++i) {
        const auto address = verbs_util::address_from_json((*addresses)[i]);
        if (!address) {
            return tl::make_unexpected(address.error());
        }
        if (auto done = qps_[i].connect(*address, options); !done) {
            return done;
        }
    }
    return {};
}

std::uint32_t Link::index_of(std::uint32_t qpn) const {
    const auto at = std::lower_bound(numbers_.begin(), numbers_.end(), std::pair(qpn, 0U));
    return at != numbers_.end() && at->first == qpn ? at->second : options_.qps;
}

}  // namespace vrdma::fault
