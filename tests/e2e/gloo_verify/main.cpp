// One rank of a gloo job over the ibverbs transport, as PyTorch makes one: a context in a full
// mesh, the ranks meeting in files of a directory, and collectives whose every result is checked.
//
//   vrdma-gloo-verify RANK RANKS DIRECTORY
//
// Debian's libgloo has the transport's older interface of buffers (no unbound ones), which is what
// these algorithms use: SEND_WITH_IMM, RDMA_WRITE_WITH_IMM and a thread that sleeps on a completion
// channel.
//
// Algorithms do not wait for their last completions, and gloo aborts a process that destroys a
// buffer before. So nothing is destroyed: a rank that is done tells the others through the store,
// waits for them, and ends in order: a process that dies without telling its device is a crash, and
// ends its peers' queue pairs (docs/guarantees.md).
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/allreduce_ring_chunked.h>
#include <gloo/barrier_all_to_all.h>
#include <gloo/broadcast_one_to_all.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/ibverbs/device.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Values = std::vector<std::int64_t>;

constexpr std::size_t kCounts[] = {1, 100, 10000, 300000};
constexpr int kRounds = 5;

template <typename T, typename... Arguments>
T& keep(Arguments&&... arguments) {
    return *std::make_unique<T>(std::forward<Arguments>(arguments)...).release();
}

void expect(bool right, const std::string& what, std::size_t index) {
    if (!right) {
        throw std::runtime_error(what + ": value " + std::to_string(index) + " is wrong");
    }
}

// What `rank` gives as value `index` of a round.
std::int64_t given(int rank, int round, std::size_t index) {
    return (std::int64_t{rank} + 1) * (static_cast<std::int64_t>(index) + 1000 * round);
}

template <typename Algorithm>
void allreduce(const std::shared_ptr<gloo::Context>& context, const std::string& name) {
    for (const std::size_t count : kCounts) {
        auto& values = keep<Values>(count);
        auto& algorithm =
            keep<Algorithm>(context, std::vector{values.data()}, static_cast<int>(count));
        for (int round = 0; round < kRounds; ++round) {
            for (std::size_t i = 0; i < count; ++i) {
                values[i] = given(context->rank, round, i);
            }
            algorithm.run();
            for (std::size_t i = 0; i < count; ++i) {
                std::int64_t sum = 0;
                for (int rank = 0; rank < context->size; ++rank) {
                    sum += given(rank, round, i);
                }
                expect(values[i] == sum, name + " of " + std::to_string(count), i);
            }
        }
    }
}

void broadcast(const std::shared_ptr<gloo::Context>& context) {
    for (int root = 0; root < context->size; ++root) {
        for (const std::size_t count : kCounts) {
            auto& values = keep<Values>(count);
            for (std::size_t i = 0; i < count; ++i) {
                values[i] = given(context->rank, root, i);
            }
            auto& algorithm = keep<gloo::BroadcastOneToAll<std::int64_t>>(
                context, std::vector{values.data()}, static_cast<int>(count), root);
            algorithm.run();
            for (std::size_t i = 0; i < count; ++i) {
                expect(values[i] == given(root, root, i), "broadcast of " + std::to_string(count),
                       i);
            }
        }
    }
}

void barriers(const std::shared_ptr<gloo::Context>& context) {
    auto& barrier = keep<gloo::BarrierAllToAll>(context);
    for (int round = 0; round < 100; ++round) {
        barrier.run();
    }
}

void run(int rank, int ranks, const std::string& directory) {
    auto& device = keep<std::shared_ptr<gloo::transport::Device>>(
        gloo::transport::ibverbs::CreateDevice({.name = "vrdma0", .port = 1, .index = 3}));
    gloo::rendezvous::FileStore store(directory);
    auto& context = keep<std::shared_ptr<gloo::rendezvous::Context>>(
        std::make_shared<gloo::rendezvous::Context>(rank, ranks));
    context->setTimeout(std::chrono::seconds(30));
    context->connectFullMesh(store, device);
    allreduce<gloo::AllreduceRingChunked<std::int64_t>>(context, "ring allreduce");
    allreduce<gloo::AllreduceHalvingDoubling<std::int64_t>>(context, "halving allreduce");
    broadcast(context);
    barriers(context);
    std::cout << "rank " << rank << " of " << ranks << ": every value right" << std::endl;
    std::vector<std::string> done;
    for (int other = 0; other < ranks; ++other) {
        done.push_back("done" + std::to_string(other));
    }
    store.set(done[static_cast<std::size_t>(rank)], {'1'});
    store.wait(done, std::chrono::seconds(30));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: vrdma-gloo-verify RANK RANKS DIRECTORY\n";
        return 2;
    }
    try {
        run(std::atoi(argv[1]), std::atoi(argv[2]), argv[3]);
    } catch (const std::exception& error) {
        std::cerr << "rank " << argv[1] << ": " << error.what() << '\n';
        return 1;
    }
    return 0;
}
