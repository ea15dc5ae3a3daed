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
               uint64_t attachment_bytes, const Connection::Charge& charge)
        : connection_(std::move(connection)),
          header_(header),
          message_(std::move(message)),
          attachment_(attachment),
          attachment_bytes_(attachment_bytes),
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
            platform::unmap_shared(attachment_.base, attachment_bytes_);
        }
        if (!done && attachment_.file >= 0) {
            close(attachment_.file);
        }
        uint32_t handle = 0;
        std::memcpy(&handle, response_.data(), sizeof handle);
        connection_->settle(charge_, done, handle);
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
    uint64_t attachment_bytes_;
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
            connection.respond(header_, VRDMA_STATUS_OK, "", std::as_bytes(std::span(&response, 1)),
                               tenant_file_);
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
        platform::unmap_shared(doorbell_, sizeof(vrdma_doorbell));
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
        for (const int file : received.files) {
            close(file);
        }
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
        spdlog::warn("malformed command vnic={} pid={} bytes={}: the connection is closed",
                     environment_.vnic->name, process_id_, received.message.size());
        for (const int file : received.files) {
            close(file);
        }
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
    for (const int file : received.files) {
        if (file >= 0) {
            close(file);
        }
    }
}

vrdma_rsp_open Connection::open_response(const vrdma_cmd_open& request) const {
    vrdma_rsp_open response{};
    response.abi_major = VRDMA_ABI_MAJOR;
    response.abi_minor = VRDMA_ABI_MINOR;
    response.features =
        request.features & (VRDMA_FEATURE_PROCESS_MEMORY | VRDMA_FEATURE_PEER_DEATH);
    response.node_guid = environment_.vnic->device.guid;
    response.limits = environment_.vnic->device.limits;
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
        platform::unmap_shared(doorbell->base, sizeof(vrdma_doorbell));
        respond(header, VRDMA_STATUS_INVALID, "the second descriptor must be an eventfd", {});
        return;
    }
    if (!environment_.vnic->quota.take(Resource::Contexts, 1)) {
        platform::unmap_shared(doorbell->base, sizeof(vrdma_doorbell));
        respond(header, VRDMA_STATUS_NO_RESOURCE, "the vNIC has all its contexts (max_contexts)",
                {});
        return;
    }
    ++used_[Resource::Contexts];
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        platform::unmap_shared(doorbell->base, sizeof(vrdma_doorbell));
        respond(header, VRDMA_STATUS_NO_RESOURCE, "the service is out of descriptors", {});
        return;
    }
    doorbell_ = doorbell->base;
    kick_file_ = std::exchange(received.files[1], -1);
    event_file_ = pair[0];
    Commands::NewContext context{};
    context.vnic = environment_.vnic->index;
    context.doorbell = reinterpret_cast<vrdma_doorbell*>(doorbell_);
    context.event_file = event_file_;
    context.process_id = static_cast<uint32_t>(process_id_);
    context.features = request->features;
    std::memcpy(context.program, request->program, sizeof context.program - 1);
    submit(std::make_unique<OpenJob>(shared_from_this(), header, *request, context, pair[1]));
}

