// Two queue pairs of this process, connected to each other, and the memory they use.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "check.h"
#include "tools/verbs_util/device.h"

namespace vrdma::extended {

inline constexpr std::size_t kBytes = 65536;

struct Options {
    verbs_util::DeviceOptions device{};
};

// The device, a protection domain, and memory of this program in it.
class Host {
  public:
    explicit Host(const Options& options);
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    [[nodiscard]] ibv_context* context() const { return device_->context(); }
    [[nodiscard]] const verbs_util::Device& device() const { return *device_; }
    [[nodiscard]] char* memory() { return memory_.data(); }
    [[nodiscard]] std::uint64_t address(std::size_t offset = 0) const {
        return reinterpret_cast<std::uintptr_t>(memory_.data()) + offset;
    }
    [[nodiscard]] ibv_sge sge(std::size_t offset, std::uint32_t length) const {
        return {.addr = address(offset), .length = length, .lkey = mr->lkey};
    }
    // Bytes that depend on place and seed.
    void fill(std::size_t offset, std::size_t length, unsigned seed);
    [[nodiscard]] bool same(std::size_t one, std::size_t other, std::size_t length) const;

    ibv_pd* pd = nullptr;
    ibv_mr* mr = nullptr;

  private:
    std::shared_ptr<verbs_util::Device> device_;
    alignas(4096) std::array<char, kBytes> memory_{};
};

inline constexpr std::uint64_t kAllOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_SEND |
    IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
    IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_BIND_MW |
    IBV_QP_EX_WITH_SEND_WITH_INV;

struct PairOptions {
    ibv_pd* pd = nullptr;  // nullptr: the host's
    ibv_cq* cq = nullptr;  // of both; nullptr: each gets one of its own
    ibv_qp_type type = IBV_QPT_RC;
    std::uint64_t operations = kAllOperations;
    bool connected = true;
};

class Pair {
  public:
    explicit Pair(Host& host) : Pair(host, PairOptions{}) {}
    Pair(Host& host, const PairOptions& options);
    ~Pair();
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;

    // The next completion of a queue pair of this pair without a CQ of the caller's.
    [[nodiscard]] ibv_wc next(ibv_qp* of);
    void expect(ibv_qp* of, std::uint64_t wr_id, ibv_wc_status status = IBV_WC_SUCCESS,
                const std::source_location& where = std::source_location::current());
    // A signaled request of left; what ibv_post_send says.
    int post(ibv_send_wr wr);
    void receive(ibv_qp* of, std::uint64_t wr_id, std::size_t offset, std::uint32_t length);

    ibv_qp* left = nullptr;
    ibv_qp* right = nullptr;
    ibv_qp_ex* left_ex = nullptr;
    ibv_qp_ex* right_ex = nullptr;

  private:
    [[nodiscard]] ibv_qp* create(const PairOptions& options);
    void connect(ibv_qp* qp, ibv_qp* peer) const;

    Host& host_;
    bool own_cqs_ = false;
};

[[nodiscard]] ibv_send_wr request(std::uint64_t wr_id, ibv_wr_opcode opcode,
                                  ibv_sge* sge = nullptr);

// The program's scenarios.
void polling(Host& host);
void windows(Host& host);
void domains(Host& host);
void groups(Host& host);
void arguments(Host& host);

}  // namespace vrdma::extended
