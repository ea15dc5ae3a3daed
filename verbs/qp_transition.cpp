// The table of IBA 11.2.5.2 ("Modify queue pair") for the types RC, UC, UD and XRC, without what
// this device does not have: alternate paths, migration, resizing. One row for each transition,
// with the attributes that must be there and those that may; the new state itself is always given,
// and the current state may be given wherever a program can know it better than its library (out of
// RTR, RTS, SQD, SQE).
//
// To RESET and to ERR is allowed from every state and takes no attribute. The device checks the
// same again; this copy exists so that a program's mistake is answered without a round trip, and so
// that what the library believes the state to be is consistent.
#include "verbs/qp_transition.h"

#include <array>
#include <optional>

namespace vrdma::verbs {
namespace {

struct Row {
    ibv_qp_state from;
    ibv_qp_state to;
    ibv_qp_type type;
    std::uint32_t required;
    std::uint32_t optional;
};

constexpr std::uint32_t kInitRequired = IBV_QP_PKEY_INDEX | IBV_QP_PORT;
constexpr std::uint32_t kInitRcUc = kInitRequired | IBV_QP_ACCESS_FLAGS;
constexpr std::uint32_t kInitUd = kInitRequired | IBV_QP_QKEY;
constexpr std::uint32_t kRtrUc = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
constexpr std::uint32_t kRtrRc = kRtrUc | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
constexpr std::uint32_t kRtsRc =
    IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
constexpr std::uint32_t kRunningRcUc = IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS;
constexpr std::uint32_t kRunningRc = kRunningRcUc | IBV_QP_MIN_RNR_TIMER;
constexpr std::uint32_t kRunningUd = IBV_QP_CUR_STATE | IBV_QP_QKEY;
constexpr std::uint32_t kPathUc = IBV_QP_AV | IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX;
constexpr std::uint32_t kPathRc = kPathUc | IBV_QP_PORT | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                  IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC |
                                  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;

// An initiator is the sending half of RC, a target the receiving one.
constexpr std::uint32_t kRtsXrcTarget = IBV_QP_TIMEOUT | IBV_QP_SQ_PSN;
constexpr std::uint32_t kPathXrcInitiator = kPathUc | IBV_QP_PORT | IBV_QP_TIMEOUT |
                                            IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                            IBV_QP_MAX_QP_RD_ATOMIC;
constexpr std::uint32_t kPathXrcTarget =
    kPathUc | IBV_QP_PORT | IBV_QP_TIMEOUT | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;

// clang-format off
constexpr auto kRows = std::to_array<Row>({
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_RC, kInitRcUc, 0},
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_UC, kInitRcUc, 0},
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_UD, kInitUd,   0},
    {IBV_QPS_INIT,  IBV_QPS_INIT, IBV_QPT_RC, 0, kInitRcUc},
    {IBV_QPS_INIT,  IBV_QPS_INIT, IBV_QPT_UC, 0, kInitRcUc},
    {IBV_QPS_INIT,  IBV_QPS_INIT, IBV_QPT_UD, 0, kInitUd},
    {IBV_QPS_INIT,  IBV_QPS_RTR,  IBV_QPT_RC, kRtrRc, IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
    {IBV_QPS_INIT,  IBV_QPS_RTR,  IBV_QPT_UC, kRtrUc, IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
    {IBV_QPS_INIT,  IBV_QPS_RTR,  IBV_QPT_UD, 0,      IBV_QP_PKEY_INDEX | IBV_QP_QKEY},
    {IBV_QPS_RTR,   IBV_QPS_RTS,  IBV_QPT_RC, kRtsRc,        kRunningRc},
    {IBV_QPS_RTR,   IBV_QPS_RTS,  IBV_QPT_UC, IBV_QP_SQ_PSN, kRunningRcUc},
    {IBV_QPS_RTR,   IBV_QPS_RTS,  IBV_QPT_UD, IBV_QP_SQ_PSN, kRunningUd},
    {IBV_QPS_RTS,   IBV_QPS_RTS,  IBV_QPT_RC, 0, kRunningRc},
    {IBV_QPS_RTS,   IBV_QPS_RTS,  IBV_QPT_UC, 0, kRunningRcUc},
    {IBV_QPS_RTS,   IBV_QPS_RTS,  IBV_QPT_UD, 0, kRunningUd},
    {IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPT_RC, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},
    {IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPT_UC, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},
    {IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPT_UD, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},
    {IBV_QPS_SQD,   IBV_QPS_RTS,  IBV_QPT_RC, 0, kRunningRc},
    {IBV_QPS_SQD,   IBV_QPS_RTS,  IBV_QPT_UC, 0, kRunningRcUc},
    {IBV_QPS_SQD,   IBV_QPS_RTS,  IBV_QPT_UD, 0, kRunningUd},
    {IBV_QPS_SQD,   IBV_QPS_SQD,  IBV_QPT_RC, 0, kPathRc},
    {IBV_QPS_SQD,   IBV_QPS_SQD,  IBV_QPT_UC, 0, kPathUc},
    {IBV_QPS_SQD,   IBV_QPS_SQD,  IBV_QPT_UD, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY},
    {IBV_QPS_SQE,   IBV_QPS_RTS,  IBV_QPT_UC, 0, kRunningRcUc},
    {IBV_QPS_SQE,   IBV_QPS_RTS,  IBV_QPT_UD, 0, kRunningUd},
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_XRC_SEND, kInitRcUc, 0},
    {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPT_XRC_RECV, kInitRcUc, 0},
    {IBV_QPS_INIT,  IBV_QPS_INIT, IBV_QPT_XRC_SEND, 0, kInitRcUc},
    {IBV_QPS_INIT,  IBV_QPS_INIT, IBV_QPT_XRC_RECV, 0, kInitRcUc},
    {IBV_QPS_INIT,  IBV_QPS_RTR,  IBV_QPT_XRC_SEND, kRtrUc, IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
    {IBV_QPS_INIT,  IBV_QPS_RTR,  IBV_QPT_XRC_RECV, kRtrRc, IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX},
    {IBV_QPS_RTR,   IBV_QPS_RTS,  IBV_QPT_XRC_SEND, kRtsRc,        kRunningRcUc},
    {IBV_QPS_RTR,   IBV_QPS_RTS,  IBV_QPT_XRC_RECV, kRtsXrcTarget, kRunningRc},
    {IBV_QPS_RTS,   IBV_QPS_RTS,  IBV_QPT_XRC_SEND, 0, kRunningRcUc},
    {IBV_QPS_RTS,   IBV_QPS_RTS,  IBV_QPT_XRC_RECV, 0, kRunningRc},
    {IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPT_XRC_SEND, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},
    {IBV_QPS_RTS,   IBV_QPS_SQD,  IBV_QPT_XRC_RECV, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},
    {IBV_QPS_SQD,   IBV_QPS_RTS,  IBV_QPT_XRC_SEND, 0, kRunningRcUc},
    {IBV_QPS_SQD,   IBV_QPS_RTS,  IBV_QPT_XRC_RECV, 0, kRunningRc},
    {IBV_QPS_SQD,   IBV_QPS_SQD,  IBV_QPT_XRC_SEND, 0, kPathXrcInitiator},
    {IBV_QPS_SQD,   IBV_QPS_SQD,  IBV_QPT_XRC_RECV, 0, kPathXrcTarget},
});
// clang-format on

bool is_supported(ibv_qp_type type) {
    return type == IBV_QPT_RC || type == IBV_QPT_UC || type == IBV_QPT_UD ||
           type == IBV_QPT_XRC_SEND || type == IBV_QPT_XRC_RECV;
}

std::optional<Row> find_row(const QpTransition& transition) {
    if (!is_supported(transition.type)) {
        return std::nullopt;
    }
    if (transition.to == IBV_QPS_RESET || transition.to == IBV_QPS_ERR) {
        return Row{transition.from, transition.to, transition.type, 0, IBV_QP_CUR_STATE};
    }
    for (const Row& row : kRows) {
        if (row.from == transition.from && row.to == transition.to && row.type == transition.type) {
            return row;
        }
    }
    return std::nullopt;
}

}  // namespace

TransitionVerdict check_transition(const QpTransition& transition) {
    const auto row = find_row(transition);
    if (!row) {
        return TransitionVerdict::no_such_transition;
    }
    if ((row->required & ~transition.mask) != 0) {
        return TransitionVerdict::attribute_missing;
    }
    if ((transition.mask & ~(row->required | row->optional | IBV_QP_STATE)) != 0) {
        return TransitionVerdict::attribute_forbidden;
    }
    return TransitionVerdict::allowed;
}

const char* describe(TransitionVerdict verdict) {
    switch (verdict) {
        case TransitionVerdict::allowed:
            return "allowed";
        case TransitionVerdict::no_such_transition:
            return "the state cannot change like this";
        case TransitionVerdict::attribute_missing:
            return "an attribute that this transition needs is missing in attr_mask";
        case TransitionVerdict::attribute_forbidden:
            return "attr_mask has an attribute that this transition cannot take";
    }
    return "?";
}

}  // namespace vrdma::verbs
