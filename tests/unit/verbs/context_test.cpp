#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class ContextTest : public ProviderTest {};

TEST_F(ContextTest, open_asks_for_the_optional_features) {
    const auto request = device_.last(VRDMA_CMD_OPEN).as<vrdma_cmd_open>();
    EXPECT_EQ(request.features, VRDMA_FEATURE_PROCESS_MEMORY | VRDMA_FEATURE_PEER_DEATH |
                                    VRDMA_FEATURE_USERFAULT | VRDMA_FEATURE_MEMORY_WINDOWS |
                                    VRDMA_FEATURE_TIMESTAMPS | VRDMA_FEATURE_XRC |
                                    VRDMA_FEATURE_MULTICAST);
    EXPECT_EQ(context_->num_comp_vectors, 2);
    EXPECT_GE(context_->async_fd, 0);
}

TEST_F(ContextTest, open_follows_a_relative_socket_path) {
    close();
    std::ofstream(tree_ + "/vrdma_socket") << "../device.sock\n";
    context_ = open();
    EXPECT_NE(context_, nullptr);
}

TEST_F(ContextTest, open_without_a_socket_file_fails_with_its_errno) {
    close();
    std::remove((tree_ + "/vrdma_socket").c_str());
    errno = 0;
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(errno, ENOENT);
}

TEST_F(ContextTest, open_of_an_empty_socket_file_is_einval) {
    close();
    std::ofstream(tree_ + "/vrdma_socket") << "\n";
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(ContextTest, open_without_a_service_fails_with_its_errno) {
    close();
    std::ofstream(tree_ + "/vrdma_socket") << "/nonexistent/device.sock";
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(errno, ENOENT);
}

TEST_F(ContextTest, open_that_is_refused_fails_with_the_services_errno) {
    close();
    device_.refuse_next(VRDMA_CMD_OPEN, VRDMA_STATUS_NO_RESOURCE, "quota max_contexts is used up");
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

TEST_F(ContextTest, close_says_so_to_the_device) {
    EXPECT_FALSE(device_.closed_orderly());
    close();
    EXPECT_TRUE(device_.closed_orderly());
}

TEST_F(ContextTest, goodbye_at_exit_is_an_orderly_end) {
    say_goodbye_to_all();
    while (!device_.closed_orderly()) {
        ::sched_yield();
    }
    EXPECT_FALSE(Context::of(context_).dead());
}

TEST_F(ContextTest, child_is_refused_and_the_parent_is_not_disturbed) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    const pid_t child = ::fork();
    if (child == 0) {
        ibv_wc wc{};
        ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE);
        ibv_send_wr* bad = nullptr;
        [[maybe_unused]] const int posted = ibv_post_send(qp, &wr, &bad);
        const bool refused = ibv_alloc_pd(context_) == nullptr && ibv_poll_cq(cq_, 1, &wc) == -1 &&
                             ibv_create_cq(context_, 1, nullptr, nullptr, 0) == nullptr &&
                             ibv_create_comp_channel(context_) == nullptr;
        ibv_destroy_qp(qp);
        ibv_destroy_cq(cq_);
        ibv_dealloc_pd(pd_);
        ibv_close_device(context_);
        ::_exit(refused ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(device_.closed_orderly());
    EXPECT_EQ(device_.qp_header(qp->handle).sq_producer, 0U);
    ibv_pd* pd = ibv_alloc_pd(context_);
    ASSERT_NE(pd, nullptr);
    EXPECT_EQ(ibv_dealloc_pd(pd), 0);
}

TEST_F(ContextTest, child_can_open_a_device_of_its_own) {
    const pid_t child = ::fork();
    if (child == 0) {
        ibv_context* own = open();
        const bool works = own != nullptr && ibv_alloc_pd(own) != nullptr;
        ::_exit(works ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    // The fake device serves one connection: the parent's is gone.
    while (!Context::of(context_).dead()) {
        ::sched_yield();
    }
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    EXPECT_EQ(ibv_dealloc_pd(pd_), 0);
}

}  // namespace
}  // namespace vrdma::verbs
