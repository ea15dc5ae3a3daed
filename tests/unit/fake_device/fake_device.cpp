// Strict where a driver could be wrong (lengths, reserved fields, descriptors, seals, alignment,
// order of destruction), simple everywhere else: nothing is moved between queue pairs, a test
// writes the completions it wants to see. All state is under one mutex; the thread only answers
// commands.
#include "tests/unit/fake_device/fake_device.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace vrdma::testing {
namespace {

std::size_t cq_bytes(std::uint32_t entries, std::uint32_t flags) {
    const bool timestamps = (flags & VRDMA_CQ_TIMESTAMPS) != 0;
    return sizeof(vrdma_cq_header) +
           entries * (sizeof(vrdma_cqe) + (timestamps ? sizeof(std::uint64_t) : 0));
}

constexpr std::uint32_t kFirstQpn = 0x4711;
constexpr std::uint32_t kFirstSrqn = 0x5000;

// Its send entries have 64 bytes before their data.
std::uint32_t is_long(std::uint32_t type) {
    return type == VRDMA_QPT_UD || type == VRDMA_QPT_XRC_SEND ? 1 : 0;
}

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
    std::vector<std::byte> bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

std::vector<std::byte> handle_bytes(std::uint32_t handle) {
    return bytes_of(vrdma_handle{.handle = handle, .reserved = 0});
}

std::vector<driver::UniqueFd> descriptors_of(msghdr& message) {
    std::vector<driver::UniqueFd> fds;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return fds;
}

}  // namespace

FakeDevice::FakeDevice() {
    std::string pattern = std::filesystem::temp_directory_path() / "vrdma-fake-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    socket_path_ = directory_ + "/device.sock";
    info.abi_major = VRDMA_ABI_MAJOR;
    info.abi_minor = VRDMA_ABI_MINOR;
    info.node_guid = 0x1122334455667788U;
    info.limits = {.max_qps = 1024,
                   .max_cqs = 1024,
                   .max_mrs = 1024,
                   .max_pds = 1024,
                   .max_srqs = 1024,
                   .max_queue_entries = 4096,
                   .max_cq_entries = 65536,
                   .max_sge = 16,
                   .max_inline = 512,
                   .max_rd_atomic = 128,
                   .max_mr_bytes = std::uint64_t{1} << 40U,
                   .max_transfer_bytes = VRDMA_MAX_TRANSFER_BYTES,
                   .max_mws = 64};
    info.gid[0].gid[0] = 0xfe;
    info.gid[1].gid[0] = 0xfe;
    info.gid[3].gid[10] = 0xff;
    info.gid[3].gid[11] = 0xff;
    info.completion_vectors = 2;
    info.context_id = 7;
    std::snprintf(info.vnic, sizeof info.vnic, "test0");
    std::snprintf(info.service_version, sizeof info.service_version, "1.2.3");

    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket_path_.c_str(), socket_path_.size());
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 4) != 0) {
        std::perror("fake device");
        std::abort();
    }
    stop_.reset(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { serve(); });
}

FakeDevice::~FakeDevice() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
    close_connection();
    for (auto& [handle, region] : regions_) {
        ::munmap(region.data, region.length);
    }
    if (doorbell_ != nullptr) {
        ::munmap(doorbell_, sizeof *doorbell_);
    }
    std::filesystem::remove_all(directory_);
}

void FakeDevice::refuse_next(vrdma_command_opcode opcode, vrdma_status status, const char* reason) {
    const std::lock_guard lock(mutex_);
    refusals_[static_cast<std::uint16_t>(opcode)] = {status, reason};
}

void FakeDevice::corrupt_next(Corruption corruption) {
    const std::lock_guard lock(mutex_);
    corruption_ = corruption;
}

void FakeDevice::close_connection() {
    channels_.clear();
    events_.reset();
    kick_.reset();
    connection_.reset();
}

void FakeDevice::hang_up() {
    const std::lock_guard lock(mutex_);
    channels_.clear();
    // The thread may be polling the descriptor: shut it down, it is closed there.
    ::shutdown(connection_.get(), SHUT_RDWR);
    events_.reset();
}

