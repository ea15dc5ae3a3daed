// The control thread's half of a context. Messages are taken one at a time: while a command is on
// the worker, nothing is read, so a tenant can never have more than one in flight. A malformed
// header ends the connection; anything else wrong is answered with a sentence.
//
// The end of a connection is the end of its context, whatever the tenant was doing: the worker
// first forgets its doorbell, then frees its objects piece by piece, then this thread unmaps and
// closes.
#include "dataplane/app/connection.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "dataplane/app/version.h"
#include "dataplane/platform/tenant_files.h"

namespace vrdma::app {
namespace {

// What a command is answered with when the worker is done with it.
struct Answer {
    vrdma_status status;
    std::string reason;
};

template <class T>
T field(const std::vector<std::byte>& message, size_t offset) {
    T value{};
    if (message.size() >= offset + sizeof value) {
        std::memcpy(&value, message.data() + offset, sizeof value);
    }
    return value;
}

constexpr size_t kBody = sizeof(vrdma_command_header);

}  // namespace

class CommandJob final : public platform::Job {
  public:
    CommandJob(std::shared_ptr<Connection> connection, const vrdma_command_header& header,
               std::vector<std::byte> message, const Attachment& attachment,
               const Connection::Charge& charge)
        : connection_(std::move(connection)),
          header_(header),
          message_(std::move(message)),
          attachment_(attachment),
          charge_(charge),
          response_(kResponseBytes) {}

    bool run(Shard& shard) override {
        outcome_ = shard.commands().execute(CommandCall{
            .context = *connection_->context_,
            .opcode = header_.opcode,
            .body = std::span(message_).subspan(kBody),
            .attachment = attachment_,
            .response = response_,
        });
        return outcome_.kind != CommandOutcome::Kind::Deferred;
    }

    void finish() override {
        const bool done = outcome_.kind == CommandOutcome::Kind::Done;
        if (!done && attachment_.base != nullptr) {
            platform::unmap_shared(attachment_.base);
        }
        if (!done && attachment_.file >= 0) {
            close(attachment_.file);
        }
        uint32_t handle = 0;
        std::memcpy(&handle, response_.data(), sizeof handle);
        connection_->settle(charge_, done, handle);
        connection_->settle_xrc_file(header_, field<uint32_t>(message_, kBody), done, handle);
        connection_->environment_.reclaimer.reclaim();
        connection_->respond(header_, done ? VRDMA_STATUS_OK : outcome_.refusal.status,
                             outcome_.refusal.text,
                             std::span(response_).first(done ? outcome_.response_bytes : 0));
        connection_->busy_ = false;
        connection_->resume();
    }

  private:
    static constexpr size_t kResponseBytes = 512;
    std::shared_ptr<Connection> connection_;
    vrdma_command_header header_;
    std::vector<std::byte> message_;
    Attachment attachment_;
    Connection::Charge charge_;
    std::vector<std::byte> response_;
    CommandOutcome outcome_{CommandOutcome::Kind::Refused, 0, {VRDMA_STATUS_FATAL, "", false}};
};

class OpenJob final : public platform::Job {
  public:
    OpenJob(std::shared_ptr<Connection> connection, const vrdma_command_header& header,
            const vrdma_cmd_open& request, const Commands::NewContext& context, int tenant_file)
        : connection_(std::move(connection)),
          header_(header),
          request_(request),
          context_(context),
          tenant_file_(tenant_file) {}

    bool run(Shard& shard) override {
        index_ = shard.commands().open(context_);
        return true;
    }

    void finish() override {
        Connection& connection = *connection_;
        connection.context_ = index_;
        if (index_ && !connection.environment_.worker.watch(*index_, connection.kick_file_)) {
            connection.respond(header_, VRDMA_STATUS_NO_RESOURCE,
                               "the service cannot watch one more context", {});
            connection.end();
        } else if (!index_) {
            close(connection.event_file_);
            connection.event_file_ = -1;
            connection.respond(header_, VRDMA_STATUS_NO_RESOURCE,
                               "no context is left on this worker", {});
            connection.end();
        } else {
            vrdma_rsp_open response = connection.open_response(request_);
            response.context_id = *index_;
            const std::array files = {tenant_file_,
                                      connection.environment_.vnic->userfault_device.get()};
            const bool both = (response.features & VRDMA_FEATURE_USERFAULT) != 0;
            connection.respond(header_, VRDMA_STATUS_OK, "", std::as_bytes(std::span(&response, 1)),
                               std::span(files).first(both ? 2 : 1));
        }
        close(tenant_file_);
        connection.busy_ = false;
        connection.resume();
    }