std::optional<std::string> Connection::attach(const vrdma_command_header& header,
                                              Received& received, Attachment& attachment) {
    if (header.opcode == VRDMA_CMD_CREATE_CHANNEL) {
        if (received.files.size() != 1 || !platform::is_local_socket(received.files[0])) {
            return "a channel needs one unix socket";
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
        return "a region needs its body and one descriptor";
    }
    if (request->kind == VRDMA_REGION_PROCESS) {
        if (!platform::is_process_memory(received.files[0])) {
            return "a process region needs /proc/self/mem, open for reading and writing";
        }
        attachment.file = std::exchange(received.files[0], -1);
        return std::nullopt;
    }
    const bool writable = (request->flags & VRDMA_REGION_WRITABLE) != 0;
    const auto mapping =
        platform::map_shared(received.files[0], request->offset, request->length, writable, false);
    if (!mapping) {
        return mapping.error();
    }
    attachment.base = mapping->base;
    attachment.broken = mapping->broken;
    return std::nullopt;
}

Connection::Charge Connection::charge_of(const vrdma_command_header& header,
                                         const std::vector<std::byte>& message) const {
    const auto handle = field<uint32_t>(message, kBody);
    switch (header.opcode) {
        case VRDMA_CMD_ALLOC_PD:
            return {Resource::Pds, 0, false, 0};
        case VRDMA_CMD_DEALLOC_PD:
            return {Resource::Pds, 0, true, 0};
        case VRDMA_CMD_REG_MR:
            return {Resource::Mrs,
                    field<uint64_t>(message, kBody + offsetof(vrdma_cmd_reg_mr, length)), false, 0};
        case VRDMA_CMD_DEREG_MR:
            return {Resource::Mrs, 0, true, handle};
        case VRDMA_CMD_CREATE_CQ:
            return {Resource::Cqs, 0, false, 0};
        case VRDMA_CMD_DESTROY_CQ:
            return {Resource::Cqs, 0, true, 0};
        case VRDMA_CMD_CREATE_SRQ:
            return {Resource::Srqs, 0, false, 0};
        case VRDMA_CMD_DESTROY_SRQ:
            return {Resource::Srqs, 0, true, 0};
        case VRDMA_CMD_CREATE_QP:
            return {Resource::Qps, 0, false, 0};
        case VRDMA_CMD_DESTROY_QP:
            return {Resource::Qps, 0, true, 0};
        default:
            return {};
    }
}

bool Connection::take(const Charge& charge) {
    if (!charge.resource || charge.frees) {
        return true;
    }
    Quota& quota = environment_.vnic->quota;
    if (!quota.take(*charge.resource, 1)) {
        return false;
    }
    if (!quota.take(Resource::MrBytes, charge.bytes)) {
        quota.give_back(*charge.resource, 1);
        return false;
    }
    ++used_[*charge.resource];
    used_[Resource::MrBytes] += charge.bytes;
    return true;
}

void Connection::settle(const Charge& charge, bool succeeded, uint32_t handle) {
    if (!charge.resource || (charge.frees && !succeeded)) {
        return;
    }
    if (!charge.frees && succeeded) {
        if (*charge.resource == Resource::Mrs) {
            mr_bytes_[handle] = charge.bytes;
        }
        return;
    }
    uint64_t bytes = charge.bytes;
    if (charge.frees && *charge.resource == Resource::Mrs) {
        const auto known = mr_bytes_.find(charge.mr);
        bytes = known == mr_bytes_.end() ? 0 : known->second;
        mr_bytes_.erase(charge.mr);
    }
    environment_.vnic->quota.give_back(*charge.resource, 1);
    environment_.vnic->quota.give_back(Resource::MrBytes, bytes);
    --used_[*charge.resource];
    used_[Resource::MrBytes] -= bytes;
}

void Connection::command(const vrdma_command_header& header, Received& received) {
    Attachment attachment;
    if (const std::optional<std::string> bad = attach(header, received, attachment)) {
        respond(header, VRDMA_STATUS_INVALID, *bad, {});
        return;
    }
    const Charge charge = charge_of(header, received.message);
    if (!take(charge)) {
        respond(header, VRDMA_STATUS_NO_RESOURCE,
                fmt::format("the quota of vNIC {} is used up: {}", environment_.vnic->name,
                            resource_name(*charge.resource)),
                {});
        return;
    }
    const uint64_t region_bytes =
        attachment.base == nullptr
            ? 0
            : field<uint64_t>(received.message, kBody + offsetof(vrdma_cmd_add_region, length));
    submit(std::make_unique<CommandJob>(shared_from_this(), header, std::move(received.message),
                                        attachment, region_bytes, charge));
}

void Connection::submit(std::unique_ptr<platform::Job> job) {
    busy_ = true;
    while (!environment_.worker.submit(job)) {
        environment_.worker.finish_jobs();
    }
}

void Connection::respond(const vrdma_command_header& header, vrdma_status status,
                         std::string_view reason, std::span<const std::byte> body, int file) {
    vrdma_response_header response{};
    response.opcode = header.opcode;
    response.status = static_cast<uint16_t>(status);
    response.length = static_cast<uint32_t>(sizeof response + body.size());
    response.tag = header.tag;
    std::memcpy(response.reason, reason.data(),
                std::min(reason.size(), sizeof response.reason - 1));
    std::array<iovec, 2> parts{iovec{&response, sizeof response},
                               iovec{const_cast<std::byte*>(body.data()), body.size()}};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (file >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(part), &file, sizeof file);
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
    environment_.vnic->quota.give_back(used_);
    used_ = ResourceCounts{};
    environment_.gone(shared_from_this());
}

}  // namespace vrdma::app
