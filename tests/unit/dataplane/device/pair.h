// Two tenants with a vNIC each in one network, on one shard or on two: the parameter of the tests
// that use it.
#pragma once

#include <gtest/gtest.h>

#include "tenant.h"

namespace vrdma::test {

inline constexpr uint32_t kNetwork = 7;
inline constexpr uint32_t kAddressA = 0x0a000001;
inline constexpr uint32_t kAddressB = 0x0a000002;
inline constexpr uint32_t kQkey = 0x11111111;

// The attributes of a connection; defaults allow everything.
struct Link {
    uint8_t timeout = 14;  // 67 ms
    uint8_t retry_count = 3;
    uint8_t rnr_retry = 3;
    uint8_t min_rnr_timer = 12;  // 640 us
    uint32_t access = VRDMA_ACCESS_MASK;
    uint8_t max_rd_atomic = 16;
    uint8_t max_dest_rd_atomic = 16;
    uint32_t qkey = kQkey;
};

void to_init(Tenant& tenant, const QueuePair& qp, const Link& link = {});
void to_rtr(Tenant& tenant, const QueuePair& qp, const vrdma_gid_entry& gid, uint32_t qpn,
            const Link& link = {});
void to_rts(Tenant& tenant, const QueuePair& qp, const Link& link = {});
// RESET to RTS.
void connect(Tenant& tenant, const QueuePair& qp, const vrdma_gid_entry& gid, uint32_t qpn,
             const Link& link = {});

[[nodiscard]] vrdma_gid_entry gid_of(Tenant& tenant, uint32_t index = 3);

class Pair : public testing::TestWithParam<uint32_t> {
  protected:
    Pair();

    // Two connected queue pairs, in `left` and `right`.
    void connect_pair(const QpOptions& options = {}, const Link& link = {});
    void connect_pair(const QpOptions& left_options, const QpOptions& right_options,
                      const Link& left_link, const Link& right_link);
    // Two datagram queue pairs in RTS.
    void make_datagram_pair(const QpOptions& options = {.type = VRDMA_QPT_UD});
    // A SEND from left to right's datagram queue pair.
    [[nodiscard]] Send datagram(uint64_t wr_id, const std::vector<vrdma_sge>& sges);

    World world;
    Tenant a;
    Tenant b;
    QueuePair left;
    QueuePair right;
};

// The next completion, which must be there.
[[nodiscard]] vrdma_cqe next(CompletionRing& ring);
void expect_success(const vrdma_cqe& entry, uint64_t wr_id, vrdma_wc_opcode opcode);
void expect_failure(const vrdma_cqe& entry, uint64_t wr_id, vrdma_wc_status status,
                    vrdma_reason reason);
void expect_flushed(const vrdma_cqe& entry, uint64_t wr_id);
#define EXPECT_NO_COMPLETION(ring) EXPECT_FALSE((ring).poll().has_value())

[[nodiscard]] std::string shard_name(const testing::TestParamInfo<uint32_t>& parameter);
#define ON_ONE_AND_TWO_SHARDS(suite) \
    INSTANTIATE_TEST_SUITE_P(, suite, testing::Values(1U, 2U), ::vrdma::test::shard_name)

}  // namespace vrdma::test
