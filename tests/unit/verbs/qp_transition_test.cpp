#include "verbs/qp_transition.h"

#include <gtest/gtest.h>

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t kRtr = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                               IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
constexpr std::uint32_t kRts = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                               IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
constexpr std::uint32_t kInit =
    IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;

TransitionVerdict check(ibv_qp_type type, ibv_qp_state from, ibv_qp_state to, std::uint32_t mask) {
    return check_transition({.type = type, .from = from, .to = to, .mask = mask});
}

TEST(QpTransition, masks_of_nccl_are_allowed) {
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_RESET, IBV_QPS_INIT, 0x39), TransitionVerdict::allowed);
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_INIT, IBV_QPS_RTR, 0x129181), TransitionVerdict::allowed);
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_RTR, IBV_QPS_RTS, 0x12e01), TransitionVerdict::allowed);
}

TEST(QpTransition, each_required_attribute_is_required) {
    struct Case {
        ibv_qp_type type;
        ibv_qp_state from;
        ibv_qp_state to;
        std::uint32_t mask;
    };
    const Case cases[] = {
        {IBV_QPT_RC, IBV_QPS_RESET, IBV_QPS_INIT, kInit},
        {IBV_QPT_RC, IBV_QPS_INIT, IBV_QPS_RTR, kRtr},
        {IBV_QPT_RC, IBV_QPS_RTR, IBV_QPS_RTS, kRts},
        {IBV_QPT_UC, IBV_QPS_INIT, IBV_QPS_RTR,
         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN},
        {IBV_QPT_UC, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_SQ_PSN},
        {IBV_QPT_UD, IBV_QPS_RESET, IBV_QPS_INIT,
         IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY},
        {IBV_QPT_UD, IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_STATE},
        {IBV_QPT_UD, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_SQ_PSN},
        {IBV_QPT_XRC_SEND, IBV_QPS_RESET, IBV_QPS_INIT, kInit},
        {IBV_QPT_XRC_SEND, IBV_QPS_INIT, IBV_QPS_RTR,
         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN},
        {IBV_QPT_XRC_SEND, IBV_QPS_RTR, IBV_QPS_RTS, kRts},
        {IBV_QPT_XRC_RECV, IBV_QPS_RESET, IBV_QPS_INIT, kInit},
        {IBV_QPT_XRC_RECV, IBV_QPS_INIT, IBV_QPS_RTR, kRtr},
        {IBV_QPT_XRC_RECV, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_SQ_PSN},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(check(c.type, c.from, c.to, c.mask), TransitionVerdict::allowed);
        for (std::uint32_t bit = 2; bit != 0; bit <<= 1U) {  // all but IBV_QP_STATE
            if ((c.mask & bit) != 0) {
                EXPECT_EQ(check(c.type, c.from, c.to, c.mask & ~bit),
                          TransitionVerdict::attribute_missing)
                    << "type " << c.type << " to " << c.to << " without " << bit;
            }
        }
    }
}

TEST(QpTransition, initiator_has_no_attribute_of_a_receiver_and_a_target_none_of_a_sender) {
    EXPECT_EQ(check(IBV_QPT_XRC_SEND, IBV_QPS_INIT, IBV_QPS_RTR, kRtr),
              TransitionVerdict::attribute_forbidden);
    EXPECT_EQ(check(IBV_QPT_XRC_RECV, IBV_QPS_RTR, IBV_QPS_RTS, kRts),
              TransitionVerdict::attribute_forbidden);
}

TEST(QpTransition, attribute_of_another_transition_is_forbidden) {
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_RESET, IBV_QPS_INIT, kInit | IBV_QP_AV),
              TransitionVerdict::attribute_forbidden);
    EXPECT_EQ(check(IBV_QPT_UD, IBV_QPS_RESET, IBV_QPS_INIT, kInit | IBV_QP_QKEY),
              TransitionVerdict::attribute_forbidden);
    EXPECT_EQ(
        check(IBV_QPT_UC, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT),
        TransitionVerdict::attribute_forbidden);
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_RTS, IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_DEST_QPN),
              TransitionVerdict::attribute_forbidden);
}

TEST(QpTransition, every_state_goes_to_reset_and_error) {
    for (int from = IBV_QPS_RESET; from <= IBV_QPS_ERR; ++from) {
        for (const ibv_qp_type type : {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD}) {
            const auto state = static_cast<ibv_qp_state>(from);
            EXPECT_EQ(check(type, state, IBV_QPS_RESET, IBV_QP_STATE), TransitionVerdict::allowed);
            EXPECT_EQ(check(type, state, IBV_QPS_ERR, IBV_QP_STATE), TransitionVerdict::allowed);
            EXPECT_EQ(check(type, state, IBV_QPS_ERR, IBV_QP_STATE | IBV_QP_QKEY),
                      TransitionVerdict::attribute_forbidden);
        }
    }
}

TEST(QpTransition, pairs_outside_the_table_do_not_exist) {
    constexpr std::uint32_t kEverything = 0xffffffffU;
    for (int from = IBV_QPS_RESET; from <= IBV_QPS_ERR; ++from) {
        for (int to = IBV_QPS_INIT; to < IBV_QPS_ERR; ++to) {
            const bool exists =
                (from == IBV_QPS_RESET && to == IBV_QPS_INIT) ||
                (from == IBV_QPS_INIT && (to == IBV_QPS_INIT || to == IBV_QPS_RTR)) ||
                (from == IBV_QPS_RTR && to == IBV_QPS_RTS) ||
                (from == IBV_QPS_RTS && (to == IBV_QPS_RTS || to == IBV_QPS_SQD)) ||
                (from == IBV_QPS_SQD && (to == IBV_QPS_RTS || to == IBV_QPS_SQD));
            EXPECT_EQ(
                check(IBV_QPT_RC, static_cast<ibv_qp_state>(from), static_cast<ibv_qp_state>(to),
                      kEverything) == TransitionVerdict::no_such_transition,
                !exists)
                << from << " to " << to;
        }
    }
}

TEST(QpTransition, send_error_recovers_on_unreliable_types_only) {
    EXPECT_EQ(check(IBV_QPT_UD, IBV_QPS_SQE, IBV_QPS_RTS, IBV_QP_STATE),
              TransitionVerdict::allowed);
    EXPECT_EQ(check(IBV_QPT_UC, IBV_QPS_SQE, IBV_QPS_RTS, IBV_QP_STATE),
              TransitionVerdict::allowed);
    EXPECT_EQ(check(IBV_QPT_RC, IBV_QPS_SQE, IBV_QPS_RTS, IBV_QP_STATE),
              TransitionVerdict::no_such_transition);
}

TEST(QpTransition, other_types_have_no_transitions) {
    EXPECT_EQ(check(IBV_QPT_RAW_PACKET, IBV_QPS_RESET, IBV_QPS_ERR, IBV_QP_STATE),
              TransitionVerdict::no_such_transition);
}

}  // namespace
}  // namespace vrdma::verbs
