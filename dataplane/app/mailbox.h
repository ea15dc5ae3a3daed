// How threads that nobody waits for bring their results to the control thread.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace vrdma::app {

class Mailbox {
  public:
    explicit Mailbox(boost::asio::io_context& io) : io_(&io) {}

    // Any thread. Nothing happens once the mailbox is closed.
    template <class Function>
    void post(Function function) {
        const std::scoped_lock lock(mutex_);
        if (io_ != nullptr) {
            boost::asio::post(*io_, std::move(function));
        }
    }
    // Control thread, before the io_context goes.
    void close() {
        const std::scoped_lock lock(mutex_);
        io_ = nullptr;
    }

  private:
    std::mutex mutex_;
    boost::asio::io_context* io_;
};

}  // namespace vrdma::app
