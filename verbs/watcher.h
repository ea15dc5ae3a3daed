// The provider's one thread of a context: it waits for what a program does not call us for.
//
// Threading: start and stop from the thread that opens and closes the context; watch, change and
// forget from any thread.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <tl/expected.hpp>

#include "driver/channel/unique_fd.h"

namespace vrdma::verbs {

struct Context;

class Watcher {
  public:
    // What a descriptor means. Completion channels have the tokens from kFirstChannel on.
    static constexpr std::uint64_t kStop = 0;
    static constexpr std::uint64_t kDevice = 1;     // the device's event socket
    static constexpr std::uint64_t kAsyncPipe = 2;  // the program's async fd has room again
    static constexpr std::uint64_t kFirstChannel = 16;

    // Starts the thread. The error is an errno.
    [[nodiscard]] tl::expected<void, int> start(Context& context);
    // Ends it. Not from the thread itself.
    void stop();

    // epoll events; 0 still reports a hang-up.
    [[nodiscard]] bool watch(int fd, std::uint32_t events, std::uint64_t token);
    void change(int fd, std::uint32_t events, std::uint64_t token);
    void forget(int fd);

  private:
    static void* run(void* self);
    void loop();

    Context* context_ = nullptr;
    driver::UniqueFd epoll_;
    driver::UniqueFd stop_;
    pthread_t thread_{};
    bool running_ = false;
};

}  // namespace vrdma::verbs