  private:
    std::shared_ptr<Connection> connection_;
    vrdma_command_header header_;
    vrdma_cmd_open request_;
    Commands::NewContext context_;
    int tenant_file_;
    std::optional<uint32_t> index_;
};

class TeardownJob final : public platform::Job {
  public:
    explicit TeardownJob(std::shared_ptr<Connection> connection)
        : connection_(std::move(connection)), teardown_{*connection_->context_} {}

    bool run(Shard& shard) override { return shard.tear_down(teardown_); }

    void finish() override {
        connection_->environment_.reclaimer.reclaim();
        connection_->context_.reset();
        connection_->busy_ = false;
        connection_->tear_down();
    }

  private:
    std::shared_ptr<Connection> connection_;
    Commands::Teardown teardown_;
};

Connection::Connection(boost::asio::io_context& io, int socket, Environment environment)
    : socket_(io, socket),
      environment_(std::move(environment)),
      buffer_(VRDMA_MAX_MESSAGE_BYTES + 1) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
        process_id_ = peer.pid;
    }
}

Connection::~Connection() {
    if (doorbell_ != nullptr) {
        platform::unmap_shared(doorbell_);
    }
    if (kick_file_ >= 0) {
        close(kick_file_);
    }
}

void Connection::start() {
    wait();
}

void Connection::wait() {
    socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](const boost::system::error_code& error) {
                           if (!error) {
                               self->on_readable();
                           }
                       });
}

std::optional<Connection::Received> Connection::receive() {
    iovec data{buffer_.data(), buffer_.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * VRDMA_MAX_FDS_PER_MESSAGE)>
        control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size =
        recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    Received received;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); size >= 0 && part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; ++i) {
                int file = -1;
                std::memcpy(&file, CMSG_DATA(part) + i * sizeof file, sizeof file);
                received.files.push_back(file);
            }
        }
    }
    if (size < 0) {
        return errno == EAGAIN || errno == EINTR ? std::optional<Received>(Received{})
                                                 : std::nullopt;
    }
    const bool cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    if (size == 0 || cut) {
        environment_.vnic->aside.close_all(received.files);
        return std::nullopt;
    }
    received.message.assign(buffer_.begin(), buffer_.begin() + size);
    return received;
}

void Connection::on_readable() {
    if (ending_ || busy_) {
        return;
    }
    std::optional<Received> received = receive();
    if (!received) {
        end();
        return;
    }
    if (!received->message.empty()) {
        handle(std::move(*received));
    }
    if (!busy_ && !ending_) {
        wait();
    }
}

void Connection::handle(Received received) {
    const auto header = field<vrdma_command_header>(received.message, 0);
    const bool well_formed = received.message.size() >= sizeof header && header.reserved == 0 &&
                             header.length == received.message.size() &&
                             received.message.size() <= VRDMA_MAX_MESSAGE_BYTES;
    if (!well_formed) {
        warn(fmt::format("malformed command bytes={}: the connection is closed",
                         received.message.size()));
        environment_.vnic->aside.close_all(received.files);
        end();
        return;
    }
    if (header.opcode == VRDMA_CMD_OPEN) {
        open(header, received);
    } else if (!context_) {
        respond(header, VRDMA_STATUS_STATE, "the first command must be OPEN", {});
    } else {
        command(header, received);
    }
    environment_.vnic->aside.close_all(received.files);
    if (environment_.vnic->aside.waiting() > kMostWaitingCalls) {
        warn("too many descriptors whose files do not answer: the connection is closed");
        end();
    }
}

void Connection::warn(std::string_view what) {
    AttachedVnic& vnic = *environment_.vnic;
    const auto now = std::chrono::steady_clock::now();
    if (now < vnic.quiet_until) {
        return;
    }
    vnic.quiet_until = now + std::chrono::seconds(1);
    spdlog::warn("vnic={} pid={} {}", vnic.name, process_id_, what);
}

uint64_t Connection::features() const {
    return VRDMA_FEATURE_PEER_DEATH | VRDMA_FEATURE_MEMORY_WINDOWS | VRDMA_FEATURE_TIMESTAMPS |
           VRDMA_FEATURE_XRC | VRDMA_FEATURE_MULTICAST |
           (environment_.vnic->process_memory ? VRDMA_FEATURE_PROCESS_MEMORY : 0U) |
           (environment_.vnic->userfault_device.is_open() ? VRDMA_FEATURE_USERFAULT : 0U);
}

