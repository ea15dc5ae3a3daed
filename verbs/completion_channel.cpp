// ibv_create_comp_channel() has no provider operation; the hook in libibverbs_abi turns it into a
// call here. A channel is a socket pair: the program has one end, the device the other, so an event
// goes from the device to the sleeping program without us in between. We keep a copy of the
// device's end for two purposes: to put back events that were taken out in front of a destroyed
// CQ's, and to wake the program when the device is gone.
//
// ibv_destroy_comp_channel() has no operation either, it just closes the descriptor. So a channel
// dies when our end reports a hang-up, or when the same descriptor number turns up again.
#include "verbs/completion_channel.h"

#include <rdma/ib_user_verbs.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/log.h"

namespace vrdma::verbs {

CompletionChannels::CompletionChannels(Context& context)
    : context_(context), next_token_(Watcher::kFirstChannel) {}

int CompletionChannels::create() {
    auto channel = std::make_unique<CompletionChannel>();
    auto program_end = channel->pipe.open(sizeof(ib_uverbs_comp_event_desc));
    if (!program_end) {
        errno = program_end.error();
        return -1;
    }
    const int device_end = channel->pipe.fd();
    const auto created = driver::query_command<vrdma_handle>(
        *context_.channel, VRDMA_CMD_CREATE_CHANNEL, std::span(&device_end, 1));
    if (!created) {
        fail(context_, "create_comp_channel", created.error());
        return -1;
    }
    channel->handle = created->handle;
    channel->program_fd = program_end->get();
    std::unique_ptr<CompletionChannel> predecessor;
    {
        const std::lock_guard lock(context_.event_mutex);
        const auto same = std::find_if(channels_.begin(), channels_.end(), [&](const auto& other) {
            return other->program_fd == channel->program_fd;
        });
        if (same != channels_.end()) {
            predecessor = close(**same);
        }
        channel->token = next_token_++;
        if (!context_.watcher.watch(device_end, 0, channel->token)) {
            log(LogLevel::error, "verb=create_comp_channel reason=\"epoll: errno %d\"", errno);
        }
        channels_.push_back(std::move(channel));
    }
    release(std::move(predecessor));
    return program_end->release();
}

CompletionChannel* CompletionChannels::attach(int program_fd) {
    const std::lock_guard lock(context_.event_mutex);
    for (const auto& channel : channels_) {
        if (channel->program_fd == program_fd) {
            ++channel->cqs;
            return channel.get();
        }
    }
    return nullptr;
}

std::uint32_t CompletionChannels::detach(CompletionChannel& channel, const ibv_cq* cq) {
    const auto cookie = reinterpret_cast<std::uintptr_t>(cq);
    const auto is_of_cq = [cookie](std::span<const std::byte> bytes) {
        ib_uverbs_comp_event_desc event;
        std::memcpy(&event, bytes.data(), sizeof event);
        return event.cq_handle == cookie;
    };
    std::uint32_t taken = 0;
    std::unique_ptr<CompletionChannel> last_use;
    {
        const std::lock_guard lock(context_.event_mutex);
        --channel.cqs;
        taken = channel.pipe.take_back(channel.program_fd, is_of_cq);
        if (channel.pipe.has_pending()) {
            context_.watcher.change(channel.pipe.fd(), EPOLLOUT, channel.token);
        }
        if (channel.closed) {
            last_use = close(channel);
        }
    }
    release(std::move(last_use));
    return taken;
}

void CompletionChannels::wake(Cq& cq) {
    if (cq.channel == nullptr) {
        return;
    }
    ib_uverbs_comp_event_desc event{};
    event.cq_handle = reinterpret_cast<std::uintptr_t>(&cq.base.cq);
    ++cq.events_of_ours;
    cq.channel->pipe.send(std::as_bytes(std::span(&event, 1)));
    if (cq.channel->pipe.has_pending()) {
        context_.watcher.change(cq.channel->pipe.fd(), EPOLLOUT, cq.channel->token);
    }
}

void CompletionChannels::pipe_ready(std::uint64_t token, std::uint32_t epoll_events) {
    std::unique_ptr<CompletionChannel> closed;
    {
        const std::lock_guard lock(context_.event_mutex);
        const auto found =
            std::find_if(channels_.begin(), channels_.end(),
                         [token](const auto& channel) { return channel->token == token; });
        if (found == channels_.end()) {
            return;
        }
        CompletionChannel& channel = **found;
        if ((epoll_events & (EPOLLHUP | EPOLLERR)) != 0) {
            closed = close(channel);
        } else {
            channel.pipe.flush();
            if (!channel.pipe.has_pending()) {
                context_.watcher.change(channel.pipe.fd(), 0, token);
            }
        }
    }
    release(std::move(closed));
}

std::unique_ptr<CompletionChannel> CompletionChannels::close(CompletionChannel& channel) {
    context_.watcher.forget(channel.pipe.fd());
    channel.closed = true;
    channel.program_fd = -1;  // the number may be anybody's now
    if (channel.cqs != 0) {
        return nullptr;
    }
    const auto found = std::find_if(channels_.begin(), channels_.end(),
                                    [&](const auto& other) { return other.get() == &channel; });
    auto taken = std::move(*found);
    channels_.erase(found);
    return taken;
}

void CompletionChannels::release(std::unique_ptr<CompletionChannel> channel) {
    if (channel == nullptr) {
        return;
    }
    const vrdma_handle handle{.handle = channel->handle, .reserved = 0};
    const auto destroyed =
        driver::run_command(*context_.channel, VRDMA_CMD_DESTROY_CHANNEL, handle);
    if (!destroyed && !context_.channel->dead()) {
        log(LogLevel::error, "verb=destroy_comp_channel reason=\"%s\"", destroyed.error().reason);
    }
}

int create_channel(ibv_context* context) {
    Context& owner = Context::of(context);
    if (owner.abandoned) {
        errno = EIO;
        return -1;
    }
    return owner.channels.create();
}

}  // namespace vrdma::verbs
