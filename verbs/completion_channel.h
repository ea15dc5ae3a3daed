// Completion channels: the descriptor a program sleeps on, and the socket the device writes to.
//
// Threading: every function takes the context's event lock itself, except where it says so.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "verbs/event_pipe.h"

namespace vrdma::verbs {

struct Context;
struct Cq;

struct CompletionChannel {
    EventPipe pipe;  // our copy of the end the device writes to
    int program_fd = -1;
    std::uint32_t handle = 0;
    std::uint64_t token = 0;
    // Under the event lock.
    std::uint32_t cqs = 0;
    bool closed = false;  // by the program; lives until its last CQ is gone
};

class CompletionChannels {
  public:
    explicit CompletionChannels(Context& context);

    // A new channel. Returns the program's descriptor, which the program owns; -1 and errno.
    [[nodiscard]] int create();

    // The channel behind ibv_comp_channel.fd, with one more CQ; nullptr when it is none of ours.
    [[nodiscard]] CompletionChannel* attach(int program_fd);
    // Takes one CQ away, and the events of `cq` that the program has not read. Returns how many.
    [[nodiscard]] std::uint32_t detach(CompletionChannel& channel, const ibv_cq* cq);

    // Puts an event of ours into the channel of cq. Under the event lock.
    void wake(Cq& cq);
    // The watcher: something happened at the channel with this token.
    void pipe_ready(std::uint64_t token, std::uint32_t epoll_events);

  private:
    // Under the event lock: marks it closed, and takes it out of the list if no CQ uses it.
    [[nodiscard]] std::unique_ptr<CompletionChannel> close(CompletionChannel& channel);
    void release(std::unique_ptr<CompletionChannel> channel);

    Context& context_;
    std::uint64_t next_token_;
    std::vector<std::unique_ptr<CompletionChannel>> channels_;
};

// The hook behind ibv_create_comp_channel.
[[nodiscard]] int create_channel(ibv_context* context);

}  // namespace vrdma::verbs