vrdma_rsp_open Connection::open_response(const vrdma_cmd_open& request) const {
    vrdma_rsp_open response{};
    response.abi_major = VRDMA_ABI_MAJOR;
    response.abi_minor = VRDMA_ABI_MINOR;
    response.features = request.features & features();
    response.node_guid = environment_.vnic->device.guid;
    response.limits = environment_.vnic->device.limits;
    if ((response.features & VRDMA_FEATURE_MEMORY_WINDOWS) == 0) {
        response.limits.max_mws = 0;
    }
    for (size_t i = 0; i < VRDMA_GID_TABLE_LENGTH; ++i) {
        response.gid[i] = environment_.vnic->device.gids[i];
    }
    response.completion_vectors = 1;
    std::strncpy(response.vnic, environment_.vnic->name.c_str(), sizeof response.vnic - 1);
    std::strncpy(response.service_version, kVersion, sizeof response.service_version - 1);
    return response;
}

void Connection::open(const vrdma_command_header& header, Received& received) {
    const auto request = read_body<vrdma_cmd_open>(std::span(received.message).subspan(kBody));
    if (!request || received.files.size() != 2) {
        respond(header, VRDMA_STATUS_INVALID, "OPEN needs its body and two descriptors", {});
        return;
    }
    if (request->abi_major != VRDMA_ABI_MAJOR) {
        respond(header, VRDMA_STATUS_VERSION,
                fmt::format("driver speaks ABI {}, service {} speaks {}: install the same release",
                            request->abi_major, kVersion, int{VRDMA_ABI_MAJOR}),
                {});
        return;
    }
    if (context_ || busy_) {
        respond(header, VRDMA_STATUS_STATE, "the context is open already", {});
        return;
    }
    const auto doorbell = platform::map_shared(received.files[0], request->doorbell_offset,
                                               sizeof(vrdma_doorbell), true, true);
    if (!doorbell) {
        respond(header, VRDMA_STATUS_INVALID, doorbell.error(), {});
        return;
    }
    if (!platform::is_event_counter(received.files[1])) {
        platform::unmap_shared(doorbell->base);
        respond(header, VRDMA_STATUS_INVALID, "the second descriptor must be an eventfd", {});
        return;
    }
    if (!environment_.vnic->quota.take(Resource::Contexts, 1)) {
        platform::unmap_shared(doorbell->base);
        respond(header, VRDMA_STATUS_NO_RESOURCE, "the vNIC has all its contexts (max_contexts)",
                {});
        return;
    }
    ++used_[Resource::Contexts];
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        platform::unmap_shared(doorbell->base);
        respond(header, VRDMA_STATUS_NO_RESOURCE, "the service is out of descriptors", {});
        return;
    }
    // Room for the events of a peer that dies with a thousand queue pairs; what is not read beyond
    // is lost and counted.
    constexpr int kEventBytes = 1 << 20;
    if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &kEventBytes, sizeof kEventBytes) != 0) {
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &kEventBytes, sizeof kEventBytes);
    }
    doorbell_ = doorbell->base;
    kick_file_ = std::exchange(received.files[1], -1);
    event_file_ = pair[0];
    Commands::NewContext context{};
    context.vnic = environment_.vnic->index;
    context.doorbell = reinterpret_cast<vrdma_doorbell*>(doorbell_);
    context.event_file = event_file_;
    context.process_id = static_cast<uint32_t>(process_id_);
    context.features = request->features & features();
    std::memcpy(context.program, request->program, sizeof context.program - 1);
    submit(std::make_unique<OpenJob>(shared_from_this(), header, *request, context, pair[1]));
}

