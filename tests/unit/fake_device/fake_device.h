// A device that answers commands from a thread and lets a test play the data path.
//
// It checks what a driver sends and remembers the first thing that is against the contract
// (complaint()); a test asserts at its end that there was none. Queues can be looked into and
// completions written from the test's thread, which plays the device's side of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "driver/abi/command.h"
#include "driver/abi/cqe.h"
#include "driver/abi/doorbell.h"
#include "driver/abi/queue.h"
#include "driver/abi/status.h"
#include "driver/abi/wqe.h"
#include "driver/channel/unique_fd.h"

namespace vrdma::testing {

class FakeDevice {
  public:
    struct Command {
        std::uint16_t opcode = 0;
        std::vector<std::byte> body;
        std::size_t fds = 0;

        template <typename T>
        [[nodiscard]] T as() const {
            T value{};
            if (!body.empty()) {
                std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
            }
            return value;
        }
        // What follows the fixed struct.
        template <typename Head, typename T>
        [[nodiscard]] std::vector<T> rest() const {
            std::vector<T> values((body.size() - sizeof(Head)) / sizeof(T));
            if (!values.empty()) {
                std::memcpy(values.data(), body.data() + sizeof(Head), values.size() * sizeof(T));
            }
            return values;
        }
    };

    // How the next answer is spoiled.
    enum class Corruption {
        none,
        wrong_tag,
        wrong_opcode,
        wrong_length,
        extra_bytes,
        no_event_socket,
        no_userfault_device
    };

    FakeDevice();
    ~FakeDevice();
    FakeDevice(const FakeDevice&) = delete;
    FakeDevice& operator=(const FakeDevice&) = delete;

    [[nodiscard]] const std::string& directory() const { return directory_; }
    [[nodiscard]] const std::string& socket_path() const { return socket_path_; }

    // Before OPEN: what it answers.
    vrdma_rsp_open info{};
    std::uint64_t features = VRDMA_FEATURE_PROCESS_MEMORY | VRDMA_FEATURE_PEER_DEATH |
                             VRDMA_FEATURE_MEMORY_WINDOWS | VRDMA_FEATURE_TIMESTAMPS |
                             VRDMA_FEATURE_MULTICAST;
    std::atomic<std::uint64_t> clock = 1000;  // QUERY_CLOCK, and the time stamps of complete()
    int userfault_device = -1;  // handed over with VRDMA_FEATURE_USERFAULT; stays the caller's
    std::uint32_t port_state = 4;
    std::uint32_t port_mtu = 5;

    void refuse_next(vrdma_command_opcode opcode, vrdma_status status, const char* reason);
    void corrupt_next(Corruption corruption);
    // Closes every connection, as a service that dies.
    void hang_up();

    [[nodiscard]] std::string complaint();
    [[nodiscard]] std::vector<Command> commands(vrdma_command_opcode opcode);
    // The last command of that kind; fails the test when there was none.
    [[nodiscard]] Command last(vrdma_command_opcode opcode);
    [[nodiscard]] bool closed_orderly();
    [[nodiscard]] std::size_t object_count();
    // The cookies of the queue pairs, SRQs and CQs that exist, in an order to destroy them in.
    struct Live {
        std::vector<std::uint64_t> qps;
        std::vector<std::uint64_t> srqs;
        std::vector<std::uint64_t> cqs;
    };
    [[nodiscard]] Live live();

    // ---- the data path, played by the test
    [[nodiscard]] vrdma_doorbell& doorbell();
    [[nodiscard]] int kick_fd();
    [[nodiscard]] std::byte* memory(std::uint32_t region);

    [[nodiscard]] vrdma_qp_header& qp_header(std::uint32_t handle);
    [[nodiscard]] vrdma_send_wqe& send_wqe(std::uint32_t handle, std::uint32_t index);
    [[nodiscard]] vrdma_recv_wqe& recv_wqe(std::uint32_t handle, std::uint32_t index);
    [[nodiscard]] vrdma_cq_header& cq_header(std::uint32_t handle);
    [[nodiscard]] vrdma_srq_header& srq_header(std::uint32_t handle);
    [[nodiscard]] vrdma_recv_wqe& srq_wqe(std::uint32_t handle, std::uint32_t index);