std::string FakeDevice::complaint() {
    const std::lock_guard lock(mutex_);
    return complaint_;
}

std::vector<FakeDevice::Command> FakeDevice::commands(vrdma_command_opcode opcode) {
    const std::lock_guard lock(mutex_);
    std::vector<Command> found;
    for (const Command& command : commands_) {
        if (command.opcode == opcode) {
            found.push_back(command);
        }
    }
    return found;
}

FakeDevice::Command FakeDevice::last(vrdma_command_opcode opcode) {
    const auto found = commands(opcode);
    if (found.empty()) {
        complain("a command the test looks for was never sent");
        return {};
    }
    return found.back();
}

bool FakeDevice::closed_orderly() {
    const std::lock_guard lock(mutex_);
    return closed_orderly_;
}

std::size_t FakeDevice::object_count() {
    const std::lock_guard lock(mutex_);
    return regions_.size() + pds_.size() + mrs_.size() + mws_.size() + channels_.size() +
           cqs_.size() + srqs_.size() + xrcds_.size() + qps_.size();
}

FakeDevice::Live FakeDevice::live() {
    const std::lock_guard lock(mutex_);
    Live live;
    for (const auto& [handle, qp] : qps_) {
        live.qps.push_back(qp.create.cookie);
    }
    for (const auto& [handle, srq] : srqs_) {
        live.srqs.push_back(srq.create.cookie);
    }
    for (const auto& [handle, cq] : cqs_) {
        live.cqs.push_back(cq.create.cookie);
    }
    return live;
}

void FakeDevice::complain(const std::string& text) {
    if (complaint_.empty()) {
        complaint_ = text;
    }
}

void FakeDevice::serve() {
    for (;;) {
        std::array<pollfd, 3> polled = {{{stop_.get(), POLLIN, 0},
                                         {listener_.get(), POLLIN, 0},
                                         {connection_.get(), POLLIN, 0}}};
        ::poll(polled.data(), polled.size(), -1);
        if (polled[0].revents != 0) {
            return;
        }
        const std::lock_guard lock(mutex_);
        if (polled[1].revents != 0) {
            connection_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            opened_ = false;
        } else if (polled[2].revents != 0 && !handle_message()) {
            close_connection();
        }
    }
}

bool FakeDevice::handle_message() {
    std::vector<std::byte> buffer(VRDMA_MAX_MESSAGE_BYTES);
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t bytes = ::recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0) {
        return false;
    }
    auto fds = descriptors_of(message);
    vrdma_command_header header{};
    if (static_cast<std::size_t>(bytes) < sizeof header) {
        complain("a message shorter than its header");
        return false;
    }
    std::memcpy(&header, buffer.data(), sizeof header);
    if (header.length != static_cast<std::size_t>(bytes) || header.reserved != 0) {
        complain("a malformed command header");
        return false;
    }
    Command command{.opcode = header.opcode,
                    .body = {buffer.begin() + sizeof header, buffer.begin() + bytes},
                    .fds = fds.size()};
    commands_.push_back(command);
    if (!opened_ && header.opcode != VRDMA_CMD_OPEN) {
        complain("the first command is not OPEN");
    }
    Answer result;
    const auto refusal = refusals_.find(header.opcode);
    if (refusal != refusals_.end()) {
        result.status = refusal->second.status;
        result.reason = refusal->second.reason;
        refusals_.erase(refusal);
    } else {
        result = execute(command, fds);
    }
    answer(command, header.tag, result);
    return true;
}

