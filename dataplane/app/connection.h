// One attached driver: its socket, its context on a shard, and what it uses.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "dataplane/app/mailbox.h"
#include "dataplane/app/xrc_files.h"
#include "dataplane/platform/aside.h"
#include "dataplane/platform/owned_file.h"
#include "dataplane/platform/tenant_ports.h"
#include "dataplane/platform/worker.h"
#include "dataplane/tenant/quota.h"
#include "driver/abi/command.h"

namespace vrdma::app {

// The vNIC as its connections see it.
struct AttachedVnic {
    uint32_t index = 0;
    std::string name;
    Vnic device;
    bool process_memory = true;            // regions of kind PROCESS are accepted
    platform::OwnedFile userfault_device;  // for its tenants; not open: they get none
    Quota quota{ResourceCounts{}};
    XrcFiles xrc_files;
    platform::Aside aside;
    std::chrono::steady_clock::time_point quiet_until;  // of warnings that tenants can cause
};

// Calls on files of the vNIC's tenants that do not return; beyond, nobody new is let in.
inline constexpr uint32_t kMostWaitingCalls = 32;

class Connection : public std::enable_shared_from_this<Connection> {
  public:
    struct Environment {
        platform::Worker& worker;
        uint32_t worker_index;
        std::shared_ptr<AttachedVnic> vnic;
        platform::DeferredReclaimer& reclaimer;
        std::shared_ptr<Mailbox> mailbox;
        std::function<void(const std::shared_ptr<Connection>&)> gone;  // its end is complete
    };
    Connection(boost::asio::io_context& io, int socket, Environment environment);
    ~Connection();

    void start();
    // Ends it: DEVICE_FATAL to the tenant when `announce`, then everything it has is freed.
    void shut_down(bool announce);

    [[nodiscard]] int64_t process_id() const { return process_id_; }
    [[nodiscard]] const AttachedVnic& vnic() const { return *environment_.vnic; }
    [[nodiscard]] uint32_t worker_index() const { return environment_.worker_index; }
    [[nodiscard]] std::optional<uint32_t> context() const { return context_; }

  private:
    friend class CommandJob;
    friend class OpenJob;
    friend class TeardownJob;
    struct Received {
        std::vector<std::byte> message;
        std::vector<int> files;
    };
    // Quota that a command takes, until it fails, or frees, once it succeeds.
    struct Charge {
        enum class Kind : uint8_t { None, Takes, Frees } kind = Kind::None;
        ResourceCounts amounts;  // Takes
        Resource resource{};     // what the object is; together with its handle its name
        uint32_t handle = 0;     // Frees
    };

    void wait();
    void on_readable();
    [[nodiscard]] std::optional<Received> receive();
    void handle(Received received);
    void open(const vrdma_command_header& header, Received& received);
    void command(const vrdma_command_header& header, Received& received);
    // Why a command is refused.
    struct Refused {
        vrdma_status status;
        std::string reason;
    };
    [[nodiscard]] std::optional<Refused> attach(const vrdma_command_header& header,
                                                Received& received, Attachment& attachment);
    // OPEN_XRCD with a file. It stays open as long as the handle: so long no other file is its
    // inode.
    [[nodiscard]] std::optional<Refused> attach_xrc_file(Received& received,
                                                         Attachment& attachment);
    void settle_xrc_file(const vrdma_command_header& header, uint32_t named, bool succeeded,
                         uint32_t made);
    struct XrcFile;
    void forget_xrc_file(const XrcFile& file);
    [[nodiscard]] Charge charge_of(const vrdma_command_header& header,
                                   const std::vector<std::byte>& message) const;
    // What is used up, when the charge is more than there is; then nothing was taken.
    [[nodiscard]] std::optional<Resource> take(const Charge& charge);
    void settle(const Charge& charge, bool succeeded, uint32_t handle);
    void give_back(const ResourceCounts& amounts);
    // ADD_REGION of process memory: the file is looked at on a thread of its own.
    void check_process_memory(const vrdma_command_header& header, Received& received,
                              const Charge& charge);
    void process_memory_checked(uint32_t check, bool good, int file);
    [[nodiscard]] uint64_t features() const;  // on offer
    void warn(std::string_view what);
    void respond(const vrdma_command_header& header, vrdma_status status, std::string_view reason,
                 std::span<const std::byte> body, std::span<const int> files = {});
    void submit(std::unique_ptr<platform::Job> job);
    // After a job: on to the next message, or to the end.
    void resume();
    void end();
    void tear_down();
    [[nodiscard]] vrdma_rsp_open open_response(const vrdma_cmd_open& request) const;

    boost::asio::posix::stream_descriptor socket_;
    Environment environment_;
    int64_t process_id_ = 0;
    std::optional<uint32_t> context_;
    std::byte* doorbell_ = nullptr;
    int kick_file_ = -1;
    int event_file_ = -1;  // owned by the shard once the context is open
    bool busy_ = false;    // a job of this connection is on the worker
    // A command whose file is being looked at; meanwhile only a hang-up is noticed.
    struct Check {
        uint32_t number;
        vrdma_command_header header;
        std::vector<std::byte> message;
        Charge charge;
    };
    std::optional<Check> check_;
    uint32_t checks_ = 0;
    bool ending_ = false;
    ResourceCounts used_;
    // Files of XRC domains: of the handle that is being made, and by handle.
    struct XrcFile {
        platform::FileIdentity identity;
        int file;
    };
    std::optional<XrcFile> new_xrc_file_;
    std::unordered_map<uint32_t, XrcFile> xrc_files_;
    // What an object was charged, where that is not one of its kind. By kind and handle.
    std::unordered_map<uint64_t, ResourceCounts> charged_;
    std::vector<std::byte> buffer_;
};

}  // namespace vrdma::app
