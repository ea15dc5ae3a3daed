// Multicast groups: who gets a copy, and the errno of everything that is refused. Membership
// outlives whatever happens to the queue pair but its end, which it forbids.
#include <cstring>
#include <vector>

#include "pair.h"

namespace vrdma::extended {
namespace {

constexpr std::uint32_t kQkey = 0x01234567;
constexpr std::uint32_t kMulticastQpn = 0xffffff;
constexpr std::size_t kGrh = 40;

ibv_gid group(std::uint8_t last) {
    return {.raw = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 1, 2, last}};
}

class Datagrams {
  public:
    explicit Datagrams(Host& host, std::uint32_t create_flags = 0) : host_(host) {
        cq = made(ibv_create_cq(host.context(), 16, nullptr, nullptr, 0), "ibv_create_cq");
        ibv_qp_init_attr_ex attr{};
        attr.send_cq = attr.recv_cq = cq;
        attr.qp_type = IBV_QPT_UD;
        attr.cap = {.max_send_wr = 4,
                    .max_recv_wr = 4,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
        attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS;
        attr.pd = host.pd;
        attr.create_flags = create_flags;
        qp = made(ibv_create_qp_ex(host.context(), &attr), "ibv_create_qp_ex");
        ibv_qp_attr to{};
        to.qp_state = IBV_QPS_INIT;
        to.port_num = host.device().port_number();
        to.qkey = kQkey;
        done(ibv_modify_qp(qp, &to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY),
             "INIT");
        to.qp_state = IBV_QPS_RTR;
        done(ibv_modify_qp(qp, &to, IBV_QP_STATE), "RTR");
        to.qp_state = IBV_QPS_RTS;
        done(ibv_modify_qp(qp, &to, IBV_QP_STATE | IBV_QP_SQ_PSN), "RTS");
    }
    ~Datagrams() {
        done(ibv_destroy_qp(qp), "ibv_destroy_qp");
        done(ibv_destroy_cq(cq), "ibv_destroy_cq");
    }
    Datagrams(const Datagrams&) = delete;
    Datagrams& operator=(const Datagrams&) = delete;

    void receive(std::size_t offset) {
        ibv_sge sge = host_.sge(offset, 256);
        ibv_recv_wr wr{};
        wr.wr_id = offset;
        wr.sg_list = &sge;
        wr.num_sge = 1;
        ibv_recv_wr* bad = nullptr;
        done(ibv_post_recv(qp, &wr, &bad), "ibv_post_recv");
    }
    void send(const ibv_gid& to) {
        ibv_ah_attr attr{};
        attr.is_global = 1;
        attr.port_num = host_.device().port_number();
        attr.grh.dgid = to;
        attr.grh.sgid_index = host_.device().gid_index();
        ibv_ah* ah = made(ibv_create_ah(host_.pd, &attr), "ibv_create_ah");
        ibv_sge sge = host_.sge(0, 64);
        ibv_send_wr wr = request(1, IBV_WR_SEND, &sge);
        wr.send_flags = IBV_SEND_SIGNALED;
        wr.wr.ud = {.ah = ah, .remote_qpn = kMulticastQpn, .remote_qkey = kQkey};
        ibv_send_wr* bad = nullptr;
        done(ibv_post_send(qp, &wr, &bad), "ibv_post_send");
        ibv_wc wc{};
        do {
            wc = next();
        } while (wc.opcode != IBV_WC_SEND);
        done(ibv_destroy_ah(ah), "ibv_destroy_ah");
    }
    ibv_wc next() const {
        ibv_wc wc{};
        while (ibv_poll_cq(cq, 1, &wc) == 0) {
        }
        require(wc.status == IBV_WC_SUCCESS, ibv_wc_status_str(wc.status));
        return wc;
    }
    // A send has completed: whatever was to arrive is there.
    void expect_copy(std::size_t offset) const {
        ibv_wc wc{};
        require_equal(static_cast<std::uint64_t>(ibv_poll_cq(cq, 1, &wc)), 1, "copies");
        require_equal(wc.wr_id, offset, "wr_id of a copy");
        require_equal(wc.byte_len, kGrh + 64, "bytes of a copy");
        require(host_.same(0, offset + kGrh, 64), "a copy has other bytes");
    }
    void expect_nothing() const {
        ibv_wc wc{};
        require_equal(static_cast<std::uint64_t>(ibv_poll_cq(cq, 1, &wc)), 0, "copies");
    }

    ibv_qp* qp = nullptr;
    ibv_cq* cq = nullptr;

  private:
    Host& host_;
};

void refusals(Host& host) {
    Datagrams member(host);
    const ibv_gid one = group(1);
    ibv_gid host_address = host.device().gid();
    refused(ibv_attach_mcast(member.qp, &host_address, 0), EINVAL, "an address that is no group");
    refused(ibv_detach_mcast(member.qp, &one, 0), EINVAL, "detaching what is not attached");
    done(ibv_attach_mcast(member.qp, &one, 0), "ibv_attach_mcast");
    done(ibv_attach_mcast(member.qp, &one, 0), "attaching twice is once");
    refused(ibv_destroy_qp(member.qp), EBUSY, "destroying an attached queue pair");
    done(ibv_detach_mcast(member.qp, &one, 0), "ibv_detach_mcast");
    refused(ibv_detach_mcast(member.qp, &one, 0), EINVAL, "detaching twice");
    Pair connected(host);
    refused(ibv_attach_mcast(connected.left, &one, 0), EINVAL, "a connected queue pair");
    const ibv_gid six{.raw = {0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};
    done(ibv_attach_mcast(member.qp, &six, 0), "attaching to an IPv6 group");
    done(ibv_detach_mcast(member.qp, &six, 0), "detaching from an IPv6 group");
    ibv_qp_init_attr_ex attr{};
    attr.send_cq = attr.recv_cq = member.cq;
    attr.qp_type = IBV_QPT_RC;
    attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS;
    attr.pd = host.pd;
    attr.create_flags = IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
    refused(ibv_create_qp_ex(host.context(), &attr), EOPNOTSUPP, "blocked loopback of RC");
}

void limits(Host& host) {
    ibv_device_attr attr{};
    done(ibv_query_device(host.context(), &attr), "ibv_query_device");
    require(attr.max_mcast_grp > 0 && attr.max_mcast_qp_attach > 0 &&
                attr.max_total_mcast_qp_attach >= attr.max_mcast_grp,
            "limits of multicast");
    Datagrams member(host);
    for (int i = 0; i <= attr.max_mcast_grp; ++i) {
        ibv_gid many = group(0);
        many.raw[14] = static_cast<std::uint8_t>(i >> 8);
        many.raw[15] = static_cast<std::uint8_t>(i);
        refused(ibv_attach_mcast(member.qp, &many, 0), i == attr.max_mcast_grp ? ENOMEM : 0,
                "max_mcast_grp");
    }
    for (int i = 0; i < attr.max_mcast_grp; ++i) {
        ibv_gid many = group(0);
        many.raw[14] = static_cast<std::uint8_t>(i >> 8);
        many.raw[15] = static_cast<std::uint8_t>(i);
        done(ibv_detach_mcast(member.qp, &many, 0), "ibv_detach_mcast");
    }
}

void copies(Host& host) {
    Datagrams sender(host, IBV_QP_CREATE_BLOCK_SELF_MCAST_LB);
    Datagrams first(host);
    Datagrams second(host);
    host.fill(0, 64, 3);
    const ibv_gid one = group(1);
    for (Datagrams* member : {&sender, &first, &second}) {
        done(ibv_attach_mcast(member->qp, &one, 0), "ibv_attach_mcast");
    }
    sender.receive(1024);
    first.receive(2048);
    second.receive(4096);
    sender.send(one);
    first.expect_copy(2048);
    second.expect_copy(4096);
    sender.expect_nothing();
    first.receive(2048);
    second.receive(4096);
    sender.send(group(2));
    first.expect_nothing();
    done(ibv_detach_mcast(second.qp, &one, 0), "ibv_detach_mcast");
    sender.send(one);
    first.expect_copy(2048);
    second.expect_nothing();
    // Who does not ask to be left out hears itself.
    first.receive(2048);
    first.receive(8192);
    first.send(one);
    sender.expect_copy(1024);
    first.send(one);
    for (Datagrams* member : {&sender, &first}) {
        done(ibv_detach_mcast(member->qp, &one, 0), "ibv_detach_mcast");
    }
    require(host.same(0, 2048 + kGrh, 64) && host.same(0, 8192 + kGrh, 64), "own copies");
}

}  // namespace

void groups(Host& host) {
    refusals(host);
    limits(host);
    copies(host);
}

}  // namespace vrdma::extended