void FakeDevice::answer(const Command& command, std::uint64_t tag, const Answer& result) {
    vrdma_response_header header{};
    header.opcode = command.opcode;
    header.status = static_cast<std::uint16_t>(result.status);
    header.tag = tag;
    std::vector<std::byte> body = result.body;
    const Corruption corruption = std::exchange(corruption_, Corruption::none);
    if (corruption == Corruption::extra_bytes) {
        body.resize(body.size() + 8);
    }
    header.length = static_cast<std::uint32_t>(sizeof header + body.size());
    if (corruption == Corruption::wrong_tag) {
        ++header.tag;
    } else if (corruption == Corruption::wrong_opcode) {
        ++header.opcode;
    } else if (corruption == Corruption::wrong_length) {
        ++header.length;
    }
    std::snprintf(header.reason, sizeof header.reason, "%s", result.reason.c_str());
    std::array<iovec, 2> parts = {{{&header, sizeof header}, {body.data(), body.size()}}};
    std::vector<int> files = {result.fd};
    if (command.opcode == VRDMA_CMD_OPEN && (info.features & VRDMA_FEATURE_USERFAULT) != 0 &&
        corruption != Corruption::no_userfault_device) {
        files.push_back(userfault_device);
    }
    const std::size_t bytes = files.size() * sizeof(int);
    alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (result.fd >= 0 && corruption != Corruption::no_event_socket) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(bytes);
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(bytes);
        std::memcpy(CMSG_DATA(rights), files.data(), bytes);
    }
    ::sendmsg(connection_.get(), &message, MSG_NOSIGNAL);
    if (result.fd >= 0) {
        ::close(result.fd);
    }
}

FakeDevice::Answer FakeDevice::execute(const Command& command, std::vector<driver::UniqueFd>& fds) {
    const auto expect = [&](std::size_t body, std::size_t descriptors) {
        if (command.body.size() != body || command.fds != descriptors) {
            complain("command " + std::to_string(command.opcode) + " with " +
                     std::to_string(command.body.size()) + " bytes and " +
                     std::to_string(command.fds) + " descriptors");
        }
    };
    switch (command.opcode) {
        case VRDMA_CMD_OPEN:
            expect(sizeof(vrdma_cmd_open), 2);
            return open(command, fds);
        case VRDMA_CMD_CLOSE:
            expect(0, 0);
            closed_orderly_ = true;
            return {};
        case VRDMA_CMD_QUERY_PORT:
            expect(0, 0);
            return Answer::ok(bytes_of(vrdma_rsp_query_port{.state = port_state, .mtu = port_mtu}));
        case VRDMA_CMD_ALLOC_PD:
            expect(0, 0);
            pds_[next_handle_] = 0;
            return Answer::ok(handle_bytes(next_handle_++));
        case VRDMA_CMD_ADD_REGION:
            expect(sizeof(vrdma_cmd_add_region), 1);
            return add_region(command, fds);
        case VRDMA_CMD_REG_MR:
            return reg_mr(command);
        case VRDMA_CMD_ALLOC_MW: {
            expect(sizeof(vrdma_cmd_alloc_mw), 0);
            const auto request = command.as<vrdma_cmd_alloc_mw>();
            if (!pds_.contains(request.pd)) {
                complain("ALLOC_MW in no protection domain");
            }
            mws_[next_handle_] = request.type;
            const vrdma_rsp_alloc_mw response{.handle = next_handle_,
                                              .rkey = 0x80000000U | next_handle_ << 8U};
            ++next_handle_;
            return Answer::ok(bytes_of(response));
        }
        case VRDMA_CMD_ATTACH_MCAST:
        case VRDMA_CMD_DETACH_MCAST:
            expect(sizeof(vrdma_cmd_mcast), 0);
            return Answer::ok({});
        case VRDMA_CMD_QUERY_CLOCK:
            expect(0, 0);
            return Answer::ok(bytes_of(vrdma_rsp_query_clock{.nanoseconds = clock}));
        case VRDMA_CMD_CREATE_CHANNEL:
            expect(0, 1);
            if (!fds.empty()) {
                channels_[next_handle_] = std::move(fds.front());
            }
            return Answer::ok(handle_bytes(next_handle_++));
        case VRDMA_CMD_CREATE_CQ:
            expect(sizeof(vrdma_cmd_create_cq), 0);
            return create_cq(command);
        case VRDMA_CMD_RESIZE_CQ: {
            expect(sizeof(vrdma_cmd_resize_cq), 0);
            const auto request = command.as<vrdma_cmd_resize_cq>();
            Cq& cq = cqs_[request.handle];
            check_queue(request.memory, cq_bytes(request.entries, cq.create.flags));
            const auto* old_header = queue<vrdma_cq_header>(cq.create.memory);
            const auto* old_ring = queue<vrdma_cqe>(cq.create.memory, sizeof(vrdma_cq_header));
            auto* ring = queue<vrdma_cqe>(request.memory, sizeof(vrdma_cq_header));
            if (cq.producer - old_header->consumer > request.entries) {
                return Answer::no(VRDMA_STATUS_INVALID, "unread completions");
            }
            for (std::uint32_t i = old_header->consumer; i != cq.producer; ++i) {
                ring[i & (request.entries - 1)] = old_ring[i & (cq.create.entries - 1)];
            }
            auto* header = queue<vrdma_cq_header>(request.memory);
            header->events = old_header->events;
            if ((cq.create.flags & VRDMA_CQ_TIMESTAMPS) != 0) {
                const auto* from =
                    queue<std::uint64_t>(cq.create.memory, cq_bytes(cq.create.entries, 0));
                auto* to = queue<std::uint64_t>(request.memory, cq_bytes(request.entries, 0));
                for (std::uint32_t i = old_header->consumer; i != cq.producer; ++i) {
                    to[i & (request.entries - 1)] = from[i & (cq.create.entries - 1)];
                }
            }
            cq.create.memory = request.memory;
            cq.create.entries = request.entries;
            return {};
        }
        case VRDMA_CMD_CREATE_SRQ:
            expect(sizeof(vrdma_cmd_create_srq), 0);
            return create_srq(command);
        case VRDMA_CMD_OPEN_XRCD:
            expect(sizeof(vrdma_cmd_open_xrcd), command.fds);
            xrcds_[next_handle_] = 0;
            return Answer::ok(handle_bytes(next_handle_++));
        case VRDMA_CMD_CREATE_XRC_SRQ:
            expect(sizeof(vrdma_cmd_create_xrc_srq), 0);
            return create_xrc_srq(command);
        case VRDMA_CMD_CREATE_XRC_TARGET:
        case VRDMA_CMD_OPEN_XRC_TARGET:
            expect(sizeof(vrdma_cmd_xrc_target), 0);
            return xrc_target(command);
        case VRDMA_CMD_MODIFY_SRQ: {
            expect(sizeof(vrdma_cmd_modify_srq), 0);
            const auto request = command.as<vrdma_cmd_modify_srq>();
            srqs_[request.handle].limit = request.limit;
            return {};
        }
        case VRDMA_CMD_QUERY_SRQ: {
            expect(sizeof(vrdma_handle), 0);
            const Srq& srq = srqs_[command.as<vrdma_handle>().handle];
            return Answer::ok(bytes_of(vrdma_rsp_query_srq{.limit = srq.limit, .reserved = 0}));
        }
        case VRDMA_CMD_CREATE_QP:
            expect(sizeof(vrdma_cmd_create_qp), 0);
            return create_qp(command);
        case VRDMA_CMD_MODIFY_QP:
            expect(sizeof(vrdma_cmd_modify_qp), 0);
            return modify_qp(command);
        case VRDMA_CMD_QUERY_QP: {
            expect(sizeof(vrdma_handle), 0);
            const Qp& qp = qps_[command.as<vrdma_handle>().handle];
            return Answer::ok(bytes_of(vrdma_rsp_query_qp{.attributes = qp.attributes}));
        }
        default:
            expect(sizeof(vrdma_handle), 0);
            return destroy(command);
    }
}