std::optional<Connection::Refused> Connection::attach(const vrdma_command_header& header,
                                                      Received& received, Attachment& attachment) {
    const auto invalid = [](const char* reason) { return Refused{VRDMA_STATUS_INVALID, reason}; };
    if (header.opcode == VRDMA_CMD_OPEN_XRCD && !received.files.empty()) {
        return attach_xrc_file(received, attachment);
    }
    if (header.opcode == VRDMA_CMD_CREATE_CHANNEL) {
        if (received.files.size() != 1 || !platform::is_private_socket(received.files[0])) {
            return invalid("a channel needs one end of a socketpair of AF_UNIX, SOCK_SEQPACKET");
        }
        attachment.file = std::exchange(received.files[0], -1);
        return std::nullopt;
    }
    if (header.opcode != VRDMA_CMD_ADD_REGION) {
        return std::nullopt;
    }
    const auto request =
        read_body<vrdma_cmd_add_region>(std::span(received.message).subspan(kBody));
    if (!request || received.files.size() != 1) {
        return invalid("a region needs its body and one descriptor");
    }
    const bool writable = (request->flags & VRDMA_REGION_WRITABLE) != 0;
    const auto mapping =
        platform::map_shared(received.files[0], request->offset, request->length, writable, false);
    if (!mapping) {
        return invalid(mapping.error());
    }
    attachment.base = mapping->base;
    attachment.broken = mapping->broken;
    attachment.may_shrink = mapping->may_shrink;
    return std::nullopt;
}

std::optional<Connection::Refused> Connection::attach_xrc_file(Received& received,
                                                               Attachment& attachment) {
    const std::optional<platform::FileIdentity> identity =
        received.files.size() == 1 ? platform::identity_of(received.files[0]) : std::nullopt;
    if (!identity) {
        return Refused{VRDMA_STATUS_INVALID,
                       "an XRC domain has one file, and its inode must be known to the service"};
    }
    if (!environment_.vnic->xrc_files.claim(*identity, environment_.worker_index)) {
        warn("an XRC domain is shared by programs on two workers: set placement = \"network\"");
        return Refused{VRDMA_STATUS_UNSUPPORTED,
                       "the file's XRC domain is on another worker (the service's placement)"};
    }
    new_xrc_file_ = XrcFile{*identity, std::exchange(received.files[0], -1)};
    attachment.has_inode = true;
    attachment.device = identity->device;
    attachment.inode = identity->inode;
    return std::nullopt;
}

void Connection::settle_xrc_file(const vrdma_command_header& header, uint32_t named, bool succeeded,
                                 uint32_t made) {
    if (header.opcode == VRDMA_CMD_OPEN_XRCD && new_xrc_file_) {
        if (succeeded) {
            xrc_files_.emplace(made, *new_xrc_file_);
        } else {
            forget_xrc_file(*new_xrc_file_);
        }
        new_xrc_file_.reset();
        return;
    }
    const auto found = xrc_files_.find(named);
    if (header.opcode == VRDMA_CMD_CLOSE_XRCD && succeeded && found != xrc_files_.end()) {
        forget_xrc_file(found->second);
        xrc_files_.erase(found);
    }
}

void Connection::forget_xrc_file(const XrcFile& file) {
    environment_.vnic->xrc_files.release(file.identity);
    environment_.vnic->aside.close_all({file.file});
}

Connection::Charge Connection::charge_of(const vrdma_command_header& header,
                                         const std::vector<std::byte>& message) const {
    const auto takes = [](Resource resource) {
        Charge charge{Charge::Kind::Takes, {}, resource, 0};
        charge.amounts[resource] = 1;
        return charge;
    };
    const auto frees = [&message](Resource resource) {
        return Charge{Charge::Kind::Frees, {}, resource, field<uint32_t>(message, kBody)};
    };
    switch (header.opcode) {
        case VRDMA_CMD_ALLOC_PD:
            return takes(Resource::Pds);
        case VRDMA_CMD_DEALLOC_PD:
            return frees(Resource::Pds);
        case VRDMA_CMD_ADD_REGION: {
            Charge charge = takes(Resource::Regions);
            const auto request = field<vrdma_cmd_add_region>(message, kBody);
            const bool process = request.kind == VRDMA_REGION_PROCESS;
            charge.amounts[Resource::Files] = process ? 1 : 0;
            charge.amounts[Resource::RegionBytes] = process ? 0 : request.length;
            return charge;
        }
        case VRDMA_CMD_REMOVE_REGION:
            return frees(Resource::Regions);
        case VRDMA_CMD_REG_MR: {
            Charge charge = takes(Resource::Mrs);
            const auto request = field<vrdma_cmd_reg_mr>(message, kBody);
            charge.amounts[Resource::MrBytes] = request.length;
            charge.amounts[Resource::MrPieces] = std::max(request.range_count, 1U) - 1;
            return charge;
        }
        case VRDMA_CMD_DEREG_MR:
            return frees(Resource::Mrs);
        case VRDMA_CMD_ALLOC_MW:
            return takes(Resource::Mws);
        case VRDMA_CMD_DEALLOC_MW:
            return frees(Resource::Mws);
        case VRDMA_CMD_CREATE_CHANNEL:
            return takes(Resource::Files);
        case VRDMA_CMD_DESTROY_CHANNEL:
            return frees(Resource::Files);
        case VRDMA_CMD_CREATE_CQ:
            return takes(Resource::Cqs);
        case VRDMA_CMD_DESTROY_CQ:
            return frees(Resource::Cqs);
        case VRDMA_CMD_OPEN_XRCD: {
            Charge charge = takes(Resource::Xrcds);
            charge.amounts[Resource::Files] = 1;
            return charge;
        }
        case VRDMA_CMD_CLOSE_XRCD:
            return frees(Resource::Xrcds);
        case VRDMA_CMD_CREATE_SRQ:
        case VRDMA_CMD_CREATE_XRC_SRQ:
            return takes(Resource::Srqs);
        case VRDMA_CMD_DESTROY_SRQ:
            return frees(Resource::Srqs);
        case VRDMA_CMD_CREATE_QP:
        case VRDMA_CMD_CREATE_XRC_TARGET:
        case VRDMA_CMD_OPEN_XRC_TARGET:  // it may be the last that keeps the target
            return takes(Resource::Qps);
        case VRDMA_CMD_DESTROY_QP:
            return frees(Resource::Qps);
        default:
            return {};
    }
}