    // Writes a completion (sequence is filled in) and sends the event the CQ is armed for.
    void complete(std::uint32_t cq, vrdma_cqe cqe, bool solicited = false);
    void send_event(std::uint32_t type, std::uint64_t cookie);

  private:
    struct Region {
        std::byte* data = nullptr;
        std::size_t length = 0;
        std::uint32_t users = 0;
        std::uint32_t flags = 0;
    };
    struct Cq {
        vrdma_cmd_create_cq create{};
        std::uint32_t producer = 0;
        std::uint32_t arm_seen = 0;
        std::uint32_t users = 0;
    };
    struct Srq {
        vrdma_cmd_create_srq create{};
        std::uint32_t limit = 0;
        std::uint32_t cq = VRDMA_NO_HANDLE;  // of an XRC SRQ
    };
    struct Qp {
        vrdma_cmd_create_qp create{};
        vrdma_qp_attributes attributes{};
        std::uint32_t doorbell = 0;
    };
    struct Answer {
        vrdma_status status = VRDMA_STATUS_OK;
        std::string reason;
        std::vector<std::byte> body;
        int fd = -1;

        static Answer ok(std::vector<std::byte> body, int fd = -1) {
            return {VRDMA_STATUS_OK, {}, std::move(body), fd};
        }
        static Answer no(vrdma_status status, const char* reason) {
            return {status, reason, {}, -1};
        }
    };
    struct Refusal {
        vrdma_status status;
        std::string reason;
    };

    void serve();
    [[nodiscard]] bool handle_message();
    [[nodiscard]] Answer execute(const Command& command, std::vector<driver::UniqueFd>& fds);
    [[nodiscard]] Answer open(const Command& command, std::vector<driver::UniqueFd>& fds);
    [[nodiscard]] Answer add_region(const Command& command, std::vector<driver::UniqueFd>& fds);
    [[nodiscard]] Answer reg_mr(const Command& command);
    [[nodiscard]] Answer create_cq(const Command& command);
    [[nodiscard]] Answer create_srq(const Command& command);
    [[nodiscard]] Answer create_xrc_srq(const Command& command);
    [[nodiscard]] Answer xrc_target(const Command& command);
    [[nodiscard]] Answer create_qp(const Command& command);
    [[nodiscard]] Answer modify_qp(const Command& command);
    [[nodiscard]] Answer destroy(const Command& command);
    void answer(const Command& command, std::uint64_t tag, const Answer& answer);
    void complain(const std::string& text);
    void check_queue(const vrdma_queue_memory& memory, std::size_t bytes);
    template <typename T>
    T* queue(const vrdma_queue_memory& memory, std::size_t offset = 0);
    void close_connection();

    std::string directory_;
    std::string socket_path_;
    driver::UniqueFd listener_;
    driver::UniqueFd stop_;
    std::thread thread_;

    std::mutex mutex_;
    driver::UniqueFd connection_;
    driver::UniqueFd events_;
    driver::UniqueFd kick_;
    vrdma_doorbell* doorbell_ = nullptr;
    std::string complaint_;
    std::vector<Command> commands_;
    std::map<std::uint16_t, Refusal> refusals_;
    Corruption corruption_ = Corruption::none;
    bool closed_orderly_ = false;
    bool opened_ = false;
    std::uint32_t next_handle_ = 1;
    std::uint32_t next_doorbell_ = 0;
    std::map<std::uint32_t, Region> regions_;
    std::map<std::uint32_t, std::uint32_t> pds_;
    std::map<std::uint32_t, std::vector<std::uint32_t>> mrs_;
    std::map<std::uint32_t, std::uint32_t> mws_;  // type of each
    std::map<std::uint32_t, driver::UniqueFd> channels_;
    std::map<std::uint32_t, Cq> cqs_;
    std::map<std::uint32_t, Srq> srqs_;
    std::map<std::uint32_t, std::uint32_t> xrcds_;  // objects through each
    std::map<std::uint32_t, Qp> qps_;
};

}  // namespace vrdma::testing
