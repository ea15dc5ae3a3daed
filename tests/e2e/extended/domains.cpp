// Parent domains, memory regions of unusual kinds, and what this device says that it does not do.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "pair.h"

namespace vrdma::extended {
namespace {

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

void parent_domain(Host& host) {
    ibv_td_init_attr td_attr{};
    ibv_td* td = made(ibv_alloc_td(host.context(), &td_attr), "ibv_alloc_td");
    ibv_parent_domain_init_attr attr{};
    attr.pd = host.pd;
    attr.td = td;
    ibv_pd* parent = made(ibv_alloc_parent_domain(host.context(), &attr), "parent domain");
    {
        Pair pair(host, {.pd = parent});
        host.fill(0, 4096, 21);
        ibv_sge from = host.sge(0, 4096);  // of the protection domain
        ibv_send_wr wr = request(1, IBV_WR_RDMA_WRITE, &from);
        wr.wr.rdma = {.remote_addr = host.address(8192), .rkey = host.mr->rkey};
        done(pair.post(wr), "posting a WRITE");
        pair.expect(pair.left, 1);
        require(host.same(0, 8192, 4096), "WRITE in a thread domain moved other bytes");
        refused(ibv_dealloc_pd(parent), EBUSY, "a parent domain with queue pairs");
    }
    refused(ibv_dealloc_td(td), EBUSY, "a thread domain in use");
    done(ibv_dealloc_pd(parent), "ibv_dealloc_pd of the parent domain");
    done(ibv_dealloc_td(td), "ibv_dealloc_td");
}

void regions(Host& host) {
    // An iova that is not the address.
    constexpr std::uint64_t kIova = 0x7000'0000'0000;
    ibv_mr* far = made(ibv_reg_mr_iova2(host.pd, host.memory() + 4096, 4096, kIova,
                                        kAccess | IBV_ACCESS_RELAXED_ORDERING),
                       "ibv_reg_mr_iova2");
    {
        Pair pair(host);
        host.fill(0, 64, 31);
        ibv_sge from = host.sge(0, 64);
        ibv_send_wr wr = request(1, IBV_WR_RDMA_WRITE, &from);
        wr.wr.rdma = {.remote_addr = kIova + 100, .rkey = far->rkey};
        done(pair.post(wr), "posting a WRITE");
        pair.expect(pair.left, 1);
        require(host.same(0, 4096 + 100, 64), "WRITE by iova moved other bytes");

        // Registered again: elsewhere, without remote write.
        done(ibv_rereg_mr(far, IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS,
                          host.pd, host.memory() + 8192, 4096,
                          IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ),
             "ibv_rereg_mr");
        require(far->addr == host.memory() + 8192, "ibv_rereg_mr left the old address");
        ibv_sge to = host.sge(12288, 64);
        host.fill(8192, 64, 37);
        wr = request(2, IBV_WR_RDMA_READ, &to);
        wr.wr.rdma = {.remote_addr = host.address(8192), .rkey = far->rkey};
        done(pair.post(wr), "posting a READ");
        pair.expect(pair.left, 2);
        require(host.same(8192, 12288, 64), "READ of memory registered again moved other bytes");
        wr = request(3, IBV_WR_RDMA_WRITE, &from);
        wr.wr.rdma = {.remote_addr = host.address(8192), .rkey = far->rkey};
        done(pair.post(wr), "posting a WRITE");
        pair.expect(pair.left, 3, IBV_WC_REM_ACCESS_ERR);
    }
    // Another domain: the old key is gone, the new one works there only.
    ibv_pd* other = made(ibv_alloc_pd(host.context()), "ibv_alloc_pd");
    done(ibv_rereg_mr(far, IBV_REREG_MR_CHANGE_PD, other, nullptr, 0, 0), "rereg_mr, other domain");
    require(far->pd == other, "ibv_rereg_mr left the old domain");
    refused(ibv_dealloc_pd(other), EBUSY, "a domain with a region");
    {
        Pair inside(host, {.pd = other});
        ibv_sge from{.addr = host.address(8192), .length = 64, .lkey = far->lkey};
        ibv_send_wr wr = request(4, IBV_WR_RDMA_READ, &from);
        wr.wr.rdma = {.remote_addr = host.address(8192), .rkey = far->rkey};
        done(inside.post(wr), "posting a READ");
        inside.expect(inside.left, 4);
        Pair outside(host);
        ibv_sge into = host.sge(12288, 64);
        wr = request(5, IBV_WR_RDMA_READ, &into);
        wr.wr.rdma = {.remote_addr = host.address(8192), .rkey = far->rkey};
        done(outside.post(wr), "posting a READ");
        outside.expect(outside.left, 5, IBV_WC_REM_ACCESS_ERR);
    }
    done(ibv_rereg_mr(
             far,
             IBV_REREG_MR_CHANGE_PD | IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS,
             host.pd, host.memory(), 4096, kAccess),
         "ibv_rereg_mr of everything");
    done(ibv_dealloc_pd(other), "a domain that was left");
    require(ibv_rereg_mr(far, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0,
                         IBV_ACCESS_REMOTE_WRITE) != 0,
            "remote write without local");
    done(ibv_dereg_mr(far), "ibv_dereg_mr");
    // EBADF would tell NCCL and UCX that dma-buf is supported.
    refused(ibv_reg_dmabuf_mr(host.pd, 0, 4096, 0, -1, kAccess), EOPNOTSUPP,
            "the question for dma-buf");
    const int file = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    refused(ibv_reg_dmabuf_mr(host.pd, 0, 4096, 0, file, kAccess), EOPNOTSUPP,
            "dma-buf that is none");
    ::close(file);
    ibv_sge all = host.sge(0, 4096);
    refused(ibv_advise_mr(host.pd, IBV_ADVISE_MR_ADVICE_PREFETCH, 0, &all, 1), EOPNOTSUPP,
            "advice about memory that is never paged by the device");
    refused(ibv_reg_mr(host.pd, host.memory(), 64, IBV_ACCESS_ON_DEMAND), EOPNOTSUPP,
            "on demand paging");
    refused(ibv_alloc_null_mr(host.pd), EOPNOTSUPP, "a null region");
}

void not_there(Host& host) {
    refused(ibv_import_pd(host.context(), host.pd->handle), EOPNOTSUPP, "ibv_import_pd");
    refused(ibv_import_mr(host.pd, host.mr->handle), EOPNOTSUPP, "ibv_import_mr");
    ibv_alloc_dm_attr dm{};
    dm.length = 64;
    refused(ibv_alloc_dm(host.context(), &dm), EOPNOTSUPP, "device memory");
    // The descriptor of one context leads to no other.
    require(ibv_import_device(host.context()->cmd_fd) == nullptr &&
                (errno == EOPNOTSUPP || errno == ENODEV),
            "ibv_import_device");
    refused(ibv_import_dm(host.context(), 1), EOPNOTSUPP, "ibv_import_dm");
    ibv_counters_init_attr counters{};
    refused(ibv_create_counters(host.context(), &counters), EOPNOTSUPP, "counters");
    ibv_flow_action_esp_attr esp{};
    refused(ibv_create_flow_action_esp(host.context(), &esp), EOPNOTSUPP, "flow actions");
    ibv_rwq_ind_table_init_attr indirection{};
    refused(ibv_create_rwq_ind_table(host.context(), &indirection), EOPNOTSUPP,
            "indirection tables");
    Pair pair(host);
    ibv_ece ece{};
    refused(ibv_query_ece(pair.left, &ece), EOPNOTSUPP, "ibv_query_ece");
    refused(ibv_set_ece(pair.left, &ece), EOPNOTSUPP, "ibv_set_ece");
    ibv_flow_attr flow{};
    flow.type = IBV_FLOW_ATTR_NORMAL;
    flow.size = sizeof flow;
    flow.port = 1;
    refused(ibv_create_flow(pair.left, &flow), EOPNOTSUPP, "flows");
    ibv_wq_init_attr wq{};
    wq.wq_type = IBV_WQT_RQ;
    wq.max_wr = 1;
    wq.max_sge = 1;
    wq.pd = host.pd;
    wq.cq = pair.left->recv_cq;
    refused(ibv_create_wq(host.context(), &wq), EOPNOTSUPP, "work queues");
    ibv_modify_cq_attr moderation{};
    moderation.attr_mask = IBV_CQ_ATTR_MODERATE;
    refused(ibv_modify_cq(pair.left->recv_cq, &moderation), EOPNOTSUPP, "moderation");
    ibv_qp_rate_limit_attr limit{};
    refused(ibv_modify_qp_rate_limit(pair.left, &limit), EOPNOTSUPP, "rate limits");
}

void queries(Host& host) {
    std::vector<ibv_gid_entry> table(16);
    const auto found = ibv_query_gid_table(host.context(), table.data(), table.size(), 0);
    require(found == 3, "ibv_query_gid_table: an IPv4 GID, and the link-local one twice");
    for (std::uint32_t i = 0; i < 3; ++i) {
        require_equal(table[i].gid_type, IBV_GID_TYPE_ROCE_V2, "type of a GID");
        ibv_gid_entry one{};
        done(ibv_query_gid_ex(host.context(), 1, table[i].gid_index, &one, 0), "ibv_query_gid_ex");
        require(std::memcmp(&one.gid, &table[i].gid, sizeof one.gid) == 0,
                "the table and the entry differ");
    }
    Pair pair(host);
    require_equal(
        static_cast<std::uint64_t>(ibv_query_qp_data_in_order(pair.left, IBV_WR_RDMA_WRITE, 0)), 1,
        "data arrives in order");
    require_equal(
        static_cast<std::uint64_t>(ibv_query_qp_data_in_order(pair.left, IBV_WR_RDMA_READ, 0)), 1,
        "data of READs arrives in order");
    ibv_device_attr_ex attr{};
    done(ibv_query_device_ex(host.context(), nullptr, &attr), "ibv_query_device_ex");
    require(attr.orig_attr.max_mw > 0, "max_mw");
    require_equal(attr.odp_caps.general_caps, 0, "on demand paging");
    require_equal(attr.max_dm_size, 0, "device memory");
    require_equal(attr.xrc_odp_caps, 0, "on demand paging of XRC");
    require((attr.orig_attr.device_cap_flags & IBV_DEVICE_XRC) != 0, "IBV_DEVICE_XRC");
}

}  // namespace

void domains(Host& host) {
    parent_domain(host);
    regions(host);
    not_there(host);
    queries(host);
}

}  // namespace vrdma::extended
