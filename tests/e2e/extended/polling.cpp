// Everything the builder can post, everything a completion can tell, and when.
#include <cstring>
#include <ctime>
#include <vector>

#include "pair.h"
#include "tools/verbs_util/tsc.h"

namespace vrdma::extended {
namespace {

constexpr std::uint64_t kPatienceNs = 20'000'000'000;
constexpr std::uint64_t kClockSlackNs =
    50'000'000;  // half a command's round trip on a busy machine

struct Told {
    std::uint64_t wr_id;
    ibv_wc_status status;
    ibv_wc_opcode opcode;
    std::uint32_t byte_len;
    std::uint32_t imm;
    std::uint32_t qp_num;
    unsigned flags;
    std::uint64_t device_time;
    std::uint64_t wall_time;
};

// The next `count` completions, by the extended interface, in as many batches as it takes.
std::vector<Told> take(ibv_cq_ex* cq, std::size_t count) {
    std::vector<Told> all;
    const std::uint64_t deadline = verbs_util::monotonic_ns() + kPatienceNs;
    while (all.size() < count) {
        require(verbs_util::monotonic_ns() < deadline, "a completion did not come");
        ibv_poll_cq_attr attr{};
        int found = ibv_start_poll(cq, &attr);
        if (found == ENOENT) {
            continue;
        }
        done(found, "ibv_start_poll");
        for (; found == 0; found = ibv_next_poll(cq)) {
            all.push_back({.wr_id = cq->wr_id,
                           .status = cq->status,
                           .opcode = ibv_wc_read_opcode(cq),
                           .byte_len = ibv_wc_read_byte_len(cq),
                           .imm = ibv_wc_read_imm_data(cq),
                           .qp_num = ibv_wc_read_qp_num(cq),
                           .flags = ibv_wc_read_wc_flags(cq),
                           .device_time = ibv_wc_read_completion_ts(cq),
                           .wall_time = ibv_wc_read_completion_wallclock_ns(cq)});
            static_cast<void>(ibv_wc_read_slid(cq) + ibv_wc_read_sl(cq) + ibv_wc_read_src_qp(cq) +
                              ibv_wc_read_dlid_path_bits(cq) + ibv_wc_read_vendor_err(cq));
        }
        refused(found, ENOENT, "ibv_next_poll");
        ibv_end_poll(cq);
    }
    require_equal(all.size(), count, "completions");
    return all;
}

std::uint64_t device_clock(Host& host) {
    ibv_values_ex values{};
    values.comp_mask = IBV_VALUES_MASK_RAW_CLOCK;
    done(ibv_query_rt_values_ex(host.context(), &values), "ibv_query_rt_values_ex");
    require_equal(values.comp_mask, IBV_VALUES_MASK_RAW_CLOCK, "the values that were answered");
    return static_cast<std::uint64_t>(values.raw_clock.tv_nsec);
}

std::uint64_t wall_clock() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

ibv_cq_ex* create_cq(Host& host) {
    ibv_cq_init_attr_ex attr{};
    attr.cqe = 64;
    attr.wc_flags = std::uint64_t{IBV_WC_STANDARD_FLAGS} | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP |
                    IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK;
    attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS;
    attr.flags = IBV_CREATE_CQ_ATTR_SINGLE_THREADED;
    return made(ibv_create_cq_ex(host.context(), &attr), "ibv_create_cq_ex");
}

// One batch of each operation that moves data.
void post_all(Host& host, Pair& pair) {
    ibv_qp_ex* qp = pair.left_ex;
    const std::uint32_t lkey = host.mr->lkey;
    const std::uint32_t rkey = host.mr->rkey;
    const auto begin = [qp](std::uint64_t wr_id) {
        qp->wr_id = wr_id;
        qp->wr_flags = IBV_SEND_SIGNALED;
    };
    ibv_wr_start(qp);
    begin(1);
    ibv_wr_rdma_write(qp, rkey, host.address(8192));
    ibv_sge parts[2] = {host.sge(0, 1000), host.sge(1000, 3096)};
    ibv_wr_set_sge_list(qp, 2, parts);
    begin(2);
    ibv_wr_rdma_write_imm(qp, rkey, host.address(16384), 0x22222222);
    ibv_wr_set_sge(qp, lkey, host.address(0), 4096);
    begin(3);
    ibv_wr_rdma_read(qp, rkey, host.address(0));
    ibv_wr_set_sge(qp, lkey, host.address(20480), 4096);
    begin(4);
    ibv_wr_send(qp);
    ibv_wr_set_inline_data(qp, host.memory(), 64);
    begin(5);
    ibv_wr_send_imm(qp, 0x55555555);
    ibv_data_buf buffers[2] = {{.addr = host.memory(), .length = 10},
                               {.addr = host.memory() + 10, .length = 22}};
    ibv_wr_set_inline_data_list(qp, 2, buffers);
    begin(6);
    ibv_wr_atomic_fetch_add(qp, rkey, host.address(32768), 5);
    ibv_wr_set_sge(qp, lkey, host.address(32776), 8);
    begin(7);
    ibv_wr_atomic_cmp_swp(qp, rkey, host.address(32768), 105, 7);
    ibv_wr_set_sge(qp, lkey, host.address(32784), 8);
    done(ibv_wr_complete(qp), "ibv_wr_complete");
}

void check_completions(const std::vector<Told>& all, const Pair& pair) {
    struct Wanted {
        std::uint64_t wr_id;
        ibv_wc_opcode opcode;
        std::uint32_t byte_len;  // of receives
        std::uint32_t imm;
        unsigned flags;
    };
    const Wanted wanted[] = {
        {1, IBV_WC_RDMA_WRITE, 0, 0, 0},
        {102, IBV_WC_RECV_RDMA_WITH_IMM, 4096, 0x22222222, IBV_WC_WITH_IMM},
        {2, IBV_WC_RDMA_WRITE, 0, 0, 0},
        {3, IBV_WC_RDMA_READ, 0, 0, 0},
        {104, IBV_WC_RECV, 64, 0, 0},
        {4, IBV_WC_SEND, 0, 0, 0},
        {105, IBV_WC_RECV, 32, 0x55555555, IBV_WC_WITH_IMM},
        {5, IBV_WC_SEND, 0, 0, 0},
        {6, IBV_WC_FETCH_ADD, 0, 0, 0},
        {7, IBV_WC_COMP_SWAP, 0, 0, 0},
    };
    for (const Wanted& one : wanted) {
        const bool receive = one.wr_id > 100;
        for (const Told& told : all) {
            if (told.wr_id != one.wr_id) {
                continue;
            }
            require_equal(told.status, IBV_WC_SUCCESS, "status");
            require_equal(told.opcode, one.opcode, "opcode");
            require_equal(told.qp_num, receive ? pair.right->qp_num : pair.left->qp_num, "qp_num");
            if (receive) {
                require_equal(told.byte_len, one.byte_len, "byte_len");
                require_equal(told.flags, one.flags, "wc_flags");
                require_equal(told.imm, one.imm, "immediate");
            }
        }
    }
    require_equal(all.size(), std::size(wanted), "completions");
}

void check_times(Host& host, const std::vector<Told>& all, std::uint64_t device_before,
                 std::uint64_t wall_before) {
    const std::uint64_t device_after = device_clock(host);
    const std::uint64_t wall_after = wall_clock();
    std::uint64_t last = device_before;
    for (const Told& told : all) {
        require(told.device_time >= last, "time stamps of one queue go backwards, or before it");
        last = told.device_time;
        require(told.wall_time + kClockSlackNs >= wall_before &&
                    told.wall_time <= wall_after + kClockSlackNs,
                "a wall clock time is not between before and after");
    }
    require(last <= device_after, "a time stamp is of the future");
    const double device = static_cast<double>(device_after - device_before);
    const double wall = static_cast<double>(wall_after - wall_before);
    require(device < wall + kClockSlackNs && wall < device + kClockSlackNs,
            "the device's clock does not count nanoseconds");
}

}  // namespace

void polling(Host& host) {
    ibv_device_attr_ex attr{};
    done(ibv_query_device_ex(host.context(), nullptr, &attr), "ibv_query_device_ex");
    require_equal(attr.hca_core_clock, 1'000'000, "hca_core_clock (kHz)");
    require_equal(attr.completion_timestamp_mask, UINT64_MAX, "completion_timestamp_mask");

    ibv_cq_ex* cq = create_cq(host);
    ibv_poll_cq_attr empty{};
    refused(ibv_start_poll(cq, &empty), ENOENT, "polling an empty queue");
    {
        Pair pair(host, {.cq = ibv_cq_ex_to_cq(cq)});
        // What is aborted, or has a mistake in it, was never there.
        ibv_wr_start(pair.left_ex);
        ibv_wr_send(pair.left_ex);
        ibv_wr_abort(pair.left_ex);
        ibv_wr_start(pair.left_ex);
        ibv_wr_rdma_write(pair.left_ex, host.mr->rkey, host.address(0));
        ibv_wr_set_inline_data(pair.left_ex, host.memory(), 4096);
        refused(ibv_wr_complete(pair.left_ex), ENOMEM, "more inline data than there is room for");

        host.fill(0, 4096, 3);
        const std::uint64_t word = 100;
        std::memcpy(host.memory() + 32768, &word, sizeof word);
        pair.receive(pair.right, 102, 40960, 16);
        pair.receive(pair.right, 104, 41000, 64);
        pair.receive(pair.right, 105, 41064, 64);
        const std::uint64_t device_before = device_clock(host);
        const std::uint64_t wall_before = wall_clock();
        post_all(host, pair);
        const std::vector<Told> all = take(cq, 10);
        check_completions(all, pair);
        check_times(host, all, device_before, wall_before);
        require(host.same(0, 8192, 4096), "WRITE of two SGEs moved other bytes");
        require(host.same(0, 16384, 4096), "WRITE with immediate moved other bytes");
        require(host.same(0, 20480, 4096), "READ moved other bytes");
        require(host.same(0, 41000, 64), "inline SEND moved other bytes");
        require(host.same(0, 41064, 32), "SEND of two inline buffers moved other bytes");
        std::uint64_t words[3];
        std::memcpy(words, host.memory() + 32768, sizeof words);
        require_equal(words[1], 100, "what FETCH_ADD found");
        require_equal(words[2], 105, "what CMP_SWAP found");
        require_equal(words[0], 7, "the word after both");
    }
    done(ibv_destroy_cq(ibv_cq_ex_to_cq(cq)), "ibv_destroy_cq");
}

}  // namespace vrdma::extended
