// A message tells its number and the queue pair it was sent from; the rest are bytes that depend on
// both. So a copy that came twice, from somebody else or with another's bytes is noticed, and the
// header in front of it must name the group.
#include "member.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace vrdma::group_verify {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMulticastQpn = 0xffffff;
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint32_t kNumberBytes = 8;
constexpr std::size_t kSlot = kGrhBytes + kMaxBytes;

void require(bool holds, const std::string& what) {
    if (!holds) {
        give_up(fmt::format("{} (errno {})", what, std::strerror(errno)));
    }
}

std::uint8_t byte_of(std::uint32_t number, std::uint32_t sender, std::uint32_t at) {
    return static_cast<std::uint8_t>(number * 31 + sender * 7 + at * 13 + (at >> 8U));
}

ibv_gid parse_group(const std::string& text) {
    ibv_gid gid{};
    if (inet_pton(AF_INET, text.c_str(), &gid.raw[12]) == 1) {
        gid.raw[10] = gid.raw[11] = 0xff;
        return gid;
    }
    if (inet_pton(AF_INET6, text.c_str(), gid.raw) != 1) {
        give_up(text + " is no address");
    }
    return gid;
}

bool is_v4(const ibv_gid& gid) {
    return gid.raw[0] != 0xff;
}

void modify(ibv_qp* qp, ibv_qp_attr attr, int mask) {
    require(ibv_modify_qp(qp, &attr, mask) == 0, "ibv_modify_qp");
}

}  // namespace

void give_up(const std::string& what) {
    fmt::print(stderr, "vrdma-group-verify: FAILED: {}\n", what);
    std::exit(EXIT_FAILURE);
}

Member::Member(const Options& options) : options_(options), group_(parse_group(options.group)) {
    auto device = verbs_util::Device::open(options.device);
    if (!device) {
        give_up(device.error().message());
    }
    device_ = std::move(*device);
    pd_ = ibv_alloc_pd(device_->context());
    require(pd_ != nullptr, "ibv_alloc_pd");
    cq_ = ibv_create_cq(device_->context(),
                        static_cast<int>((options.messages + 1) * options.queue_pairs), nullptr,
                        nullptr, 0);
    require(cq_ != nullptr, "ibv_create_cq");
    memory_.resize(options.queue_pairs * options.messages * kSlot);
    mr_ = ibv_reg_mr(pd_, memory_.data(), memory_.size(), IBV_ACCESS_LOCAL_WRITE);
    require(mr_ != nullptr, "ibv_reg_mr");
    for (std::uint32_t i = 0; i < options.queue_pairs; ++i) {
        create_queue_pair();
    }
}

Member::~Member() {
    for (ibv_qp* qp : queue_pairs_) {
        require(ibv_destroy_qp(qp) == 0, "ibv_destroy_qp");
    }
    require(ibv_dereg_mr(mr_) == 0 && ibv_destroy_cq(cq_) == 0 && ibv_dealloc_pd(pd_) == 0,
            "clean up");
}

std::uint8_t* Member::place(std::size_t queue_pair, std::uint32_t message) {
    return &memory_[(queue_pair * options_.messages + message) * kSlot];
}

void Member::create_queue_pair() {
    ibv_qp_init_attr attr{};
    attr.send_cq = attr.recv_cq = cq_;
    attr.qp_type = IBV_QPT_UD;
    attr.cap = {.max_send_wr = 1,
                .max_recv_wr = options_.messages,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = 0};
    ibv_qp* qp = ibv_create_qp(pd_, &attr);
    require(qp != nullptr, "ibv_create_qp");
    ibv_qp_attr to{};
    to.qp_state = IBV_QPS_INIT;
    to.port_num = device_->port_number();
    to.qkey = kQkey;
    modify(qp, to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);
    to.qp_state = IBV_QPS_RTR;
    modify(qp, to, IBV_QP_STATE);
    to.qp_state = IBV_QPS_RTS;
    modify(qp, to, IBV_QP_STATE | IBV_QP_SQ_PSN);
    queue_pairs_.push_back(qp);
    seen_.push_back({std::vector<bool>(options_.messages), 0});
}

void Member::post_receive(std::size_t queue_pair, std::uint32_t message) {
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(place(queue_pair, message)),
                .length = kSlot,
                .lkey = mr_->lkey};
    ibv_recv_wr wr{};
    wr.wr_id = queue_pair * kMaxMessages + message;
    wr.sg_list = &sge;
    wr.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    require(ibv_post_recv(queue_pairs_[queue_pair], &wr, &bad) == 0, "ibv_post_recv");
}

void Member::attach() {
    for (std::size_t i = 0; i < queue_pairs_.size(); ++i) {
        for (std::uint32_t message = 0; message < options_.messages; ++message) {
            post_receive(i, message);
        }
        require(ibv_attach_mcast(queue_pairs_[i], &group_, 0) == 0, "ibv_attach_mcast");
    }
}