std::optional<Resource> Connection::take(const Charge& charge) {
    if (charge.kind != Charge::Kind::Takes) {
        return std::nullopt;
    }
    Quota& quota = environment_.vnic->quota;
    for (size_t i = 0; i < charge.amounts.of.size(); ++i) {
        const auto resource = static_cast<Resource>(i);
        if (!quota.take(resource, charge.amounts[resource])) {
            while (i-- > 0) {
                quota.give_back(static_cast<Resource>(i), charge.amounts.of[i]);
            }
            return resource;
        }
    }
    for (size_t i = 0; i < charge.amounts.of.size(); ++i) {
        used_.of[i] += charge.amounts.of[i];
    }
    return std::nullopt;
}

void Connection::give_back(const ResourceCounts& amounts) {
    environment_.vnic->quota.give_back(amounts);
    for (size_t i = 0; i < amounts.of.size(); ++i) {
        used_.of[i] -= amounts.of[i];
    }
}

void Connection::settle(const Charge& charge, bool succeeded, uint32_t handle) {
    const auto name = [&charge](uint32_t object) {
        return static_cast<uint64_t>(charge.resource) << 32 | object;
    };
    const bool has_extent = charge.resource == Resource::Mrs ||
                            charge.resource == Resource::Regions ||
                            charge.resource == Resource::Xrcds;
    if (charge.kind == Charge::Kind::Takes) {
        if (!succeeded) {
            give_back(charge.amounts);
        } else if (has_extent) {
            charged_[name(handle)] = charge.amounts;
        }
        return;
    }
    if (charge.kind == Charge::Kind::None || !succeeded) {
        return;
    }
    ResourceCounts amounts;
    amounts[charge.resource] = 1;
    if (has_extent) {
        const auto known = charged_.find(name(charge.handle));
        VR_CHECK(known != charged_.end());
        amounts = known->second;
        charged_.erase(known);
    }
    give_back(amounts);
}

void Connection::command(const vrdma_command_header& header, Received& received) {
    const bool process_region =
        header.opcode == VRDMA_CMD_ADD_REGION &&
        field<vrdma_cmd_add_region>(received.message, kBody).kind == VRDMA_REGION_PROCESS;
    if (process_region && !environment_.vnic->process_memory) {
        respond(header, VRDMA_STATUS_UNSUPPORTED,
                fmt::format("vNIC {} refuses memory reached through the process "
                            "(process_memory = false)",
                            environment_.vnic->name),
                {});
        return;
    }
    const Charge charge = charge_of(header, received.message);
    if (const std::optional<Resource> full = take(charge)) {
        respond(header, VRDMA_STATUS_NO_RESOURCE,
                fmt::format("vNIC {} has used up its {}", environment_.vnic->name,
                            resource_name(*full)),
                {});
        return;
    }
    if (process_region && received.files.size() == 1) {
        check_process_memory(header, received, charge);
        return;
    }
    Attachment attachment;
    if (const std::optional<Refused> bad = attach(header, received, attachment)) {
        settle(charge, false, 0);
        respond(header, bad->status, bad->reason, {});
        return;
    }
    submit(std::make_unique<CommandJob>(shared_from_this(), header, std::move(received.message),
                                        attachment, charge));
}