FakeDevice::Answer FakeDevice::open(const Command& command, std::vector<driver::UniqueFd>& fds) {
    const auto request = command.as<vrdma_cmd_open>();
    if (request.reserved != 0 || request.program[sizeof request.program - 1] != '\0') {
        complain("OPEN with reserved fields set or an endless program name");
    }
    if (request.abi_major != VRDMA_ABI_MAJOR) {
        return Answer::no(VRDMA_STATUS_VERSION, "another version");
    }
    const int memory = fds[0].get();
    const int seals = ::fcntl(memory, F_GET_SEALS);
    if ((seals & F_SEAL_SHRINK) == 0 || request.doorbell_offset % VRDMA_PAGE_BYTES != 0) {
        complain("doorbell memory that can shrink or is not page aligned");
    }
    void* data = ::mmap(nullptr, sizeof(vrdma_doorbell), PROT_READ | PROT_WRITE, MAP_SHARED, memory,
                        static_cast<off_t>(request.doorbell_offset));
    if (data == MAP_FAILED) {
        complain("doorbell memory cannot be mapped");
    } else {
        doorbell_ = static_cast<vrdma_doorbell*>(data);
    }
    kick_ = std::move(fds[1]);
    std::array<int, 2> ends{};
    ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data());
    events_.reset(ends[0]);
    opened_ = true;
    info.features = request.features & features;
    return Answer::ok(bytes_of(info), ends[1]);
}

