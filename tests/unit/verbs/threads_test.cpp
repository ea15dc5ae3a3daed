// Threads that share everything a program may share: libibverbs promises that every verb may be
// called from any thread. A thread plays the device. The cases say what must come out (each request
// completes once, each event is acknowledged); ThreadSanitizer, under which the suite `threads` of
// the end-to-end tests runs them too, says what happened on the way.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t kRingEntries = 32;
constexpr std::uint32_t kCqEntries = 512;
constexpr std::uint64_t kRequests = 2000;  // of each kind on each queue pair

// A request's number: what completes once.
class Tally {
  public:
    static constexpr std::uint64_t kNobodys = ~std::uint64_t{0};

    explicit Tally(std::size_t requests) : seen_(requests) {}

    void note(std::uint64_t wr_id) {
        if (wr_id == kNobodys) {
            return;
        }
        ASSERT_LT(wr_id, seen_.size());
        EXPECT_EQ(seen_[wr_id].fetch_add(1), 0) << "request " << wr_id << " completed twice";
        ++completed_;
    }
    [[nodiscard]] bool complete() const { return completed_.load() >= seen_.size(); }

  private:
    std::vector<std::atomic<std::uint8_t>> seen_;
    std::atomic<std::uint64_t> completed_ = 0;
};

class ThreadsTest : public ProviderTest {
  protected:
    static constexpr std::size_t kShared = 3;

    void SetUp() override {
        ProviderTest::SetUp();
        ASSERT_EQ(ibv_destroy_cq(cq_), 0);
        channel_ = ibv_create_comp_channel(context_);
        ASSERT_NE(channel_, nullptr);
        ibv_cq_init_attr_ex attr{};
        attr.channel = channel_;
        attr.cqe = kCqEntries;
        cq_ex_ = make_cq_ex(attr);
        ASSERT_NE(cq_ex_, nullptr);
        cq_ = ibv_cq_ex_to_cq(cq_ex_);
        ibv_srq_init_attr srq{};
        srq.attr = {.max_wr = kRingEntries, .max_sge = 1, .srq_limit = 0};
        srq_ = ibv_create_srq(pd_, &srq);
        ASSERT_NE(srq_, nullptr);
        shared_[0] = make_qp(IBV_QPS_RTS, {.send_wr = kRingEntries, .recv_wr = kRingEntries});
        shared_[1] = make_extended_qp();
        shared_[2] = make_qp(IBV_QPS_RTS, {.send_wr = kRingEntries, .srq = srq_});
        stop_event_ = ::eventfd(0, EFD_CLOEXEC);
    }
    void TearDown() override {
        ProviderTest::TearDown();
        ::close(stop_event_);
    }

    ibv_qp* make_extended_qp() {
        ibv_qp_init_attr_ex attr{};
        attr.send_cq = cq_;
        attr.recv_cq = cq_;
        attr.qp_type = IBV_QPT_RC;
        attr.pd = pd_;
        attr.cap = {.max_send_wr = kRingEntries,
                    .max_recv_wr = kRingEntries,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
        attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
        attr.send_ops_flags = IBV_QP_EX_WITH_RDMA_WRITE;
        ibv_qp* qp = create_qp_ex(context_, &attr);
        for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
            EXPECT_EQ(move_to(qp, state), 0);
        }
        return qp;
    }

    // ---- the device

