// rdma_cm without a kernel: answers what librdmacm writes to /dev/infiniband/rdma_cm.
//
// Threading: the four calls on any thread. In a child after fork the channels are the parent's, and
// commands fail with EIO.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "verbs/cm_address.h"
#include "verbs/cm_channel.h"
#include "verbs/cm_service.h"
#include "verbs/libibverbs_abi/rdmacm_hook.h"

namespace vrdma::verbs {

extern const verbs_abi::RdmacmCalls kRdmacmCalls;

class Cm {
  public:
    static Cm& instance();

    [[nodiscard]] int open_channel();
    [[nodiscard]] bool is_channel(int fd) const;
    [[nodiscard]] ssize_t command(int fd, const void* data, std::size_t size);
    void close_channel(int fd);

  private:
    using Lock = std::unique_lock<std::mutex>;
    using Id = std::shared_ptr<CmId>;
    struct Call;  // one command

    Cm() = default;

    // cm_commands.cpp: each answers with an errno.
    [[nodiscard]] int dispatch(Lock& lock, const Call& call);
    [[nodiscard]] int create_id(const Call& call);
    [[nodiscard]] int destroy_id(Lock& lock, const Call& call);
    [[nodiscard]] int bind(Lock& lock, const Call& call);
    [[nodiscard]] int bind_to(Lock& lock, const Id& id, const CmAddress& address);
    [[nodiscard]] int resolve(Lock& lock, const Call& call);
    // The vNIC from which the destination can be reached; nullptr: none. `found`: what it, or the
    // last that was asked, answered.
    [[nodiscard]] CmService* towards(Lock& lock, const Id& id, CmAddress& destination,
                                     vrdma_cm_message& found);
    [[nodiscard]] int resolve_route(const Call& call);
    [[nodiscard]] int connect(Lock& lock, const Call& call);
    [[nodiscard]] int listen(Lock& lock, const Call& call);
    [[nodiscard]] int accept(const Call& call);
    [[nodiscard]] int reject(const Call& call);
    [[nodiscard]] int disconnect(const Call& call);
    [[nodiscard]] int get_event(Lock& lock, const Call& call);
    [[nodiscard]] int set_option(const Call& call);
    [[nodiscard]] int migrate(const Call& call);

    // cm_multicast.cpp
    struct Join {
        std::uint64_t response;
        std::uint64_t uid;
        std::uint32_t id;
        std::uint16_t flags;
        const void* address;
    };
    [[nodiscard]] int join(const Call& call, const Join& wanted);
    [[nodiscard]] int join_ip_multicast(const Call& call);
    [[nodiscard]] int join_multicast(const Call& call);
    [[nodiscard]] int leave_multicast(const Call& call);
    void forget_memberships(std::uint32_t id);

    // cm_answers.cpp
    [[nodiscard]] int query_route(const Call& call) const;
    [[nodiscard]] int init_qp_attr(const Call& call);

    // cm.cpp
    void connect_services();
    [[nodiscard]] bool start_thread();
    static void* run(void* self);
    void loop();
    void wake() const;
    void expire();
    void service_gone(CmService& service);
    [[nodiscard]] Id find(std::uint32_t handle) const;
    [[nodiscard]] Id new_id(std::shared_ptr<CmChannel> channel);
    void push(const Id& id, std::uint32_t event, int status,
              const vrdma_cm_message* message = nullptr, std::uint8_t private_bytes = 0,
              const Id& request = nullptr);
    // Ends an id whose program is done with it, and tells the other side.
    void end(Lock& lock, const Id& id);
    [[nodiscard]] CmService* at(const CmService::Address& address) const;
    [[nodiscard]] std::vector<CmService*> living() const;
    [[nodiscard]] int reserve(Lock& lock, const Id& id, const std::vector<CmService*>& services,
                              std::uint16_t port);
    void release(Lock& lock, const Id& id);

    // cm_notices.cpp
    void notice(CmService& service, const vrdma_cm_message& message);
    void requested(CmService& service, const vrdma_cm_message& message);
    void replied(const Id& id, const vrdma_cm_message& message);
    void rejected(const Id& id, const vrdma_cm_message& message);

    static constexpr std::size_t kMaxChannels = 4096;
    std::array<std::atomic<int>, kMaxChannels> channel_fds_{};  // fd + 1; 0: free
    std::atomic<std::size_t> channels_used_{0};
    std::atomic<pid_t> process_{0};

    mutable std::mutex mutex_;  // all below. Never held while a service is asked
    std::map<int, std::shared_ptr<CmChannel>> channels_;
    std::map<std::uint32_t, Id> ids_;
    std::map<std::uint32_t, std::shared_ptr<CmMembership>> memberships_;
    std::vector<std::pair<std::string, std::unique_ptr<CmService>>> services_;  // by socket
    std::uint32_t last_handle_ = 0;
    std::uint32_t last_membership_ = 0;
    int wake_fd_ = -1;
};

}  // namespace vrdma::verbs