FakeDevice::Answer FakeDevice::add_region(const Command& command,
                                          std::vector<driver::UniqueFd>& fds) {
    const auto request = command.as<vrdma_cmd_add_region>();
    if (request.offset % VRDMA_PAGE_BYTES != 0 || request.length % VRDMA_PAGE_BYTES != 0 ||
        request.length == 0) {
        complain("a region that is not made of pages");
    }
    Region region{.length = request.length, .flags = request.flags};
    if (request.kind == VRDMA_REGION_MAPPED) {
        const bool writable = (request.flags & VRDMA_REGION_WRITABLE) != 0;
        void* data = ::mmap(nullptr, request.length, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                            MAP_SHARED, fds[0].get(), static_cast<off_t>(request.offset));
        if (data == MAP_FAILED) {
            complain("a region that cannot be mapped");
            return Answer::no(VRDMA_STATUS_INVALID, "mmap");
        }
        region.data = static_cast<std::byte*>(data);
    } else if (request.kind != VRDMA_REGION_PROCESS) {
        complain("a region of unknown kind");
    }
    regions_[next_handle_] = region;
    return Answer::ok(handle_bytes(next_handle_++));
}

FakeDevice::Answer FakeDevice::reg_mr(const Command& command) {
    const auto request = command.as<vrdma_cmd_reg_mr>();
    const auto ranges = command.rest<vrdma_cmd_reg_mr, vrdma_mr_range>();
    if (request.range_count != ranges.size() || request.reserved != 0 ||
        (request.access & ~std::uint32_t{VRDMA_ACCESS_MASK | VRDMA_ACCESS_MW_BIND}) != 0 ||
        !pds_.contains(request.pd)) {
        complain("REG_MR that says something else than it carries");
    }
    std::uint64_t total = 0;
    std::vector<std::uint32_t> used;
    for (const vrdma_mr_range& range : ranges) {
        const auto region = regions_.find(range.region);
        if (region == regions_.end() || range.length == 0 || range.length > region->second.length ||
            range.offset > region->second.length - range.length) {
            complain("an MR range outside its region");
            continue;
        }
        total += range.length;
        ++region->second.users;
        used.push_back(range.region);
    }
    if (total != request.length) {
        complain("MR ranges that do not cover it");
    }
    mrs_[next_handle_] = used;
    const vrdma_rsp_reg_mr response{.handle = next_handle_, .lkey = 0x1000 + next_handle_};
    ++next_handle_;
    return Answer::ok(bytes_of(response));
}

void FakeDevice::check_queue(const vrdma_queue_memory& memory, std::size_t bytes) {
    const auto region = regions_.find(memory.region);
    if (region == regions_.end() || memory.offset % 64 != 0 || memory.reserved != 0 ||
        memory.offset + bytes > region->second.length ||
        (region->second.flags & VRDMA_REGION_WRITABLE) == 0) {
        complain("a queue outside its region, unaligned or not writable");
    }
}

template <typename T>
T* FakeDevice::queue(const vrdma_queue_memory& memory, std::size_t offset) {
    return reinterpret_cast<T*>(regions_[memory.region].data + memory.offset + offset);
}

FakeDevice::Answer FakeDevice::create_cq(const Command& command) {
    const auto request = command.as<vrdma_cmd_create_cq>();
    if (!std::has_single_bit(request.entries) ||
        (request.flags & ~std::uint32_t{VRDMA_CQ_TIMESTAMPS}) != 0 || request.cookie == 0 ||
        (request.channel != VRDMA_NO_HANDLE && !channels_.contains(request.channel))) {
        complain("CREATE_CQ with impossible arguments");
    }
    check_queue(request.memory, cq_bytes(request.entries, request.flags));
    const auto* ring = queue<vrdma_cqe>(request.memory, sizeof(vrdma_cq_header));
    for (std::uint32_t i = 0; i < request.entries; ++i) {
        if (ring[i].sequence != 0) {
            complain("a CQ ring that is not zero");
        }
    }
    cqs_[next_handle_] = {.create = request};
    return Answer::ok(handle_bytes(next_handle_++));
}

