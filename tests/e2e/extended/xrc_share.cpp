// vrdma-xrc-share: one XRC domain, named by a file, in two processes, and a third that sends.
//
// The maker makes the domain and a target queue pair, the guest opens both; each has an SRQ of its
// own in the domain. The sender's one initiator reaches either by the number of its SRQ, with SEND,
// WRITE, READ and atomics, every byte compared. Then the maker is killed, and the guest goes on;
// last, a key of the guest's other protection domain must be refused, and the guest must be told.
//
// The sender gives orders over a socket; an order is answered when it is carried out. Prints one
// line when all is well.
#include <fcntl.h>
#include <fmt/format.h>
#include <infiniband/verbs.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "check.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/tsc.h"

namespace vrdma::extended {
namespace {

constexpr std::uint32_t kMessages = 64;
constexpr std::uint32_t kMessageBytes = 3000;
constexpr std::size_t kBytes = std::size_t{kMessages} * kMessageBytes;
constexpr std::uint64_t kPatienceNs = 20'000'000'000;
constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                        IBV_ACCESS_REMOTE_ATOMIC;

// What the others must know of a receiver.
struct Facts {
    std::uint64_t address;
    std::uint32_t target;
    std::uint32_t srqn;
    std::uint32_t rkey;
    std::uint32_t other_rkey;  // of the same memory, in another protection domain
};

enum class What : std::uint32_t { connect, open, receive, die, expect_access_error };
struct Order {
    What what;
    std::uint32_t number;  // connect: the initiator's; open: the target's; receive: how many
    std::uint32_t seed;    // of the bytes
};

template <typename T>
void tell(int socket, const T& value) {
    require(::send(socket, &value, sizeof value, MSG_NOSIGNAL) == sizeof value, "send");
}

template <typename T>
T hear(int socket) {
    T value{};
    require(::recv(socket, &value, sizeof value, 0) == sizeof value, "the other process is gone");
    return value;
}

char pattern(std::uint32_t seed, std::size_t at) {
    return static_cast<char>(seed * 31 + at * 7 + (at >> 8));
}

// The device, one protection domain, one CQ and memory in it.
struct End {
    End() {
        auto opened = verbs_util::Device::open({});
        require(opened.has_value(), opened ? "" : opened.error().message());
        device = *opened;
        pd = made(ibv_alloc_pd(device->context()), "ibv_alloc_pd");
        cq = made(ibv_create_cq(device->context(), 2 * kMessages, nullptr, nullptr, 0),
                  "ibv_create_cq");
        mr = made(ibv_reg_mr(pd, memory.data(), memory.size(), kAccess), "ibv_reg_mr");
    }
    [[nodiscard]] std::uint64_t address(std::size_t at = 0) const {
        return reinterpret_cast<std::uintptr_t>(memory.data()) + at;
    }
    [[nodiscard]] ibv_xrcd* open_domain(int file, int oflags) const {
        ibv_xrcd_init_attr attr{};
        attr.comp_mask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS;
        attr.fd = file;
        attr.oflags = oflags;
        return ibv_open_xrcd(device->context(), &attr);
    }
    [[nodiscard]] ibv_wc next() const {
        const std::uint64_t deadline = verbs_util::monotonic_ns() + kPatienceNs;
        ibv_wc found{};
        while (ibv_poll_cq(cq, 1, &found) == 0) {
            require(verbs_util::monotonic_ns() < deadline, "no completion came");
        }
        return found;
    }
    void to_init(ibv_qp* qp) const {
        ibv_qp_attr attr{};
        attr.qp_state = IBV_QPS_INIT;
        attr.port_num = 1;
        attr.qp_access_flags =
            IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
        done(ibv_modify_qp(qp, &attr,
                           IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
             "modify to INIT");
    }
    // All vNICs here are the same one.
    void connect(ibv_qp* qp, std::uint32_t peer) const {
        const bool target = qp->qp_type == IBV_QPT_XRC_RECV;
        to_init(qp);
        ibv_qp_attr attr{};
        attr.qp_state = IBV_QPS_RTR;
        attr.path_mtu = IBV_MTU_1024;
        attr.dest_qp_num = peer;
        attr.max_dest_rd_atomic = 4;
        attr.min_rnr_timer = 1;
        attr.ah_attr.is_global = 1;
        attr.ah_attr.port_num = 1;
        attr.ah_attr.grh.dgid = device->gid();
        attr.ah_attr.grh.sgid_index = device->gid_index();
        attr.ah_attr.grh.hop_limit = 64;
        done(ibv_modify_qp(qp, &attr,
                           IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                               IBV_QP_RQ_PSN |
                               (target ? IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER : 0)),
             "modify to RTR");
        attr.qp_state = IBV_QPS_RTS;
        attr.timeout = 14;
        attr.retry_cnt = 7;
        attr.rnr_retry = 7;
        attr.max_rd_atomic = 4;
        done(ibv_modify_qp(
                 qp, &attr,
                 IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_SQ_PSN |
                     (target ? 0 : IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC)),
             "modify to RTS");
    }

    std::array<char, kBytes> memory{};
    std::shared_ptr<verbs_util::Device> device;
    ibv_pd* pd = nullptr;
    ibv_cq* cq = nullptr;
    ibv_mr* mr = nullptr;
};

// ---- the maker and the guest

class Receiver {
  public:
    Receiver(int socket, int file, bool maker) : socket_(socket) {
        if (!maker) {
            const auto order = hear<Order>(socket);
            require(order.what == What::open, "the first order of the guest");
            xrcd_ = made(end_->open_domain(file, 0), "ibv_open_xrcd of a domain that exists");
            refused(end_->open_domain(file, O_CREAT | O_EXCL), EINVAL, "O_EXCL of a domain");
            ibv_qp_open_attr open{};
            open.comp_mask = IBV_QP_OPEN_ATTR_NUM | IBV_QP_OPEN_ATTR_XRCD | IBV_QP_OPEN_ATTR_TYPE;
            open.qp_num = order.number;
            open.xrcd = xrcd_;
            open.qp_type = IBV_QPT_XRC_RECV;
            target_ = made(ibv_open_qp(end_->device->context(), &open), "ibv_open_qp");
        } else {
            refused(end_->open_domain(file, 0), EAGAIN, "a file without a domain");
            xrcd_ = made(end_->open_domain(file, O_CREAT | O_EXCL), "ibv_open_xrcd");
            ibv_qp_init_attr_ex attr{};
            attr.qp_type = IBV_QPT_XRC_RECV;
            attr.comp_mask = IBV_QP_INIT_ATTR_XRCD;
            attr.xrcd = xrcd_;
            target_ = made(ibv_create_qp_ex(end_->device->context(), &attr), "ibv_create_qp_ex");
        }
        ibv_srq_init_attr_ex attr{};
        attr.attr = {.max_wr = kMessages, .max_sge = 1, .srq_limit = 0};
        attr.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD | IBV_SRQ_INIT_ATTR_XRCD |
                         IBV_SRQ_INIT_ATTR_CQ;
        attr.srq_type = IBV_SRQT_XRC;
        attr.pd = end_->pd;
        attr.xrcd = xrcd_;
        attr.cq = end_->cq;
        srq_ = made(ibv_create_srq_ex(end_->device->context(), &attr), "ibv_create_srq_ex");
        other_pd_ = made(ibv_alloc_pd(end_->device->context()), "ibv_alloc_pd");
        other_mr_ = made(ibv_reg_mr(other_pd_, end_->memory.data(), kBytes, kAccess), "ibv_reg_mr");
        std::uint32_t srqn = 0;
        done(ibv_get_srq_num(srq_, &srqn), "ibv_get_srq_num");
        post_receives();
        tell(socket, Facts{.address = end_->address(),
                           .target = target_->qp_num,
                           .srqn = srqn,
                           .rkey = end_->mr->rkey,
                           .other_rkey = other_mr_->rkey});
    }

