// Datagram queue pairs of this program, and what is sent to a multicast group through them.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/verbs_util/device.h"

namespace vrdma::group_verify {

inline constexpr std::uint32_t kQkey = 0x01234567;  // what rdma_cm gives to groups
inline constexpr std::uint32_t kGrhBytes = 40;
inline constexpr std::uint32_t kMaxBytes = 4096;
inline constexpr std::uint32_t kMaxMessages = 1024;

struct Options {
    verbs_util::DeviceOptions device;
    std::string group = "239.1.2.3";
    std::uint32_t messages = 100;
    std::uint32_t bytes = 1000;
    std::uint32_t queue_pairs = 1;
    std::uint32_t gap_us = 500;  // between two messages of a sender
    std::uint32_t seconds = 20;  // for all of them to arrive
};

// Every failure ends the program with a sentence.
[[noreturn]] void give_up(const std::string& what);

class Member {
  public:
    explicit Member(const Options& options);
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    // Belongs to the group from now on, with every queue pair.
    void attach();
    void detach();
    // Waits until every queue pair has each message once and right; the sender's address.
    [[nodiscard]] std::string receive_all();
    // Nothing may arrive for so long.
    void hear_nothing();
    void send_all();

  private:
    struct Seen {
        std::vector<bool> messages;
        std::uint32_t count = 0;
    };

    void create_queue_pair();
    void post_receive(std::size_t queue_pair, std::uint32_t place);
    void check(const ibv_wc& wc);
    [[nodiscard]] std::uint8_t* place(std::size_t queue_pair, std::uint32_t message);

    const Options& options_;
    ibv_gid group_{};
    std::shared_ptr<verbs_util::Device> device_;
    ibv_pd* pd_ = nullptr;
    ibv_cq* cq_ = nullptr;
    ibv_mr* mr_ = nullptr;
    std::vector<std::uint8_t> memory_;
    std::vector<ibv_qp*> queue_pairs_;
    std::vector<Seen> seen_;
    std::string sender_;
};

}  // namespace vrdma::group_verify