FakeDevice::Answer FakeDevice::create_srq(const Command& command) {
    const auto request = command.as<vrdma_cmd_create_srq>();
    if (!std::has_single_bit(request.entries) || !pds_.contains(request.pd)) {
        complain("CREATE_SRQ with impossible arguments");
    }
    check_queue(request.memory, sizeof(vrdma_srq_header) + std::size_t{request.entries} *
                                                               vrdma_recv_stride(request.max_sge));
    srqs_[next_handle_] = {.create = request, .limit = request.limit};
    return Answer::ok(handle_bytes(next_handle_++));
}

FakeDevice::Answer FakeDevice::create_xrc_srq(const Command& command) {
    const auto request = command.as<vrdma_cmd_create_xrc_srq>();
    if (!xrcds_.contains(request.xrcd) || !cqs_.contains(request.cq)) {
        complain("CREATE_XRC_SRQ with impossible arguments");
    }
    const Answer made = create_srq(command);
    const vrdma_rsp_create_xrc_srq response{.handle = next_handle_ - 1,
                                            .srqn = kFirstSrqn + next_handle_ - 1};
    srqs_[response.handle].cq = request.cq;
    ++cqs_[request.cq].users;
    return Answer::ok(bytes_of(response));
}

FakeDevice::Answer FakeDevice::xrc_target(const Command& command) {
    const auto request = command.as<vrdma_cmd_xrc_target>();
    const bool opens = command.opcode == VRDMA_CMD_OPEN_XRC_TARGET;
    if (!xrcds_.contains(request.xrcd) || (request.qpn != 0) != opens) {
        complain("a target of no domain, or with a number that it should not have");
    }
    const std::uint32_t handle = next_handle_++;
    Qp target;
    target.create.type = VRDMA_QPT_XRC_RECV;
    target.create.send_cq = target.create.recv_cq = VRDMA_NO_HANDLE;
    target.create.cookie = request.cookie;
    qps_[handle] = target;
    return Answer::ok(bytes_of(vrdma_rsp_create_qp{.handle = handle,
                                                   .qpn = opens ? request.qpn : kFirstQpn + handle,
                                                   .doorbell = VRDMA_NO_HANDLE,
                                                   .reserved = 0}));
}

FakeDevice::Answer FakeDevice::create_qp(const Command& command) {
    const auto request = command.as<vrdma_cmd_create_qp>();
    const auto ring_ok = [](std::uint32_t entries) {
        return entries == 0 || std::has_single_bit(entries);
    };
    const bool initiator = request.type == VRDMA_QPT_XRC_SEND;
    if (!ring_ok(request.sq_entries) || !ring_ok(request.rq_entries) || request.reserved != 0 ||
        !pds_.contains(request.pd) || !cqs_.contains(request.send_cq) ||
        (initiator ? request.recv_cq != VRDMA_NO_HANDLE || request.rq_entries != 0
                   : !cqs_.contains(request.recv_cq)) ||
        (request.srq != VRDMA_NO_HANDLE &&
         (!srqs_.contains(request.srq) || request.rq_entries != 0))) {
        complain("CREATE_QP with impossible arguments");
    }
    const std::size_t bytes =
        sizeof(vrdma_qp_header) +
        std::size_t{request.sq_entries} *
            vrdma_send_stride(is_long(request.type), request.max_send_sge, request.max_inline) +
        std::size_t{request.rq_entries} * vrdma_recv_stride(request.max_recv_sge);
    check_queue(request.memory, bytes);
    ++cqs_[request.send_cq].users;
    if (!initiator) {
        ++cqs_[request.recv_cq].users;
    }
    const std::uint32_t handle = next_handle_++;
    qps_[handle] = {.create = request, .doorbell = next_doorbell_};
    const vrdma_rsp_create_qp response{
        .handle = handle, .qpn = kFirstQpn + handle, .doorbell = next_doorbell_++, .reserved = 0};
    return Answer::ok(bytes_of(response));
}