    void serve() {
        for (;;) {
            const auto order = hear<Order>(socket_);
            switch (order.what) {
                case What::connect:
                    end_->connect(target_, order.number);
                    break;
                case What::receive:
                    receive(order);
                    break;
                case What::die:
                    ::_exit(EXIT_SUCCESS);  // without a word to the service
                case What::expect_access_error:
                    expect_access_error();
                    close();
                    tell(socket_, order);
                    return;
                case What::open:
                    give_up("an order that comes first only", std::source_location::current());
            }
            tell(socket_, order);
        }
    }

  private:
    void post_receives() {
        for (std::uint32_t i = 0; i < kMessages; ++i) {
            ibv_sge part{.addr = end_->address(std::size_t{i} * kMessageBytes),
                         .length = kMessageBytes,
                         .lkey = end_->mr->lkey};
            ibv_recv_wr wr{};
            wr.wr_id = i;
            wr.sg_list = &part;
            wr.num_sge = 1;
            ibv_recv_wr* bad = nullptr;
            done(ibv_post_srq_recv(srq_, &wr, &bad), "ibv_post_srq_recv");
        }
    }
    void receive(const Order& order) {
        for (std::uint32_t i = 0; i < order.number; ++i) {
            const ibv_wc found = end_->next();
            require(found.status == IBV_WC_SUCCESS, verbs_util::describe_completion(found));
            require_equal(found.wr_id, i, "receives are used in order");
            require_equal(found.qp_num, target_->qp_num, "the number of the target");
            require_equal(found.byte_len, kMessageBytes, "byte_len");
            for (std::size_t at = 0; at < kMessageBytes; ++at) {
                require(end_->memory[i * std::size_t{kMessageBytes} + at] ==
                            pattern(order.seed + i, at),
                        "a byte is wrong");
            }
        }
        post_receives();
    }
    void expect_access_error() const {
        ibv_async_event event{};
        do {
            done(ibv_get_async_event(end_->device->context(), &event), "ibv_get_async_event");
            ibv_ack_async_event(&event);
        } while (event.event_type == IBV_EVENT_COMM_EST);
        require_equal(event.event_type, IBV_EVENT_QP_ACCESS_ERR, "the target's event");
        require(event.element.qp == target_, "the event names the target");
    }
    void close() {
        refused(ibv_close_xrcd(xrcd_), EBUSY, "ibv_close_xrcd with a target and an SRQ");
        done(ibv_destroy_qp(target_), "ibv_destroy_qp");
        refused(ibv_close_xrcd(xrcd_), EBUSY, "ibv_close_xrcd with an SRQ");
        refused(ibv_destroy_cq(end_->cq), EBUSY, "ibv_destroy_cq with an SRQ");
        done(ibv_destroy_srq(srq_), "ibv_destroy_srq");
        done(ibv_close_xrcd(xrcd_), "ibv_close_xrcd");
    }