void Member::detach() {
    for (ibv_qp* qp : queue_pairs_) {
        require(ibv_detach_mcast(qp, &group_, 0) == 0, "ibv_detach_mcast");
    }
}

void Member::check(const ibv_wc& wc) {
    require(wc.status == IBV_WC_SUCCESS, ibv_wc_status_str(wc.status));
    const std::size_t queue_pair = wc.wr_id / kMaxMessages;
    const std::uint8_t* slot = place(queue_pair, wc.wr_id % kMaxMessages);
    require(wc.qp_num == queue_pairs_.at(queue_pair)->qp_num, "completion of another queue pair");
    require(wc.byte_len == kGrhBytes + options_.bytes, fmt::format("{} bytes", wc.byte_len));
    require((wc.wc_flags & IBV_WC_GRH) != 0, "no header");
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (is_v4(group_)) {
        require(std::memcmp(slot + 36, &group_.raw[12], 4) == 0, "header of another group");
        inet_ntop(AF_INET, slot + 32, text.data(), text.size());
    } else {
        require(std::memcmp(slot + 24, group_.raw, 16) == 0, "header of another group");
        inet_ntop(AF_INET6, slot + 8, text.data(), text.size());
    }
    sender_ = text.data();
    std::uint32_t number = 0;
    std::uint32_t sender = 0;
    std::memcpy(&number, slot + kGrhBytes, 4);
    std::memcpy(&sender, slot + kGrhBytes + 4, 4);
    require(number < options_.messages, "message of another sender");
    require(sender == wc.src_qp, "src_qp is not the sender's");
    require((wc.wc_flags & IBV_WC_WITH_IMM) != 0 && ntohl(wc.imm_data) == number, "immediate data");
    for (std::uint32_t at = kNumberBytes; at < options_.bytes; ++at) {
        require(slot[kGrhBytes + at] == byte_of(number, sender, at),
                fmt::format("byte {} of message {}", at, number));
    }
    Seen& seen = seen_[queue_pair];
    require(!seen.messages[number], fmt::format("message {} came twice", number));
    seen.messages[number] = true;
    ++seen.count;
}

std::string Member::receive_all() {
    const auto deadline = Clock::now() + std::chrono::seconds(options_.seconds);
    const auto complete = [&] {
        return std::ranges::all_of(
            seen_, [&](const Seen& seen) { return seen.count == options_.messages; });
    };
    while (!complete()) {
        ibv_wc wc{};
        const int found = ibv_poll_cq(cq_, 1, &wc);
        require(found >= 0, "ibv_poll_cq");
        if (found == 1) {
            check(wc);
        } else if (Clock::now() > deadline) {
            give_up(
                fmt::format("only {} of {} messages arrived", seen_[0].count, options_.messages));
        }
    }
    return sender_;
}

void Member::hear_nothing() {
    const auto deadline = Clock::now() + std::chrono::seconds(options_.seconds);
    while (Clock::now() < deadline) {
        ibv_wc wc{};
        require(ibv_poll_cq(cq_, 1, &wc) == 0, "something arrived");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

void Member::send_all() {
    ibv_ah_attr attr{};
    attr.is_global = 1;
    attr.port_num = device_->port_number();
    attr.grh.dgid = group_;
    attr.grh.sgid_index = device_->gid_index();
    attr.grh.hop_limit = kHopLimit;
    ibv_ah* ah = ibv_create_ah(pd_, &attr);
    require(ah != nullptr, "ibv_create_ah");
    ibv_qp* qp = queue_pairs_[0];
    for (std::uint32_t number = 0; number < options_.messages; ++number) {
        std::uint8_t* data = place(0, number);
        std::memcpy(data, &number, 4);
        std::memcpy(data + 4, &qp->qp_num, 4);
        for (std::uint32_t at = kNumberBytes; at < options_.bytes; ++at) {
            data[at] = byte_of(number, qp->qp_num, at);
        }
        ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(data),
                    .length = options_.bytes,
                    .lkey = mr_->lkey};
        ibv_send_wr wr{};
        wr.sg_list = &sge;
        wr.num_sge = 1;
        wr.opcode = IBV_WR_SEND_WITH_IMM;
        wr.imm_data = htonl(number);
        wr.send_flags = IBV_SEND_SIGNALED;
        wr.wr.ud = {.ah = ah, .remote_qpn = kMulticastQpn, .remote_qkey = kQkey};
        ibv_send_wr* bad = nullptr;
        require(ibv_post_send(qp, &wr, &bad) == 0, "ibv_post_send");
        ibv_wc wc{};
        while (ibv_poll_cq(cq_, 1, &wc) == 0) {
        }
        require(wc.status == IBV_WC_SUCCESS, ibv_wc_status_str(wc.status));
        std::this_thread::sleep_for(std::chrono::microseconds(options_.gap_us));
    }
    require(ibv_destroy_ah(ah) == 0, "ibv_destroy_ah");
}

}  // namespace vrdma::group_verify