FakeDevice::Answer FakeDevice::modify_qp(const Command& command) {
    const auto request = command.as<vrdma_cmd_modify_qp>();
    const auto found = qps_.find(request.handle);
    if (found == qps_.end()) {
        complain("MODIFY_QP of nothing");
        return Answer::no(VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    }
    vrdma_qp_attributes& attributes = found->second.attributes;
    const std::uint32_t before = attributes.state;
    attributes = request.attributes;
    constexpr std::uint32_t kStateBit = 1;  // IBV_QP_STATE
    if ((request.mask & kStateBit) == 0) {
        attributes.state = before;
    }
    attributes.current_state = attributes.state;
    if (found->second.create.type == VRDMA_QPT_XRC_RECV) {
        return Answer::ok(bytes_of(vrdma_rsp_query_qp{.attributes = attributes}));
    }
    auto* header = queue<vrdma_qp_header>(found->second.create.memory);
    header->in_error = attributes.state == VRDMA_QPS_ERR ? 1 : 0;
    return Answer::ok(bytes_of(vrdma_rsp_query_qp{.attributes = attributes}));
}

FakeDevice::Answer FakeDevice::destroy(const Command& command) {
    const auto handle = command.as<vrdma_handle>();
    const Answer busy = Answer::no(VRDMA_STATUS_BUSY, "still in use");
    std::size_t gone = 0;
    switch (command.opcode) {
        case VRDMA_CMD_DEALLOC_PD:
            gone = pds_.erase(handle.handle);
            break;
        case VRDMA_CMD_REMOVE_REGION: {
            const auto region = regions_.find(handle.handle);
            if (region != regions_.end()) {
                if (region->second.users != 0) {
                    complain("a region is removed while MRs use it");
                    return busy;
                }
                if (region->second.data != nullptr) {
                    ::munmap(region->second.data, region->second.length);
                }
                regions_.erase(region);
                gone = 1;
            }
            break;
        }
        case VRDMA_CMD_DEREG_MR: {
            const auto mr = mrs_.find(handle.handle);
            if (mr != mrs_.end()) {
                for (const std::uint32_t region : mr->second) {
                    --regions_[region].users;
                }
                mrs_.erase(mr);
                gone = 1;
            }
            break;
        }
        case VRDMA_CMD_DEALLOC_MW:
            gone = mws_.erase(handle.handle);
            break;
        case VRDMA_CMD_DESTROY_CHANNEL:
            gone = channels_.erase(handle.handle);
            break;
        case VRDMA_CMD_DESTROY_CQ:
            if (cqs_.contains(handle.handle) && cqs_[handle.handle].users != 0) {
                return busy;
            }
            gone = cqs_.erase(handle.handle);
            break;
        case VRDMA_CMD_CLOSE_XRCD:
            gone = xrcds_.erase(handle.handle);
            break;
        case VRDMA_CMD_DESTROY_SRQ:
            if (srqs_.contains(handle.handle) && srqs_[handle.handle].cq != VRDMA_NO_HANDLE) {
                --cqs_[srqs_[handle.handle].cq].users;
            }
            gone = srqs_.erase(handle.handle);
            break;
        case VRDMA_CMD_DESTROY_QP: {
            const auto qp = qps_.find(handle.handle);
            if (qp != qps_.end()) {
                for (const std::uint32_t cq :
                     {qp->second.create.send_cq, qp->second.create.recv_cq}) {
                    if (cq != VRDMA_NO_HANDLE) {
                        --cqs_[cq].users;
                    }
                }
                qps_.erase(qp);
                gone = 1;
            }
            break;
        }
        default:
            break;
    }
    if (gone == 0 || handle.reserved != 0) {
        complain("command " + std::to_string(command.opcode) + " names nothing");
        return Answer::no(VRDMA_STATUS_NOT_FOUND, "no such object");
    }
    return {};
}

vrdma_doorbell& FakeDevice::doorbell() {
    return *doorbell_;
}

int FakeDevice::kick_fd() {
    return kick_.get();
}

std::byte* FakeDevice::memory(std::uint32_t region) {
    const std::lock_guard lock(mutex_);
    return regions_[region].data;
}

vrdma_qp_header& FakeDevice::qp_header(std::uint32_t handle) {
    const std::lock_guard lock(mutex_);
    return *queue<vrdma_qp_header>(qps_[handle].create.memory);
}

vrdma_send_wqe& FakeDevice::send_wqe(std::uint32_t handle, std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    const vrdma_cmd_create_qp& create = qps_[handle].create;
    const std::size_t stride =
        vrdma_send_stride(is_long(create.type), create.max_send_sge, create.max_inline);
    return *queue<vrdma_send_wqe>(
        create.memory, sizeof(vrdma_qp_header) + (index & (create.sq_entries - 1)) * stride);
}

vrdma_recv_wqe& FakeDevice::recv_wqe(std::uint32_t handle, std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    const vrdma_cmd_create_qp& create = qps_[handle].create;
    const std::size_t send_stride =
        vrdma_send_stride(is_long(create.type), create.max_send_sge, create.max_inline);
    const std::size_t stride = vrdma_recv_stride(create.max_recv_sge);
    return *queue<vrdma_recv_wqe>(create.memory, sizeof(vrdma_qp_header) +
                                                     create.sq_entries * send_stride +
                                                     (index & (create.rq_entries - 1)) * stride);
}

vrdma_cq_header& FakeDevice::cq_header(std::uint32_t handle) {
    const std::lock_guard lock(mutex_);
    return *queue<vrdma_cq_header>(cqs_[handle].create.memory);
}

vrdma_srq_header& FakeDevice::srq_header(std::uint32_t handle) {
    const std::lock_guard lock(mutex_);
    return *queue<vrdma_srq_header>(srqs_[handle].create.memory);
}

vrdma_recv_wqe& FakeDevice::srq_wqe(std::uint32_t handle, std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    const vrdma_cmd_create_srq& create = srqs_[handle].create;
    return *queue<vrdma_recv_wqe>(
        create.memory, sizeof(vrdma_srq_header) +
                           (index & (create.entries - 1)) * vrdma_recv_stride(create.max_sge));
}

void FakeDevice::complete(std::uint32_t handle, vrdma_cqe cqe, bool solicited) {
    const std::lock_guard lock(mutex_);
    Cq& cq = cqs_[handle];
    auto* header = queue<vrdma_cq_header>(cq.create.memory);
    auto* ring = queue<vrdma_cqe>(cq.create.memory, sizeof(vrdma_cq_header));
    vrdma_cqe& slot = ring[cq.producer & (cq.create.entries - 1)];
    cqe.sequence = slot.sequence;
    if ((cq.create.flags & VRDMA_CQ_TIMESTAMPS) != 0) {
        auto* stamps = queue<std::uint64_t>(cq.create.memory, cq_bytes(cq.create.entries, 0));
        stamps[cq.producer & (cq.create.entries - 1)] = clock;
    }
    slot = cqe;
    ++cq.producer;
    std::atomic_ref(slot.sequence).store(cq.producer, std::memory_order_seq_cst);
    const std::uint32_t arm = std::atomic_ref(header->arm).load();
    const std::uint32_t type = arm & VRDMA_ARM_TYPE_MASK;
    if (cq.create.channel == VRDMA_NO_HANDLE || arm == cq.arm_seen ||
        (type == VRDMA_ARM_SOLICITED && !solicited && cqe.status == VRDMA_WC_SUCCESS)) {
        return;
    }
    cq.arm_seen = arm;
    ::send(channels_[cq.create.channel].get(), &cq.create.cookie, sizeof cq.create.cookie,
           MSG_NOSIGNAL | MSG_DONTWAIT);
    std::atomic_ref(header->events).fetch_add(1);
}

void FakeDevice::send_event(std::uint32_t type, std::uint64_t cookie) {
    const std::lock_guard lock(mutex_);
    const vrdma_event event{.type = type, .reserved = 0, .cookie = cookie};
    ::send(events_.get(), &event, sizeof event, MSG_NOSIGNAL);  // a driver always reads them
}

}  // namespace vrdma::testing