    int socket_;
    std::unique_ptr<End> end_ = std::make_unique<End>();
    ibv_xrcd* xrcd_ = nullptr;
    ibv_qp* target_ = nullptr;
    ibv_srq* srq_ = nullptr;
    ibv_pd* other_pd_ = nullptr;
    ibv_mr* other_mr_ = nullptr;
};

struct Process {
    pid_t pid;
    int socket;
};

// Before this process opens a device.
Process start(int file, bool maker) {
    std::array<int, 2> pair{};
    require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) == 0,
            "socketpair");
    const pid_t pid = ::fork();
    require(pid >= 0, "fork");
    if (pid == 0) {
        ::close(pair[0]);
        Receiver(pair[1], file, maker).serve();
        ::_exit(EXIT_SUCCESS);
    }
    ::close(pair[1]);
    return {pid, pair[0]};
}

// ---- the sender

class Sender {
  public:
    explicit Sender(const Facts& maker, const Facts& guest) : facts_{maker, guest} {
        ibv_qp_init_attr_ex attr{};
        attr.qp_type = IBV_QPT_XRC_SEND;
        attr.send_cq = end_->cq;
        attr.cap.max_send_wr = 4;
        attr.cap.max_send_sge = 1;
        attr.comp_mask = IBV_QP_INIT_ATTR_PD;
        attr.pd = end_->pd;
        qp_ = made(ibv_create_qp_ex(end_->device->context(), &attr), "ibv_create_qp_ex");
    }
    [[nodiscard]] std::uint32_t number() const { return qp_->qp_num; }
    void connect() { end_->connect(qp_, facts_[0].target); }

