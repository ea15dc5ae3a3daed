// Memory windows of both types: what they let a peer do, and what no longer after they end.
#include <utility>

#include "pair.h"

namespace vrdma::extended {
namespace {

constexpr unsigned kBoth = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

ibv_mw_bind_info part_of(Host& host, std::size_t offset, std::size_t length, unsigned access) {
    return {
        .mr = host.mr, .addr = host.address(offset), .length = length, .mw_access_flags = access};
}

// A WRITE of left of 64 bytes from the memory's start.
void write(Host& host, Pair& pair, std::uint64_t address, std::uint32_t rkey,
           ibv_wc_status status) {
    ibv_sge from = host.sge(0, 64);
    ibv_send_wr wr = request(1, IBV_WR_RDMA_WRITE, &from);
    wr.wr.rdma = {.remote_addr = address, .rkey = rkey};
    done(pair.post(wr), "posting a WRITE");
    pair.expect(pair.left, 1, status);
}

void type_1(Host& host) {
    ibv_mw* window = made(ibv_alloc_mw(host.pd, IBV_MW_TYPE_1), "ibv_alloc_mw");
    Pair pair(host);
    ibv_mw_bind bind{
        .wr_id = 7, .send_flags = IBV_SEND_SIGNALED, .bind_info = part_of(host, 4096, 1024, kBoth)};
    done(ibv_bind_mw(pair.right, window, &bind), "ibv_bind_mw");
    const ibv_wc bound = pair.next(pair.right);
    require(bound.status == IBV_WC_SUCCESS && bound.opcode == IBV_WC_BIND_MW && bound.wr_id == 7,
            "the bind did not complete as one");
    host.fill(0, 64, 9);
    write(host, pair, host.address(4096), window->rkey, IBV_WC_SUCCESS);
    require(host.same(0, 4096, 64), "WRITE through a window moved other bytes");
    const std::uint32_t old = window->rkey;
    bind.bind_info = part_of(host, 8192, 1024, kBoth);
    done(ibv_bind_mw(pair.right, window, &bind), "binding again in place");
    pair.expect(pair.right, 7);
    require(window->rkey != old, "a bind did not change the key");
    write(host, pair, host.address(8192), window->rkey, IBV_WC_SUCCESS);
    refused(ibv_dereg_mr(host.mr), EBUSY, "deregistering memory under a window");
    write(host, pair, host.address(4096), old, IBV_WC_REM_ACCESS_ERR);
    done(ibv_dealloc_mw(window), "ibv_dealloc_mw");
}

void type_2(Host& host) {
    ibv_mw* window = made(ibv_alloc_mw(host.pd, IBV_MW_TYPE_2), "ibv_alloc_mw");
    Pair pair(host);
    ibv_mw_bind refused_here{.wr_id = 1, .send_flags = 0, .bind_info = {}};
    refused(ibv_bind_mw(pair.right, window, &refused_here), EINVAL, "ibv_bind_mw of type 2");

    // Bound by the builder, zero based; used; ended by the peer's SEND.
    const std::uint32_t first = ibv_inc_rkey(window->rkey);
    const ibv_mw_bind_info info =
        part_of(host, 4096, 1024, kBoth | unsigned{IBV_ACCESS_ZERO_BASED});
    ibv_wr_start(pair.right_ex);
    pair.right_ex->wr_id = 8;
    pair.right_ex->wr_flags = IBV_SEND_SIGNALED;
    ibv_wr_bind_mw(pair.right_ex, window, first, &info);
    done(ibv_wr_complete(pair.right_ex), "ibv_wr_bind_mw");
    pair.expect(pair.right, 8);
    host.fill(0, 64, 11);
    write(host, pair, 512, first, IBV_WC_SUCCESS);
    require(host.same(0, 4096 + 512, 64), "WRITE through a zero based window moved other bytes");
    pair.receive(pair.right, 9, 16384, 64);
    ibv_wr_start(pair.left_ex);
    pair.left_ex->wr_id = 10;
    pair.left_ex->wr_flags = IBV_SEND_SIGNALED;
    ibv_wr_send_inv(pair.left_ex, first);
    ibv_wr_set_sge(pair.left_ex, host.mr->lkey, host.address(0), 64);
    done(ibv_wr_complete(pair.left_ex), "ibv_wr_send_inv");
    pair.expect(pair.left, 10);
    const ibv_wc received = pair.next(pair.right);
    require_equal(received.wc_flags, IBV_WC_WITH_INV, "wc_flags of the receive");
    require_equal(received.invalidated_rkey, first, "the key that ended");
    require(host.same(0, 16384, 64), "SEND with invalidate moved other bytes");

    // Bound by a request, ended by its owner.
    const std::uint32_t second = ibv_inc_rkey(first);
    ibv_send_wr wr = request(12, IBV_WR_BIND_MW);
    wr.bind_mw.mw = window;
    wr.bind_mw.rkey = second;
    wr.bind_mw.bind_info = part_of(host, 4096, 1024, IBV_ACCESS_REMOTE_READ);
    std::swap(pair.left, pair.right);
    done(pair.post(wr), "posting a bind");
    pair.expect(pair.left, 12);
    wr = request(13, IBV_WR_LOCAL_INV);
    wr.invalidate_rkey = second;
    done(pair.post(wr), "posting a local invalidate");
    pair.expect(pair.left, 13);
    std::swap(pair.left, pair.right);
    write(host, pair, host.address(4096), second, IBV_WC_REM_ACCESS_ERR);
    done(ibv_dealloc_mw(window), "ibv_dealloc_mw");
}

// Each on a new pair: what is refused takes its queue pair along.
void refusals(Host& host) {
    ibv_mw* window = made(ibv_alloc_mw(host.pd, IBV_MW_TYPE_2), "ibv_alloc_mw");
    const std::uint32_t key = ibv_inc_rkey(window->rkey);
    const auto bind = [&](Pair& pair, const ibv_mw_bind_info& info, ibv_wc_status status) {
        ibv_send_wr wr = request(20, IBV_WR_BIND_MW);
        wr.bind_mw.mw = window;
        wr.bind_mw.rkey = key;
        wr.bind_mw.bind_info = info;
        std::swap(pair.left, pair.right);
        done(pair.post(wr), "posting a bind");
        pair.expect(pair.left, 20, status);
        std::swap(pair.left, pair.right);
    };
    {
        Pair beyond(host);
        bind(beyond, part_of(host, 1, kBytes, kBoth), IBV_WC_MW_BIND_ERR);
    }
    {
        ibv_mr* plain =
            made(ibv_reg_mr(host.pd, host.memory(), 4096, IBV_ACCESS_LOCAL_WRITE), "ibv_reg_mr");
        Pair without_right(host);
        ibv_mw_bind_info info = part_of(host, 0, 64, kBoth);
        info.mr = plain;
        bind(without_right, info, IBV_WC_MW_BIND_ERR);
        done(ibv_dereg_mr(plain), "ibv_dereg_mr");
    }
    {
        Pair invalid(host);
        ibv_send_wr wr = request(21, IBV_WR_LOCAL_INV);
        wr.invalidate_rkey = key;
        done(invalid.post(wr), "posting a local invalidate");
        invalid.expect(invalid.left, 21, IBV_WC_LOC_QP_OP_ERR);
    }
    {
        Pair owner(host);
        Pair other(host);
        bind(owner, part_of(host, 4096, 64, kBoth), IBV_WC_SUCCESS);
        write(host, other, host.address(4096), key, IBV_WC_REM_ACCESS_ERR);
        write(host, owner, host.address(4096), key, IBV_WC_SUCCESS);
        write(host, owner, host.address(4097), key, IBV_WC_REM_ACCESS_ERR);
    }
    done(ibv_dealloc_mw(window), "ibv_dealloc_mw");
}

}  // namespace

void windows(Host& host) {
    type_1(host);
    type_2(host);
    refusals(host);
}

}  // namespace vrdma::extended