void Connection::check_process_memory(const vrdma_command_header& header, Received& received,
                                      const Charge& charge) {
    const int file = std::exchange(received.files[0], -1);
    const uint32_t number = ++checks_;
    const bool started = environment_.vnic->aside.run(
        [file, number, weak = weak_from_this(), mailbox = environment_.mailbox] {
            const bool good = platform::is_process_memory(file);
            if (!good) {
                close(file);  // this may be what waits
            }
            mailbox->post([weak, number, good, file] {
                if (const auto self = weak.lock()) {
                    self->process_memory_checked(number, good, file);
                } else if (good) {
                    close(file);
                }
            });
        });
    if (!started) {
        received.files[0] = file;
        settle(charge, false, 0);
        respond(header, VRDMA_STATUS_NO_RESOURCE, "the service is out of threads", {});
        return;
    }
    busy_ = true;
    check_ = Check{number, header, std::move(received.message), charge};
    socket_.async_wait(boost::asio::posix::stream_descriptor::wait_error,
                       [self = shared_from_this(), number](const boost::system::error_code& error) {
                           if (!error && self->check_ && self->check_->number == number) {
                               self->end();
                           }
                       });
}

void Connection::process_memory_checked(uint32_t number, bool good, int file) {
    if (!check_ || check_->number != number) {
        if (good) {
            close(file);
        }
        return;
    }
    socket_.cancel();
    Check check = std::move(*check_);
    check_.reset();
    if (!good) {
        settle(check.charge, false, 0);
        respond(check.header, VRDMA_STATUS_INVALID,
                "a process region needs /proc/self/mem, open for reading and writing", {});
        busy_ = false;
        resume();
        return;
    }
    Attachment attachment;
    attachment.file = file;
    submit(std::make_unique<CommandJob>(shared_from_this(), check.header, std::move(check.message),
                                        attachment, check.charge));
}

void Connection::submit(std::unique_ptr<platform::Job> job) {
    busy_ = true;
    while (!environment_.worker.submit(job)) {
        environment_.worker.finish_jobs();
    }
}

void Connection::respond(const vrdma_command_header& header, vrdma_status status,
                         std::string_view reason, std::span<const std::byte> body,
                         std::span<const int> files) {
    vrdma_response_header response{};
    response.opcode = header.opcode;
    response.status = static_cast<uint16_t>(status);
    response.length = static_cast<uint32_t>(sizeof response + body.size());
    response.tag = header.tag;
    std::memcpy(response.reason, reason.data(),
                std::min(reason.size(), sizeof response.reason - 1));
    std::array<iovec, 2> parts{iovec{&response, sizeof response},
                               iovec{const_cast<std::byte*>(body.data()), body.size()}};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (!files.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(files.size_bytes());
        cmsghdr* part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(files.size_bytes());
        std::memcpy(CMSG_DATA(part), files.data(), files.size_bytes());
    }
    if (!ending_ && sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        end();  // it is gone, or does not read its answers
    }
}

void Connection::resume() {
    if (ending_) {
        tear_down();
    } else {
        wait();
    }
}

void Connection::shut_down(bool announce) {
    if (announce && event_file_ >= 0 && !ending_) {
        const vrdma_event event{VRDMA_EVENT_DEVICE_FATAL, 0, 0};
        [[maybe_unused]] const ssize_t sent =
            send(event_file_, &event, sizeof event, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    end();
}

void Connection::end() {
    if (ending_) {
        return;
    }
    ending_ = true;
    socket_.cancel();
    if (check_) {  // it may never come back
        check_.reset();
        busy_ = false;
    }
    if (!busy_) {
        tear_down();
    }
}

void Connection::tear_down() {
    if (context_) {
        event_file_ = -1;  // the shard closes it
        environment_.worker.forget(kick_file_);
        submit(std::make_unique<TeardownJob>(shared_from_this()));
        return;
    }
    boost::system::error_code ignored;
    socket_.close(ignored);
    std::vector<int> files;  // together: one thread closes them all
    for (const auto& [handle, file] : xrc_files_) {
        environment_.vnic->xrc_files.release(file.identity);
        files.push_back(file.file);
    }
    environment_.vnic->aside.close_all(files);
    xrc_files_.clear();
    environment_.vnic->quota.give_back(used_);
    used_ = ResourceCounts{};
    environment_.gone(shared_from_this());
}

}  // namespace vrdma::app
