// An opened device: what all objects of one ibv_context share.
//
// Locks, outermost first. A thread that holds one takes only later ones:
//   qp_mutex      creating, modifying and destroying queue pairs
//   Cq::lock      polling (spin)
//   qp_list_lock  the list of queue pairs (spin)
//   SendQueue::lock, ReceiveQueue::lock, Srq::lock   posting (spin)
//   event_mutex   events and completion channels
// Commands are sent with none of the spin locks and not with event_mutex held, but for RESIZE_CQ
// and QUERY_CLOCK (clock.h), which may come under Cq::lock.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <tl/expected.hpp>

#include "driver/channel/queue_memory.h"
#include "driver/channel/socket_channel.h"
#include "verbs/async_events.h"
#include "verbs/completion_channel.h"
#include "verbs/libibverbs_abi/registration.h"
#include "verbs/qp_table.h"
#include "verbs/region_cache.h"
#include "verbs/spin_lock.h"
#include "verbs/watcher.h"

namespace vrdma::verbs {

struct Qp;

struct Context {
    explicit Context(std::unique_ptr<driver::Channel> opened)
        : channel(std::move(opened)),
          doorbell(channel->doorbell()),
          queues(*channel),
          regions(*channel),
          events(*this),
          channels(*this) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    [[nodiscard]] static Context& of(ibv_context* context) {
        return *verbs_abi::owner_of<Context>(context);
    }
    [[nodiscard]] const vrdma_device_limits& limits() const { return channel->info().limits; }

    // The device is gone: completions are made up from here on (dead_device.h).
    [[nodiscard]] bool dead() const { return dead_flag.load(std::memory_order_acquire); }
    void device_lost();

    ibv_context* ibv = nullptr;
    std::unique_ptr<driver::Channel> channel;
    driver::Doorbell doorbell;
    std::atomic<bool> dead_flag = false;
    std::atomic<bool> closing = false;  // by us: a hang-up is no loss
    // We are the child of a fork: the device belongs to the parent. Nothing is sent or freed.
    std::atomic<bool> abandoned = false;

    driver::QueueMemory queues;
    RegionCache regions;

    std::mutex qp_mutex;
    QpTable qp_table;
    SpinLock qp_list_lock;
    Qp* qp_list = nullptr;

    std::mutex event_mutex;
    AsyncEvents events;
    CompletionChannels channels;
    Watcher watcher;

    Context* next_open = nullptr;  // in the list of open contexts
};

// The path of the service's socket and the node GUID in network order, as the device's tree tells;
// empty and 0 when it does not.
[[nodiscard]] std::string device_socket_path(const ibv_device& device);
[[nodiscard]] std::uint64_t device_guid(const ibv_device& device);

// What libibverbs calls (verbs_abi::ProviderHooks and Op::free_context).
[[nodiscard]] verbs_abi::VerbsContext* alloc_context(ibv_device* device, int cmd_fd,
                                                     void* private_data);
void free_context(ibv_context* context);

// Logs why a verb fails and returns its errno, also in errno: what a verb hands back. A command
// that failed because the device is gone makes that known.
int fail(Context& context, const char* verb, const driver::CommandError& error);
int fail(const char* verb, int error, const char* reason);

// When the program ends: tells the devices that are still open.
void say_goodbye_to_all();

}  // namespace vrdma::verbs