    void send(std::size_t to, std::uint32_t seed) {
        for (std::size_t at = 0; at < kMessageBytes; ++at) {
            end_->memory[at] = pattern(seed, at);
        }
        run(to, IBV_WR_SEND, kMessageBytes, 0);
    }
    // What is written is read back elsewhere, and an atomic changes it.
    void rdma(std::size_t to) {
        for (std::size_t at = 0; at < kMessageBytes; ++at) {
            end_->memory[at] = pattern(99, at);
        }
        run(to, IBV_WR_RDMA_WRITE, kMessageBytes, facts_[to].rkey);
        std::memset(end_->memory.data(), 0, kMessageBytes);
        run(to, IBV_WR_RDMA_READ, kMessageBytes, facts_[to].rkey);
        for (std::size_t at = 0; at < kMessageBytes; ++at) {
            require(end_->memory[at] == pattern(99, at), "a byte read is wrong");
        }
        std::uint64_t before = 0;
        std::memcpy(&before, end_->memory.data(), sizeof before);
        run(to, IBV_WR_ATOMIC_FETCH_AND_ADD, 8, facts_[to].rkey);
        std::uint64_t fetched = 0;
        std::memcpy(&fetched, end_->memory.data(), sizeof fetched);
        require(fetched == before, "what the atomic found");
        run(to, IBV_WR_RDMA_READ, 8, facts_[to].rkey);
        std::memcpy(&fetched, end_->memory.data(), sizeof fetched);
        require(fetched == before + 1, "what the atomic left");
    }
    void write_with_a_key_of_another_domain(std::size_t to) {
        run(to, IBV_WR_RDMA_WRITE, 8, facts_[to].other_rkey, IBV_WC_REM_ACCESS_ERR);
    }

  private:
    void run(std::size_t to, ibv_wr_opcode opcode, std::uint32_t bytes, std::uint32_t rkey,
             ibv_wc_status status = IBV_WC_SUCCESS) {
        ibv_sge part{.addr = end_->address(), .length = bytes, .lkey = end_->mr->lkey};
        ibv_send_wr wr{};
        wr.opcode = opcode;
        wr.send_flags = IBV_SEND_SIGNALED;
        wr.sg_list = &part;
        wr.num_sge = 1;
        wr.qp_type.xrc.remote_srqn = facts_[to].srqn;
        if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
            wr.wr.atomic = {
                .remote_addr = facts_[to].address, .compare_add = 1, .swap = 0, .rkey = rkey};
        } else {
            wr.wr.rdma = {.remote_addr = facts_[to].address, .rkey = rkey};
        }
        ibv_send_wr* bad = nullptr;
        done(ibv_post_send(qp_, &wr, &bad), "ibv_post_send");
        const ibv_wc found = end_->next();
        require(found.status == status, verbs_util::describe_completion(found));
    }

    std::unique_ptr<End> end_ = std::make_unique<End>();
    std::array<Facts, 2> facts_;
    ibv_qp* qp_ = nullptr;
};

void carry_out(const Process& process, const Order& order) {
    tell(process.socket, order);
    [[maybe_unused]] const auto answer = hear<Order>(process.socket);
}

void ended_well(const Process& process) {
    int status = 0;
    require(::waitpid(process.pid, &status, 0) == process.pid && status == 0,
            "a receiver did not end as it must");
}

int run() {
    const int file = ::memfd_create("xrc domain", MFD_CLOEXEC);
    require(file >= 0, "memfd_create");
    const Process maker = start(file, true);
    const Process guest = start(file, false);
    const auto of_maker = hear<Facts>(maker.socket);
    tell(guest.socket, Order{What::open, of_maker.target, 0});
    const auto of_guest = hear<Facts>(guest.socket);
    require_equal(of_guest.target, of_maker.target, "the target's number");
    require(of_guest.srqn != of_maker.srqn, "two SRQs have one number");
    Sender sender(of_maker, of_guest);
    // The guest connects what the maker made.
    carry_out(guest, {What::connect, sender.number(), 0});
    sender.connect();
    for (std::uint32_t i = 0; i < kMessages; ++i) {
        sender.send(0, 1000 + i);
        sender.send(1, 2000 + i);
    }
    carry_out(maker, {What::receive, kMessages, 1000});
    carry_out(guest, {What::receive, kMessages, 2000});
    sender.rdma(0);
    sender.rdma(1);
    tell(maker.socket, Order{What::die, 0, 0});
    ended_well(maker);
    for (std::uint32_t i = 0; i < kMessages; ++i) {
        sender.send(1, 3000 + i);
    }
    carry_out(guest, {What::receive, kMessages, 3000});
    sender.write_with_a_key_of_another_domain(1);
    carry_out(guest, {What::expect_access_error, 0, 0});
    ended_well(guest);
    fmt::print("{} messages: everything as it must be\n", 3 * kMessages);
    return EXIT_SUCCESS;
}

}  // namespace
}  // namespace vrdma::extended

int main() {
    return vrdma::extended::run();
}