    void written(vrdma_cqe cqe) {
        while (produced_.load() - std::atomic_ref(device_.cq_header(cq_->handle).consumer).load() >=
               kCqEntries / 2) {
            std::this_thread::yield();
        }
        ++produced_;
        device_.complete(cq_->handle, cqe, (cqe.wr_id & 1U) != 0);
    }
    // Everything posted since the last turn. True when there was anything.
    bool device_turn() {
        bool worked = false;
        for (std::size_t i = 0; i < kShared; ++i) {
            const ibv_qp* qp = shared_[i];
            vrdma_qp_header& header = device_.qp_header(qp->handle);
            const std::uint32_t sends = std::atomic_ref(header.sq_producer).load();
            for (; sends_taken_[i] != sends; ++sends_taken_[i]) {
                vrdma_cqe cqe{};
                cqe.wr_id = device_.send_wqe(qp->handle, sends_taken_[i]).wr_id;
                cqe.qpn = qp->qp_num;
                cqe.src_qpn_or_index = sends_taken_[i];
                cqe.opcode = VRDMA_WC_RDMA_WRITE;
                written(cqe);
                worked = true;
            }
            worked |= qp->srq == nullptr ? take_receives(i) : take_shared_receives(i);
        }
        return worked;
    }
    bool take_receives(std::size_t i) {
        const ibv_qp* qp = shared_[i];
        vrdma_qp_header& header = device_.qp_header(qp->handle);
        const std::uint32_t posted = std::atomic_ref(header.rq_producer).load();
        const bool any = receives_taken_[i] != posted;
        for (; receives_taken_[i] != posted; ++receives_taken_[i]) {
            vrdma_cqe cqe{};
            cqe.wr_id = device_.recv_wqe(qp->handle, receives_taken_[i]).wr_id;
            cqe.qpn = qp->qp_num;
            cqe.opcode = VRDMA_WC_RECV;
            written(cqe);
        }
        return any;
    }
    bool take_shared_receives(std::size_t i) {
        vrdma_srq_header& header = device_.srq_header(srq_->handle);
        const std::uint32_t posted = std::atomic_ref(header.producer).load();
        const bool any = receives_taken_[i] != posted;
        for (; receives_taken_[i] != posted; ++receives_taken_[i]) {
            vrdma_cqe cqe{};
            cqe.wr_id = device_.srq_wqe(srq_->handle, receives_taken_[i]).wr_id;
            cqe.qpn = shared_[i]->qp_num;
            cqe.opcode = VRDMA_WC_RECV;
            cqe.flags = VRDMA_CQE_SRQ;
            std::atomic_ref(header.consumer).store(receives_taken_[i] + 1);
            written(cqe);
        }
        return any;
    }
    void play_device() {
        std::uint64_t turns = 0;
        while (!stop_.load()) {
            if (!device_turn()) {
                std::this_thread::yield();
            }
            if (++turns % 64 == 0) {
                device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(shared_[turns / 64 % kShared]));
            }
        }
    }

    // ---- the program

    // Posts `wr_id` with whatever way the queue pair has; false when its queue is full.
    bool post_send(std::size_t i, std::uint64_t wr_id) {
        if (i == 1) {
            ibv_qp_ex* qp = ibv_qp_to_qp_ex(shared_[i]);
            ibv_wr_start(qp);
            qp->wr_id = wr_id;
            qp->wr_flags = IBV_SEND_SIGNALED;
            ibv_wr_rdma_write(qp, 7, 0x1000);
            ibv_wr_set_sge(qp, 5, 0x2000, 64);
            return accepted(ibv_wr_complete(qp));
        }
        ibv_send_wr wr = send_request(wr_id, IBV_WR_RDMA_WRITE);
        ibv_send_wr* bad = nullptr;
        return accepted(ibv_post_send(shared_[i], &wr, &bad));
    }
    bool post_receive(std::size_t i, std::uint64_t wr_id) {
        ibv_recv_wr wr{};
        wr.wr_id = wr_id;
        ibv_recv_wr* bad = nullptr;
        return accepted(shared_[i]->srq != nullptr ? ibv_post_srq_recv(srq_, &wr, &bad)
                                                   : ibv_post_recv(shared_[i], &wr, &bad));
    }
    static bool accepted(int error) {
        EXPECT_TRUE(error == 0 || error == ENOMEM) << error;
        return error == 0;
    }

    // Takes numbers until all are posted; they belong to the queue pairs in turn.
    template <typename Post>
    void post_all(std::atomic<std::uint64_t>& next, std::uint64_t first, Post post) {
        for (std::uint64_t n = next++; n < kShared * kRequests; n = next++) {
            while (!post(n % kShared, first + n) && !stop_.load()) {
                std::this_thread::yield();
            }
        }
    }
    void poll_plain() {
        std::array<ibv_wc, 8> found{};
        while (!stop_.load()) {
            const int count = ibv_poll_cq(cq_, static_cast<int>(found.size()), found.data());
            ASSERT_GE(count, 0);
            for (int i = 0; i < count; ++i) {
                tally_.note(found[static_cast<std::size_t>(i)].wr_id);
            }
        }
    }
    void poll_extended() {
        while (!stop_.load()) {
            ibv_poll_cq_attr attr{};
            if (ibv_start_poll(cq_ex_, &attr) != 0) {
                continue;
            }
            int taken = 0;
            do {
                tally_.note(cq_ex_->wr_id);
            } while (++taken < 4 && ibv_next_poll(cq_ex_) == 0);
            ibv_end_poll(cq_ex_);
        }
    }
    // False: it is time to stop.
    bool wait_for(int fd) {
        std::array<pollfd, 2> files{{{.fd = fd, .events = POLLIN, .revents = 0},
                                     {.fd = stop_event_, .events = POLLIN, .revents = 0}}};
        EXPECT_GE(::poll(files.data(), files.size(), -1), 1);
        return files[1].revents == 0;
    }
    void sleep_on_channel() {
        int rounds = 0;
        EXPECT_EQ(ibv_req_notify_cq(cq_, 0), 0);
        while (wait_for(channel_->fd)) {
            ibv_cq* cq = nullptr;
            void* context = nullptr;
            ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &context), 0);
            EXPECT_EQ(cq, cq_);
            EXPECT_EQ(ibv_req_notify_cq(cq, ++rounds % 2), 0);
            ibv_ack_cq_events(cq, 1);
            ibv_wc wc{};
            if (ibv_poll_cq(cq, 1, &wc) == 1) {
                tally_.note(wc.wr_id);
            }
        }
        EXPECT_GT(rounds, 0);
    }
    void read_async_events() {
        while (wait_for(context_->async_fd)) {
            ibv_async_event event{};
            ASSERT_EQ(ibv_get_async_event(context_, &event), 0);
            ibv_ack_async_event(&event);
            ++async_events_;
        }
    }

    // Makes, uses and destroys one of each, on what the other threads use.
    void churn(void* memory) {
        ibv_mr* mr = ibv_reg_mr(pd_, memory, 4096, IBV_ACCESS_LOCAL_WRITE);
        ASSERT_NE(mr, nullptr);
        ibv_ah_attr address{};
        address.is_global = 1;
        address.port_num = 1;
        address.grh.sgid_index = 3;
        ibv_ah* ah = ibv_create_ah(pd_, &address);
        ASSERT_NE(ah, nullptr);
        ibv_comp_channel* channel = ibv_create_comp_channel(context_);
        ASSERT_NE(channel, nullptr);
        ibv_cq* cq = ibv_create_cq(context_, 4, nullptr, channel, 0);
        ASSERT_NE(cq, nullptr);
        EXPECT_EQ(ibv_req_notify_cq(cq, 0), 0);
        device_.complete(cq->handle, {});
        ibv_qp* qp = make_qp(IBV_QPS_RTS);
        ASSERT_NE(qp, nullptr);
        // Whether a poller or the destruction finds its completions is nobody's concern.
        ibv_send_wr wr = send_request(Tally::kNobodys, IBV_WR_RDMA_WRITE);
        ibv_send_wr* bad = nullptr;
        for (std::uint32_t i = 0; i < 2; ++i) {
            EXPECT_EQ(ibv_post_send(qp, &wr, &bad), 0);
            vrdma_cqe cqe{};
            cqe.wr_id = Tally::kNobodys;
            cqe.qpn = qp->qp_num;
            cqe.src_qpn_or_index = i;
            written(cqe);
        }
        device_.send_event(VRDMA_EVENT_COMM_EST, cookie_of(qp));
        device_.send_event(VRDMA_EVENT_CQ_ERR, cookie_of(cq));
        ibv_qp_attr attr{};
        ibv_qp_init_attr init{};
        EXPECT_EQ(ibv_query_qp(qp, &attr, IBV_QP_STATE, &init), 0);
        EXPECT_EQ(ibv_query_qp(shared_[0], &attr, IBV_QP_STATE, &init), 0);
        attr.qp_state = IBV_QPS_RESET;
        EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE), 0);
        EXPECT_EQ(ibv_destroy_qp(qp), 0);
        EXPECT_EQ(ibv_destroy_cq(cq), 0);
        EXPECT_EQ(ibv_destroy_comp_channel(channel), 0);
        EXPECT_EQ(ibv_destroy_ah(ah), 0);
        EXPECT_EQ(ibv_dereg_mr(mr), 0);
    }
    void churn_all() {
        void* memory =
            ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(memory, MAP_FAILED);
        for (int round = 0; round < 40; ++round) {
            churn(memory);
        }
        ::munmap(memory, 4096);
    }

    void stop() {
        stop_ = true;
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(stop_event_, &one, sizeof one), ssize_t{sizeof one});
    }
    static std::uint64_t cookie_of(const void* object) {
        return reinterpret_cast<std::uintptr_t>(object);
    }

    ibv_cq_ex* cq_ex_ = nullptr;
    ibv_srq* srq_ = nullptr;
    std::array<ibv_qp*, kShared> shared_{};
    std::array<std::uint32_t, kShared> sends_taken_{};
    std::array<std::uint32_t, kShared> receives_taken_{};
    std::atomic<std::uint32_t> produced_ = 0;
    std::atomic<bool> stop_ = false;
    int stop_event_ = -1;
    std::atomic<std::uint64_t> async_events_ = 0;
    Tally tally_{2 * kShared * kRequests};
};

