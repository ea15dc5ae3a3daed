// A host with real queue pairs, memory regions and windows before the packets of a peer that lies:
// link, wire path and responder together, on the memory of two tenants.
//
// The bytes are a script: a packet for one of the queue pairs (request_maker.h), or what the tenant
// does (posts a receive, a READ or a SEND, deregisters its region, makes a queue pair anew), or
// time. After each step all memory is compared with what it was: only what is granted may have
// changed, which is the regions with remote rights, the window, and the places of receives and
// READs that are posted. What is not to be read is filled with a secret that no packet may carry.
// In the end the port has all its buffers back.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/base/check.h"
#include "dataplane/net/link.h"
#include "dataplane/wire/arp.h"
#include "dataplane/wire/parse.h"
#include "pair.h"
#include "tests/fuzz/request_maker.h"
#include "tests/fuzz/tape.h"
#include "tests/unit/dataplane/net/memory_port.h"

namespace {

using namespace vrdma;
using fuzz::RequestMaker;
using fuzz::Tape;
using test::Buffer;
using test::kAddressA;
using test::kAddressB;
using test::kNetwork;
using test::kQkey;
using test::QueuePair;
using test::Tenant;
using test::World;

constexpr uint32_t kAreaBytes = 12'000;
constexpr uint32_t kPlaces = 8;  // of receives and READs, in an area of their own
constexpr uint32_t kPlaceBytes = 1000;
constexpr uint32_t kPlaceStride = 1400;  // what is between two is not granted
constexpr uint32_t kPeerQpn = 0x100;
constexpr uint32_t kNeighbourAddress = 0x0a000003;
constexpr uint32_t kSteps = 300;
constexpr std::array<uint8_t, 6> kPeerMac{2, 0, 0, 0, 0, 9};
constexpr std::string_view kSecret = "\xe1\xee\xd2\xea\xc3\xe5\xb4\xf7";

// Memory of a tenant, what it held after the step before, and which of it a peer may change.
struct Area {
    std::byte* data = nullptr;
    std::vector<std::byte> before;
    struct Grant {
        uint32_t offset;
        uint32_t length;
    };
    std::vector<Grant> grants;

