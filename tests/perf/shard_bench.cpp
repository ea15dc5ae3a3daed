// What one 8-byte request costs the worker when nothing has to come from another core: tenant and
// shard take turns on one thread. The difference to vrdma-perf's message rate is the price of
// moving cache lines between cores.
#include <benchmark/benchmark.h>

#include <atomic>
#include <vector>

#include "tests/unit/dataplane/device/tenant.h"

namespace vrdma::test {
namespace {

constexpr uint32_t kBatch = 16;

// `range(0)`: queue pairs with work; `range(1)`: bytes of a message.
void BM_write(benchmark::State& bench) {
    World world;
    const uint32_t vnic = world.add_vnic(7, 0x0a000001);
    Tenant tenant(world, vnic);
    const auto pairs = static_cast<uint32_t>(bench.range(0));
    const auto bytes = static_cast<uint32_t>(bench.range(1));
    Buffer source = tenant.buffer(65536);
    Buffer target = tenant.buffer(65536);
    std::vector<QueuePair> senders;
    std::vector<QueuePair> receivers;
    for (uint32_t i = 0; i < pairs; ++i) {
        senders.push_back(tenant.create_qp());
        receivers.push_back(tenant.create_qp());
        for (const auto& [own, other] :
             {std::pair(&senders[i], &receivers[i]), std::pair(&receivers[i], &senders[i])}) {
            vrdma_qp_attributes attributes{};
            attributes.port = 1;
            attributes.access = VRDMA_ACCESS_MASK;
            attributes.dest_qpn = other->qpn;
            attributes.address.sgid_index = 3;
            const vrdma_gid_entry gid = World::ipv4_gid(0x0a000001);
            std::copy(std::begin(gid.gid), std::end(gid.gid), attributes.address.gid);
            attributes.path_mtu = 5;
            attributes.retry_count = 7;
            attributes.rnr_retry = 7;
            attributes.timeout = 14;
            for (const vrdma_qp_state state : {VRDMA_QPS_INIT, VRDMA_QPS_RTR, VRDMA_QPS_RTS}) {
                attributes.state = state;
                Tenant::EXPECT_DONE(tenant.modify(
                    *own,
                    VRDMA_QP_STATE | VRDMA_QP_PORT | VRDMA_QP_ACCESS_FLAGS | VRDMA_QP_DEST_QPN |
                        VRDMA_QP_AV | VRDMA_QP_RETRY_CNT | VRDMA_QP_RNR_RETRY | VRDMA_QP_TIMEOUT,
                    attributes));
            }
        }
    }
    Send send;
    send.opcode = VRDMA_WQE_RDMA_WRITE;
    send.sges = {source.sge(0, bytes)};
    send.remote_address = target.address();
    send.rkey = target.key;
    uint64_t operations = 0;
    for (auto _ : bench) {
        bench.PauseTiming();
        for (QueuePair& qp : senders) {
            for (uint32_t i = 0; i < kBatch; ++i) {
                send.flags = i + 1 == kBatch ? VRDMA_WQE_SIGNALED : 0;
                tenant.post_quietly(qp, send);
            }
            tenant.ring(qp);
        }
        bench.ResumeTiming();
        world.settle();
        bench.PauseTiming();
        operations += kBatch * pairs;
        const size_t completed = tenant.cq.poll_all().size();
        if (completed != pairs) {
            bench.SkipWithError("a request did not complete");
        }
        bench.ResumeTiming();
    }
    bench.SetItemsProcessed(static_cast<int64_t>(operations));
}
BENCHMARK(BM_write)->Args({1, 8})->Args({64, 8})->Args({64, 4096});

}  // namespace
}  // namespace vrdma::test

BENCHMARK_MAIN();