TEST_F(ThreadsTest, requests_complete_once_while_everything_else_comes_and_goes) {
    std::atomic<std::uint64_t> next_send = 0;
    std::atomic<std::uint64_t> next_receive = 0;
    const auto send_all = [&] {
        post_all(next_send, 0, [this](std::size_t i, std::uint64_t n) { return post_send(i, n); });
    };
    const auto receive_all = [&] {
        post_all(next_receive, kShared * kRequests,
                 [this](std::size_t i, std::uint64_t n) { return post_receive(i, n); });
    };
    std::vector<std::thread> servants;
    servants.emplace_back([this] { play_device(); });
    servants.emplace_back([this] { poll_plain(); });
    servants.emplace_back([this] { poll_extended(); });
    servants.emplace_back([this] { sleep_on_channel(); });
    servants.emplace_back([this] { read_async_events(); });
    std::vector<std::thread> workers;
    for (int i = 0; i < 2; ++i) {
        workers.emplace_back(send_all);
        workers.emplace_back(receive_all);
        workers.emplace_back([this] { churn_all(); });
    }
    workers.emplace_back([this] {
        for (int round = 0; round < 40; ++round) {
            EXPECT_EQ(ibv_resize_cq(cq_, static_cast<int>(kCqEntries << (round % 2))), 0);
        }
    });
    for (std::thread& worker : workers) {
        worker.join();
    }
    while (!tally_.complete()) {
        std::this_thread::yield();
    }
    stop();
    for (std::thread& servant : servants) {
        servant.join();
    }
    EXPECT_GT(async_events_.load(), 0U);
    // What is left of both kinds of event.
    pollfd left{.fd = channel_->fd, .events = POLLIN, .revents = 0};
    while (::poll(&left, 1, 0) == 1) {
        ibv_cq* cq = nullptr;
        void* context = nullptr;
        ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &context), 0);
        ibv_ack_cq_events(cq, 1);
    }
}

