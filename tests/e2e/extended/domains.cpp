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
    Pair pair(host);
    ibv_ece ece{};
    refused(ibv_query_ece(pair.left, &ece), EOPNOTSUPP, "ibv_query_ece");
    refused(ibv_set_ece(pair.left, &ece), EOPNOTSUPP, "ibv_set_ece");
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
