// vrdma-lost-device: a program that sits in every blocking call of libibverbs when its device is
// lost, and then ends properly.
//
// One thread waits for asynchronous events, one for completion events; the main thread posts
// receives and waits. Expected once the device is gone: IBV_EVENT_DEVICE_FATAL, a completion event,
// an error completion for every receive that was posted, calls that go on returning, and every
// object destroyed with success. What it saw is one line of JSON on standard output. An alarm ends
// it should any call not return.
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "tests/faults/loop.h"

namespace {

constexpr unsigned kAlarmSeconds = 30;
constexpr std::uint32_t kReceives = 32;

}  // namespace

int main() {
    using vrdma::faults::Loop;
    Loop loop;
    if (!loop.open(true)) {
        return 1;
    }
    for (std::uint32_t i = 0; i < kReceives; ++i) {
        if (!loop.post_receive(i)) {
            return 1;
        }
    }
    if (ibv_req_notify_cq(loop.cq(), 0) != 0) {
        return 1;
    }
    std::atomic<int> event{-1};
    std::atomic<bool> completion_event{false};
    std::thread asynchronous([&] {
        ibv_async_event got{};
        while (event != IBV_EVENT_DEVICE_FATAL && ibv_get_async_event(loop.context(), &got) == 0) {
            event = got.event_type;
            ibv_ack_async_event(&got);
        }
    });
    std::thread completions([&] {
        ibv_cq* cq = nullptr;
        void* cq_context = nullptr;
        if (ibv_get_cq_event(loop.channel(), &cq, &cq_context) == 0) {
            completion_event = true;
            ibv_ack_cq_events(cq, 1);
        }
    });
    std::printf("waiting\n");
    std::fflush(stdout);
    alarm(kAlarmSeconds);
    asynchronous.join();
    alarm(kAlarmSeconds);
    completions.join();
    std::uint32_t flushed = 0;
    std::uint32_t other = 0;
    ibv_wc wc{};
    while (flushed + other < kReceives) {
        const int found = ibv_poll_cq(loop.cq(), 1, &wc);
        if (found > 0) {
            ++(wc.status == IBV_WC_SUCCESS ? other : flushed);
        }
    }
    // What is posted now completes, too, or is refused.
    ibv_device_attr attributes{};
    const bool posted = loop.post_receive(kReceives);
    while (posted && ibv_poll_cq(loop.cq(), 1, &wc) == 0) {
    }
    const int query = ibv_query_device(loop.context(), &attributes);
    ibv_pd* pd = ibv_alloc_pd(loop.context());
    const bool closed = loop.close();
    std::printf(
        "{\"device_fatal\": %s, \"completion_event\": %s, \"flushed\": %u, \"other\": %u, "
        "\"query_device\": %d, \"new_pd\": %s, \"closed\": %s}\n",
        event == IBV_EVENT_DEVICE_FATAL ? "true" : "false", completion_event ? "true" : "false",
        flushed, other, query, pd == nullptr ? "false" : "true", closed ? "true" : "false");
    return event == IBV_EVENT_DEVICE_FATAL && flushed == kReceives && pd == nullptr && closed ? 0
                                                                                              : 1;
}