// A completion that is polled while its queue pair is reset must not count as one of the next life:
// the ring would seem to have room for entries that the device has not taken.
TEST_F(ThreadsTest, reset_while_another_thread_polls_leaves_an_empty_queue) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    std::thread poller([this] {
        ibv_wc wc{};
        while (!stop_.load()) {
            EXPECT_GE(ibv_poll_cq(cq_, 1, &wc), 0);
        }
    });
    ibv_send_wr wr = send_request(0, IBV_WR_RDMA_WRITE);
    ibv_send_wr* bad = nullptr;
    for (int round = 0; round < 500 && !HasFailure(); ++round) {
        for (std::uint32_t i = 0; i < 4; ++i) {
            ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
            complete_send(qp, i);
        }
        for (const ibv_qp_state state : {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
            ASSERT_EQ(move_to(qp, state), 0);
        }
        const Qp& queues = *Qp::of(qp);
        EXPECT_EQ(queues.sq.tail.load(), 0U) << "round " << round;
        EXPECT_EQ(queues.sq.head.load(), 0U) << "round " << round;
    }
    stop();
    poller.join();
}

TEST_F(ThreadsTest, device_that_dies_flushes_what_every_thread_posted_once) {
    std::atomic<std::uint64_t> next_send = 0;
    std::atomic<std::uint64_t> next_receive = 0;
    std::atomic<bool> silent = false;
    std::vector<std::thread> servants;
    std::thread device([this, &silent] {
        while (!silent.load()) {
            device_turn();
        }
    });
    servants.emplace_back([this] { poll_plain(); });
    servants.emplace_back([this] { poll_extended(); });
    servants.emplace_back([this] { sleep_on_channel(); });
    servants.emplace_back([this] { read_async_events(); });
    std::vector<std::thread> workers;
    for (int i = 0; i < 2; ++i) {
        workers.emplace_back([&] {
            post_all(next_send, 0,
                     [this](std::size_t qp, std::uint64_t n) { return post_send(qp, n); });
        });
        workers.emplace_back([&] {
            // Not the shared queue: its requests are flushed by nobody.
            post_all(next_receive, kShared * kRequests, [this](std::size_t qp, std::uint64_t n) {
                if (shared_[qp]->srq != nullptr) {
                    tally_.note(n);
                    return true;
                }
                return post_receive(qp, n);
            });
        });
    }
    while (next_send.load() < kRequests) {
        std::this_thread::yield();
    }
    silent = true;
    device.join();
    device_.hang_up();
    for (std::thread& worker : workers) {
        worker.join();
    }
    while (!tally_.complete()) {
        std::this_thread::yield();
    }
    stop();
    for (std::thread& servant : servants) {
        servant.join();
    }
    for (ibv_qp* qp : shared_) {
        EXPECT_EQ(ibv_destroy_qp(qp), 0);
    }
    EXPECT_EQ(ibv_destroy_srq(srq_), 0);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    EXPECT_EQ(ibv_dealloc_pd(pd_), 0);
    pd_ = nullptr;
}

}  // namespace
}  // namespace vrdma::verbs
