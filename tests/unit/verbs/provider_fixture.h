// The provider under the real libibverbs, with a fake device behind it.
//
// Discovery is left out (it needs a tree below /sys): a context is opened the way libibverbs would.
#pragma once

#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/fake_device/fake_device.h"
#include "verbs/context.h"
#include "verbs/libibverbs_abi/structs.h"

namespace vrdma::verbs {

class ProviderTest : public ::testing::Test {
  protected:
    ProviderTest();
    ~ProviderTest() override;
    void SetUp() override;
    void TearDown() override;

    // nullptr and errno.
    ibv_context* open();
    void close();

    [[nodiscard]] ibv_cq* make_cq(int cqe = 16, ibv_comp_channel* channel = nullptr);
    // create_cq_ex and what libibverbs does after it. nullptr and errno.
    [[nodiscard]] ibv_cq_ex* make_cq_ex(ibv_cq_init_attr_ex attr);
    struct QpOptions {
        ibv_qp_type type = IBV_QPT_RC;
        std::uint32_t send_wr = 4;
        std::uint32_t recv_wr = 4;
        std::uint32_t sge = 1;
        std::uint32_t inline_bytes = 0;
        ibv_srq* srq = nullptr;
        int signal_all = 0;
    };
    // A queue pair on cq_ in the state given (RESET, INIT, RTR or RTS).
    [[nodiscard]] ibv_qp* make_qp(ibv_qp_state state, const QpOptions& options);
    [[nodiscard]] ibv_qp* make_qp(ibv_qp_state state) { return make_qp(state, QpOptions{}); }
    int move_to(ibv_qp* qp, ibv_qp_state state);

    // The device's side of a send completion: entry `index` of qp and all before it.
    void complete_send(const ibv_qp* qp, std::uint32_t index, std::uint64_t wr_id = 0);
    void complete_receive(const ibv_qp* qp, std::uint64_t wr_id = 0, std::uint8_t flags = 0);

    [[nodiscard]] std::vector<ibv_wc> poll(ibv_cq* cq, int count = 16);

    vrdma::testing::FakeDevice device_;
    std::string tree_;  // what ibdev_path names
    verbs_abi::VerbsDevice ibdevice_{};
    ibv_context* context_ = nullptr;
    ibv_pd* pd_ = nullptr;
    ibv_cq* cq_ = nullptr;
    ibv_comp_channel* channel_ = nullptr;  // none at first
    std::string expected_complaint_;
};

// One send request; sge_list must outlive it.
[[nodiscard]] ibv_send_wr send_request(std::uint64_t wr_id, ibv_wr_opcode opcode,
                                       ibv_sge* sge_list = nullptr, int sges = 0,
                                       unsigned flags = IBV_SEND_SIGNALED);

}  // namespace vrdma::verbs
