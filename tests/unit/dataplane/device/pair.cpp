// Connecting as programs do it: INIT, RTR with the peer's address, RTS.
#include "pair.h"

namespace vrdma::test {

vrdma_gid_entry gid_of(Tenant& tenant, uint32_t index) {
    return tenant.world.vnic(tenant.vnic).gids[index];
}

void to_init(Tenant& tenant, const QueuePair& qp, const Link& link) {
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_INIT;
    attributes.port = 1;
    attributes.access = link.access;
    attributes.qkey = link.qkey;
    const uint32_t own = qp.type == VRDMA_QPT_UD ? VRDMA_QP_QKEY : VRDMA_QP_ACCESS_FLAGS;
    Tenant::EXPECT_DONE(
        tenant.modify(qp, VRDMA_QP_STATE | VRDMA_QP_PORT | VRDMA_QP_PKEY_INDEX | own, attributes));
}

void to_rtr(Tenant& tenant, const QueuePair& qp, const vrdma_gid_entry& gid, uint32_t qpn,
            const Link& link) {
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_RTR;
    attributes.path_mtu = 5;
    attributes.dest_qpn = qpn;
    std::memcpy(attributes.address.gid, gid.gid, sizeof gid.gid);
    attributes.address.sgid_index = 3;
    attributes.address.hop_limit = 64;
    attributes.max_dest_rd_atomic = link.max_dest_rd_atomic;
    attributes.min_rnr_timer = link.min_rnr_timer;
    uint32_t mask = VRDMA_QP_STATE;
    if (qp.type != VRDMA_QPT_UD) {
        mask |= VRDMA_QP_AV | VRDMA_QP_PATH_MTU | VRDMA_QP_DEST_QPN | VRDMA_QP_RQ_PSN;
    }
    if (is_reliable(qp.type)) {
        mask |= VRDMA_QP_MAX_DEST_RD_ATOMIC | VRDMA_QP_MIN_RNR_TIMER;
    }
    Tenant::EXPECT_DONE(tenant.modify(qp, mask, attributes));
}

void to_rts(Tenant& tenant, const QueuePair& qp, const Link& link) {
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_RTS;
    attributes.timeout = link.timeout;
    attributes.retry_count = link.retry_count;
    attributes.rnr_retry = link.rnr_retry;
    attributes.max_rd_atomic = link.max_rd_atomic;
    uint32_t mask = VRDMA_QP_STATE | VRDMA_QP_SQ_PSN;
    if (is_reliable(qp.type)) {
        mask |=
            VRDMA_QP_TIMEOUT | VRDMA_QP_RETRY_CNT | VRDMA_QP_RNR_RETRY | VRDMA_QP_MAX_QP_RD_ATOMIC;
    }
    Tenant::EXPECT_DONE(tenant.modify(qp, mask, attributes));
}

void connect(Tenant& tenant, const QueuePair& qp, const vrdma_gid_entry& gid, uint32_t qpn,
             const Link& link) {
    to_init(tenant, qp, link);
    to_rtr(tenant, qp, gid, qpn, link);
    to_rts(tenant, qp, link);
}

Pair::Pair()
    : world(WorldOptions{.shards = GetParam()}),
      a(world, world.add_vnic(kNetwork, kAddressA), 0),
      b(world, world.add_vnic(kNetwork, kAddressB), GetParam() - 1) {}

void Pair::connect_pair(const QpOptions& options, const Link& link) {
    connect_pair(options, options, link, link);
}

void Pair::connect_pair(const QpOptions& left_options, const QpOptions& right_options,
                        const Link& left_link, const Link& right_link) {
    left = a.create_qp(left_options);
    right = b.create_qp(right_options);
    connect(a, left, gid_of(b), right.qpn, left_link);
    connect(b, right, gid_of(a), left.qpn, right_link);
}

void Pair::make_datagram_pair(const QpOptions& options) {
    left = a.create_qp(options);
    right = b.create_qp(options);
    connect(a, left, {}, 0);
    connect(b, right, {}, 0);
}

Send Pair::datagram(uint64_t wr_id, const std::vector<vrdma_sge>& sges) {
    return Send{.wr_id = wr_id, .sges = sges, .qpn = right.qpn, .qkey = kQkey, .gid = gid_of(b)};
}

vrdma_cqe next(CompletionRing& ring) {
    const std::optional<vrdma_cqe> entry = ring.poll();
    EXPECT_TRUE(entry.has_value()) << "no completion";
    return entry.value_or(vrdma_cqe{});
}

void expect_success(const vrdma_cqe& entry, uint64_t wr_id, vrdma_wc_opcode opcode) {
    EXPECT_EQ(entry.wr_id, wr_id);
    EXPECT_EQ(entry.status, VRDMA_WC_SUCCESS);
    EXPECT_EQ(entry.vendor_err, VRDMA_REASON_NONE);
    EXPECT_EQ(entry.opcode, opcode);
}

void expect_failure(const vrdma_cqe& entry, uint64_t wr_id, vrdma_wc_status status,
                    vrdma_reason reason) {
    EXPECT_EQ(entry.wr_id, wr_id);
    EXPECT_EQ(entry.status, status);
    EXPECT_EQ(entry.vendor_err, reason);
}

void expect_flushed(const vrdma_cqe& entry, uint64_t wr_id) {
    expect_failure(entry, wr_id, VRDMA_WC_WR_FLUSH_ERR, VRDMA_REASON_FLUSHED);
}

std::string shard_name(const testing::TestParamInfo<uint32_t>& parameter) {
    return parameter.param == 1 ? "one_shard" : "two_shards";
}

}  // namespace vrdma::test