    void fill(bool secret) {
        for (uint32_t i = 0; i < kAreaBytes; ++i) {
            data[i] = secret ? static_cast<std::byte>(kSecret[i % kSecret.size()]) : std::byte{1};
        }
        before.assign(data, data + kAreaBytes);
    }
    void check() {
        for (const Grant& grant : grants) {
            std::memcpy(before.data() + grant.offset, data + grant.offset, grant.length);
        }
        VR_CHECK(std::memcmp(before.data(), data, kAreaBytes) == 0);
    }
};

class Host {
  public:
    explicit Host(Tape& tape) : tape_(tape), link_(std::make_unique<net::Link>(port_, options())) {
        port_.longest = 4214;
        vnic_ = world_.add_vnic(kNetwork, kAddressA);
        world_.add_vnic(kNetwork, kNeighbourAddress);
        std::vector<net::LocalAddress> own;
        for (const uint32_t index : {0U, 3U}) {
            own.push_back({wire::Address::from_gid(world_.vnic(vnic_).gids[index].gid), vnic_});
        }
        link_->set_local_addresses(own);
        const bool vrdma = (tape_.byte() & 1) != 0;
        wire().add_link(*link_,
                        vrdma ? transport::PeerPolicy::Vrdma : transport::PeerPolicy::Standard);
        tenant_ = std::make_unique<Tenant>(world_, vnic_);
        neighbour_ = std::make_unique<Tenant>(world_, vnic_ + 1);
        make_memory();
        make_queue_pairs();
    }
    ~Host() {
        tenant_.reset();
        neighbour_.reset();
        wire().close();
        link_.reset();
        VR_CHECK(port_.buffers_out() == 0);
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    void run() {
        for (uint32_t step = 0; step < kSteps && !tape_.at_end(); ++step) {
            const uint8_t what = tape_.byte();
            act(what >> 2 & 15, what & 3);
            settle();
            for (Area& area : areas_) {
                area.check();
            }
            check_completions();
        }
        world_.advance(Duration::milliseconds(5));
        settle();
    }

  private:
    // What a peer may know of, and more than it may use.
    enum AreaIndex : uint8_t {
        kOpen,
        kShown,
        kClosed,
        kOtherDomain,
        kWindow,
        kOthers,
        kInbox,
        kLanding
    };
    static constexpr size_t kAreas = kLanding + 1;
    enum QpIndex : uint8_t { kRc, kRcReadOnly, kUc, kUd };
    static constexpr size_t kQps = kUd + 1;

    static net::LinkOptions options() {
        net::LinkOptions result;
        result.network = kNetwork;
        return result;
    }
    [[nodiscard]] WirePath& wire() { return world_.shard(0).wire(); }
    [[nodiscard]] vrdma_gid_entry peer_gid() const { return World::ipv4_gid(kAddressB); }

    Buffer make_area(AreaIndex index, Tenant& owner, const Tenant::Mr& mr, bool secret) {
        const Buffer buffer = owner.buffer(kAreaBytes, mr);
        areas_[index].data = buffer.data;
        areas_[index].fill(secret);
        targets_.push_back({buffer.address(), buffer.key, kAreaBytes});
        return buffer;
    }

    void make_memory() {
        constexpr uint32_t kLocal = VRDMA_ACCESS_LOCAL_WRITE;
        open_ = make_area(kOpen, *tenant_, {}, false);
        areas_[kOpen].grants = {{0, kAreaBytes}};
        make_area(kShown, *tenant_, {.access = kLocal | VRDMA_ACCESS_REMOTE_READ}, false);
        make_area(kClosed, *tenant_, {.access = kLocal}, true);
        make_area(kOtherDomain, *tenant_, {.pd = tenant_->create_pd()}, true);
        windowed_ = make_area(kWindow, *tenant_, {.access = kLocal | VRDMA_ACCESS_MW_BIND}, true);
        make_area(kOthers, *neighbour_, {}, true);
        inbox_ = make_area(kInbox, *tenant_, {.access = kLocal}, true);
        landing_ = make_area(kLanding, *tenant_, {.access = kLocal}, true);
    }

    void make_queue_pairs() {
        for (size_t i = 0; i < kQps; ++i) {
            const uint8_t type = i == kUc ? VRDMA_QPT_UC : i == kUd ? VRDMA_QPT_UD : VRDMA_QPT_RC;
            qps_[i] = tenant_->create_qp({.type = type});
            connect(i);
        }
        wire::Arp arp;
        arp.operation = wire::Arp::Operation::Reply;
        arp.sender_mac = {kPeerMac};
        arp.sender = wire::Address::v4(10, 0, 0, 2);
        arp.target_mac = {port_.address};
        arp.target = wire::Address::v4(10, 0, 0, 1);
        MemoryPort::Frame frame(wire::kArpFrameBytes);
        (void)wire::build_arp(frame, arp, arp.target_mac);
        settle();
        port_.arrive(std::move(frame));
        settle();
        bind_window();
        for (size_t i = 0; i < kQps; ++i) {
            makers_.push_back(std::make_unique<RequestMaker>(peers_[i]));
        }
    }

    void connect(size_t index) {
        test::Link link;
        if (index == kRcReadOnly) {
            link.access = VRDMA_ACCESS_REMOTE_READ;
        }
        const auto number = static_cast<uint32_t>(index);
        test::connect(*tenant_, qps_[index], index == kUd ? vrdma_gid_entry{} : peer_gid(),
                      index == kUd ? 0 : kPeerQpn + number, link);
        expected_[index] = 0;
        wire::Flow flow;
        flow.source_mac = {kPeerMac};
        flow.destination_mac = {port_.address};
        flow.source = wire::Address::v4(10, 0, 0, 2);
        flow.destination = wire::Address::v4(10, 0, 0, 1);
        flow.ecn = wire::Ecn::Capable0;
        peers_[index] = {.uc = index == kUc,
                         .ud = index == kUd,
                         .qkey = kQkey,
                         .path_mtu = 4096,
                         .dqpn = qps_[index].qpn,
                         .flow = wire::FlowTemplate(flow),
                         .targets = targets_};
    }

    // The middle of an area, for writing and reading.
    void bind_window() {
        const Tenant::Window window = tenant_->create_mw(VRDMA_MW_TYPE_2);
        constexpr uint32_t kFrom = kAreaBytes / 3;
        tenant_->post(qps_[kRc],
                      {.opcode = VRDMA_WQE_BIND_MW,
                       .remote_address = windowed_.address() + kFrom,
                       .rkey = window.rkey,
                       .window_length = kFrom,
                       .window_lkey = windowed_.key,
                       .window_rkey = window.rkey + 1,
                       .window_access = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_READ});
        settle();
        const auto bound = tenant_->cq.poll();
        VR_CHECK(bound && bound->status == VRDMA_WC_SUCCESS);
        Area& area = areas_[kWindow];
        area.grants = {{kFrom, kFrom}};
        std::fill_n(area.data + kFrom, kFrom, std::byte{1});  // it may be read
        area.before.assign(area.data, area.data + kAreaBytes);
        for (fuzz::Peer& peer : peers_) {
            peer.targets.push_back({windowed_.address() + kFrom, window.rkey + 1, kFrom});
        }
    }

    void act(unsigned what, size_t qp) {
        switch (what) {
            case 15:
                return post_receive(qp);
            case 14:
                return post_read(qp);
            case 13:
                return post_send(qp);
            case 12:
                return world_.advance(Duration::microseconds(100 * (1 + tape_.byte())));
            case 11:
                return deregister();
            case 10:
                return make_anew(qp);
            default:
                return packet(qp);
        }
    }

    // The next place of an area, and the grant for it. Places are not taken back: a receive stays
    // posted until it is used, and what used it is not told apart here.
    vrdma_sge take_place(AreaIndex index, const Buffer& buffer, uint32_t& next) {
        const uint32_t offset = next++ % kPlaces * kPlaceStride;
        areas_[index].grants.push_back({offset, kPlaceBytes});
        if (areas_[index].grants.size() > kPlaces) {
            areas_[index].grants.erase(areas_[index].grants.begin());
        }
        return buffer.sge(offset, kPlaceBytes);
    }

    void post_receive(size_t qp) {
        if (posted_[qp] - received_[qp] < qps_[qp].rq_entries / 2) {
            tenant_->post_receive(qps_[qp], qp, {take_place(kInbox, inbox_, next_receive_)});
            ++posted_[qp];
        }
    }

    void post_read(size_t qp) {
        if (qp == kRc || qp == kRcReadOnly) {
            post(qp, {.opcode = VRDMA_WQE_RDMA_READ,
                      .wr_id = kQps,
                      .sges = {take_place(kLanding, landing_, next_read_)},
                      .remote_address = 0x1000,
                      .rkey = 1});
        }
    }

    void post_send(size_t qp) {
        Send send{.wr_id = kQps, .sges = {open_.sge(0, 3000)}};
        if (qp == kUd) {
            send.qpn = kPeerQpn + kUd;
            send.qkey = kQkey;
            send.gid = peer_gid();
        }
        post(qp, send);
    }

    using Send = test::Send;
    void post(size_t qp, const Send& send) {
        if (sent_[qp] < qps_[qp].sq_entries / 2) {
            tenant_->post(qps_[qp], send);
            ++sent_[qp];
        }
    }

    void deregister() {
        if (open_.length != 0) {
            const CommandOutcome done = tenant_->destroy(VRDMA_CMD_DEREG_MR, open_.handle);
            VR_CHECK(done.kind == CommandOutcome::Kind::Done);
            open_.length = 0;
            areas_[kOpen].check();
            areas_[kOpen].grants.clear();
        }
    }

    void make_anew(size_t qp) {
        Tenant::EXPECT_DONE(tenant_->to_state(qps_[qp], VRDMA_QPS_RESET));
        qps_[qp].sq_producer = qps_[qp].rq_producer = 0;
        std::atomic_ref(qps_[qp].header->sq_producer).store(0);
        std::atomic_ref(qps_[qp].header->rq_producer).store(0);
        settle();
        (void)tenant_->cq.poll_all();
        posted_[qp] = received_[qp] = sent_[qp] = 0;
        std::vector<fuzz::Target> targets = peers_[qp].targets;
        connect(qp);
        peers_[qp].targets = std::move(targets);
    }

    void packet(size_t qp) {
        const std::span<const std::byte> frame = makers_[qp]->make(tape_, expected_[qp]);
        const auto made = wire::parse(frame);
        if (made && made->bth.psn == expected_[qp]) {
            // Unless the answer says something else.
            expected_[qp] = (expected_[qp] + 1) & wire::kMask24;
        }
        port_.arrive({frame.begin(), frame.end()});
    }

    void settle() {
        for (int i = 0, quiet = 0; i < 100 && quiet < 2; ++i) {
            bool moved = link_->turn(world_.now(), wire());
            moved |= world_.turn();
            for (const MemoryPort::Frame& frame : port_.take_sent()) {
                moved = true;
                look_at(frame);
            }
            quiet = moved ? 0 : quiet + 1;
        }
    }

    // A packet to the peer.
    void look_at(const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        if (!packet) {
            VR_CHECK(frame.size() == wire::kArpFrameBytes);
            return;
        }
        const auto secret = std::as_bytes(std::span(kSecret));
        VR_CHECK(std::search(packet->payload.begin(), packet->payload.end(), secret.begin(),
                             secret.end()) == packet->payload.end());
        VR_CHECK(packet->network.destination == wire::Address::v4(10, 0, 0, 2));
        const size_t qp = packet->bth.dqpn - kPeerQpn;
        VR_CHECK(qp < kQps);
        const wire::OpcodeInfo& info = packet->info();
        if (info.kind == wire::Kind::Sack) {
            expected_[qp] = packet->sack.base_psn;
        } else if (info.has(wire::extension::kAeth)) {
            const bool ack = wire::aeth_kind(packet->aeth.syndrome) == wire::AethKind::Ack;
            const uint32_t next = (packet->bth.psn + (ack ? 1 : 0)) & wire::kMask24;
            // Answers to what came twice are older.
            const bool response = info.kind != wire::Kind::Acknowledge;
            if (!response || ((next - expected_[qp]) & wire::kMask24) < 1U << 23) {
                expected_[qp] = next;
            }
        }
    }

    void check_completions() {
        for (const vrdma_cqe& entry : tenant_->cq.poll_all()) {
            if (entry.wr_id < kQps) {
                const auto qp = static_cast<size_t>(entry.wr_id);
                VR_CHECK(++received_[qp] <= posted_[qp]);
                VR_CHECK(entry.status != VRDMA_WC_SUCCESS || entry.opcode != VRDMA_WC_RECV ||
                         entry.byte_len <= kPlaceBytes);
            }
        }
    }

    Tape& tape_;
    MemoryPort port_;
    World world_;
    std::unique_ptr<net::Link> link_;
    uint32_t vnic_ = 0;
    std::unique_ptr<Tenant> tenant_;
    std::unique_ptr<Tenant> neighbour_;
    std::array<Area, kAreas> areas_;
    std::vector<fuzz::Target> targets_;
    Buffer open_;
    Buffer windowed_;
    Buffer inbox_;
    Buffer landing_;
    std::array<QueuePair, kQps> qps_;
    std::array<fuzz::Peer, kQps> peers_;
    std::vector<std::unique_ptr<RequestMaker>> makers_;
    std::array<uint32_t, kQps> expected_{};
    std::array<uint32_t, kQps> posted_{};    // receives
    std::array<uint32_t, kQps> received_{};  // completions of them
    std::array<uint32_t, kQps> sent_{};
    uint32_t next_receive_ = 0;
    uint32_t next_read_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    GTEST_FLAG_SET(break_on_failure, true);  // the tenant expects its commands to be done
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Tape tape(data, size);
    Host(tape).run();
    return 0;
}
