// A tenant that knows how to behave: it opens a device and makes working objects. Victims use it
// as it is, attacks start from it and then break something.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "driver/abi/cqe.h"
#include "driver/abi/queue.h"
#include "driver/abi/wqe.h"
#include "driver/channel/doorbell.h"
#include "tests/hostile/raw_device.h"

namespace vrdma::hostile {

// A memfd and our mapping of it.
class Memory {
  public:
    Memory() = default;
    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&& other) noexcept;
    ~Memory();
    [[nodiscard]] static Memory create(size_t bytes, bool sealed = true, unsigned flags = 0);

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }
    [[nodiscard]] uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }
    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] int file() const { return file_.get(); }
    [[nodiscard]] bool valid() const { return data_ != nullptr; }

  private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
    UniqueFd file_;
};

struct CompletionQueue {
    uint32_t handle = VRDMA_NO_HANDLE;
    uint32_t entries = 0;
    uint32_t next = 0;
    vrdma_cq_header* header = nullptr;
    vrdma_cqe* ring = nullptr;

    // The next completion, if there is one.
    [[nodiscard]] const vrdma_cqe* poll();
};

struct QueuePair {
    uint32_t handle = VRDMA_NO_HANDLE;
    uint32_t qpn = 0;
    uint32_t doorbell = 0;
    uint32_t entries = 0;
    uint32_t sends = 0;
    uint32_t receives = 0;
    uint32_t send_stride = 0;
    uint32_t receive_stride = 0;
    vrdma_qp_header* header = nullptr;
    std::byte* send_ring = nullptr;
    std::byte* receive_ring = nullptr;
};

struct MemoryRegion {
    uint32_t handle = VRDMA_NO_HANDLE;
    uint32_t key = 0;
};

class Tenant {
  public:
    static constexpr uint32_t kAllAccess = VRDMA_ACCESS_MASK;

    // Connects, opens, makes a protection domain and `queue_bytes` of memory for queues.
    [[nodiscard]] bool open(const std::string& path, size_t queue_bytes = size_t{1} << 20);

    [[nodiscard]] uint32_t add_region(const Memory& memory);
    [[nodiscard]] MemoryRegion register_memory(uint32_t region, uint64_t iova, uint64_t length,
                                               uint32_t access = kAllAccess);
    [[nodiscard]] CompletionQueue create_cq(uint32_t entries, uint32_t channel = VRDMA_NO_HANDLE);
    [[nodiscard]] QueuePair create_qp(uint32_t type, uint32_t send_cq, uint32_t recv_cq,
                                      uint32_t entries, uint32_t srq = VRDMA_NO_HANDLE);
    // RESET to RTS. For UD `gid` and `qpn` do not matter.
    [[nodiscard]] bool connect(const QueuePair& qp, uint32_t type, const vrdma_gid_entry& gid,
                               uint32_t qpn);
    bool modify(const QueuePair& qp, uint32_t state);

    // One entry into the ring, then its doorbell.
    void post_send(QueuePair& qp, const vrdma_send_wqe& wqe);
    void post_receive(QueuePair& qp, uint64_t wr_id, const vrdma_sge* sge);

    // Where the next queue goes; blocks follow each other.
    [[nodiscard]] vrdma_queue_memory take_queue_memory(size_t bytes, std::byte*& where);

    RawDevice device;
    Memory doorbell_memory;
    UniqueFd kick;
    UniqueFd events;
    vrdma_rsp_open info{};
    driver::Doorbell doorbell;
    Memory queues;
    uint32_t queue_region = VRDMA_NO_HANDLE;
    size_t queue_bytes_used = 0;
    uint32_t pd = VRDMA_NO_HANDLE;
    std::string why;  // the last refusal
};

inline uint32_t load(uint32_t& word) {
    return std::atomic_ref(word).load(std::memory_order_acquire);
}
inline void store(uint32_t& word, uint32_t value) {
    std::atomic_ref(word).store(value, std::memory_order_release);
}

}  // namespace vrdma::hostile
