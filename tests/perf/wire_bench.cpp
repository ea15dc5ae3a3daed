// What the CRC of a packet costs: alone, fused with the copy, and beside the copy alone. All data
// stays in the cache; the arguments are the payload's bytes and, where there is one, the method.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "dataplane/wire/build.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/parse.h"

namespace vrdma::wire {
namespace {

void set_bytes(benchmark::State& state) {
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

void memcpy_alone(benchmark::State& state) {
    const std::vector<std::byte> from(static_cast<size_t>(state.range(0)), std::byte{7});
    std::vector<std::byte> to(from.size());
    for (auto _ : state) {
        std::memcpy(to.data(), from.data(), from.size());
        benchmark::ClobberMemory();
    }
    set_bytes(state);
}

void crc_alone(benchmark::State& state) {
    const auto method = static_cast<CrcMethod>(state.range(1));
    const std::vector<std::byte> from(static_cast<size_t>(state.range(0)), std::byte{7});
    if (!crc32_supported(method)) {
        state.SkipWithError("this CPU lacks the instructions");
        return;
    }
    uint32_t crc = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(crc = crc32_update_by(method, crc, from));
    }
    set_bytes(state);
}

void copy_with_crc(benchmark::State& state) {
    const auto method = static_cast<CrcMethod>(state.range(1));
    const std::vector<std::byte> from(static_cast<size_t>(state.range(0)), std::byte{7});
    std::vector<std::byte> to(from.size());
    if (!crc32_supported(method)) {
        state.SkipWithError("this CPU lacks the instructions");
        return;
    }
    uint32_t crc = 0;
    for (auto _ : state) {
        crc = crc32_copy_by(method, crc, to.data(), from.data(), from.size());
        benchmark::DoNotOptimize(crc);
        benchmark::ClobberMemory();
    }
    set_bytes(state);
}

FlowTemplate flow() {
    return FlowTemplate(
        Flow{.source = Address::v4(10, 0, 0, 1), .destination = Address::v4(10, 0, 0, 2)});
}

void build(benchmark::State& state) {
    const std::vector<std::byte> payload(static_cast<size_t>(state.range(0)), std::byte{7});
    std::vector<std::byte> frame(frame_bytes(Opcode::RcWriteOnly, false, payload.size()));
    const FlowTemplate to = flow();
    HeaderFields fields{.opcode = Opcode::RcWriteOnly};
    for (auto _ : state) {
        ++fields.psn;
        benchmark::DoNotOptimize(build_frame(frame, to, fields, payload));
        benchmark::ClobberMemory();
    }
    set_bytes(state);
}

void parse_frame(benchmark::State& state) {
    const std::vector<std::byte> payload(static_cast<size_t>(state.range(0)), std::byte{7});
    std::vector<std::byte> frame(frame_bytes(Opcode::RcWriteOnly, false, payload.size()));
    if (build_frame(frame, flow(), {.opcode = Opcode::RcWriteOnly}, payload) != frame.size()) {
        state.SkipWithError("the frame has another size than announced");
        return;
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(parse(frame));
    }
    set_bytes(state);
}

void methods(benchmark::internal::Benchmark* bench) {
    for (const auto method : {CrcMethod::Table, CrcMethod::Carryless, CrcMethod::Carryless256,
                              CrcMethod::Carryless512}) {
        for (const int64_t bytes : {64, 256, 1024, 4096}) {
            bench->Args({bytes, static_cast<int64_t>(method)});
        }
    }
}

BENCHMARK(memcpy_alone)->Arg(64)->Arg(256)->Arg(1024)->Arg(4096);
BENCHMARK(crc_alone)->Apply(methods);
BENCHMARK(copy_with_crc)->Apply(methods);
BENCHMARK(build)->Arg(64)->Arg(1024)->Arg(4096);
BENCHMARK(parse_frame)->Arg(64)->Arg(1024)->Arg(4096);

}  // namespace
}  // namespace vrdma::wire

BENCHMARK_MAIN();
