// The calls whose parameters depend on the version are the only ones that look at it. A table entry
// that a version does not have is never called.
#include "tests/interop/nccl/transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

namespace vrdma::nccl_net {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

namespace {

constexpr int kTrafficClassUndefined = -1;
constexpr int kLogWarning = 2;

// The transports inside the library use its own log (NCCL_DEBUG); this one is for plug-ins.
void log(int level, unsigned long /*flags*/, const char* file, int line, const char* format, ...) {
    if (level > kLogWarning) {
        return;
    }
    std::fprintf(stderr, "%s:%d ", file, line);
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
}

tl::unexpected<verbs_util::Error> failed(const char* call, NcclResult result) {
    return fail(ErrorKind::kTransfer, fmt::format("{} returned {}", call, to_string(result)));
}

Result<void> checked(const char* call, NcclResult result) {
    if (result != NcclResult::kSuccess) {
        return failed(call, result);
    }
    return {};
}

}  // namespace

const char* to_string(NcclResult result) {
    switch (result) {
        case NcclResult::kSuccess:
            return "ncclSuccess";
        case NcclResult::kUnhandledCudaError:
            return "ncclUnhandledCudaError";
        case NcclResult::kSystemError:
            return "ncclSystemError";
        case NcclResult::kInternalError:
            return "ncclInternalError";
        case NcclResult::kInvalidArgument:
            return "ncclInvalidArgument";
        case NcclResult::kInvalidUsage:
            return "ncclInvalidUsage";
        case NcclResult::kRemoteError:
            return "ncclRemoteError";
        case NcclResult::kInProgress:
            return "ncclInProgress";
    }
    return "a result that is not declared";
}

Result<Transport> Transport::open(const Library& library, const std::string& symbol) {
    const auto table = library.transport(symbol);
    if (!table) {
        return tl::make_unexpected(table.error());
    }
    Transport transport(*table, library.interface_version());
    if (auto done = transport.init(); !done) {
        return tl::make_unexpected(done.error());
    }
    if (transport.devices_ < 1) {
        return fail(ErrorKind::kNoDevice,
                    fmt::format("NCCL's transport {} finds no device", transport.name()),
                    "NCCL_DEBUG=INFO tells why");
    }
    return transport;
}

Result<void> Transport::init() {
    CommConfig config{kTrafficClassUndefined};
    const NcclResult result =
        interface_version_ == 10
            ? reinterpret_cast<Init10>(table_->init)(&log, nullptr)
            : reinterpret_cast<Init11>(table_->init)(&context_, 1, &config, &log, nullptr);
    if (result != NcclResult::kSuccess) {
        return fail(ErrorKind::kNoDevice,
                    fmt::format("init of {} returned {}", table_->name, to_string(result)),
                    "NCCL_DEBUG=INFO tells why");
    }
    return checked("devices", table_->devices(&devices_));
}

Result<DeviceProperties> Transport::properties(int device) const {
    DeviceProperties properties{};
    const NcclResult result = table_->get_properties(device, &properties);
    if (result != NcclResult::kSuccess) {
        return failed("getProperties", result);
    }
    return properties;
}

Result<Transport::Listening> Transport::listen(int device) const {
    Listening listening{.handle = std::vector<std::uint8_t>(kHandleBytes), .comm = nullptr};
    const NcclResult result = interface_version_ == 10
                                  ? reinterpret_cast<Listen10>(table_->listen)(
                                        device, listening.handle.data(), &listening.comm)
                                  : reinterpret_cast<Listen11>(table_->listen)(
                                        context_, device, listening.handle.data(), &listening.comm);
    if (result != NcclResult::kSuccess) {
        return failed("listen", result);
    }
    return listening;
}

Result<void*> Transport::connect(int device, std::vector<std::uint8_t>& handle) const {
    CommConfig config{kTrafficClassUndefined};
    void* comm = nullptr;
    void* device_handle = nullptr;
    const NcclResult result = interface_version_ == 10
                                  ? reinterpret_cast<Connect10>(table_->connect)(
                                        device, &config, handle.data(), &comm, &device_handle)
                                  : reinterpret_cast<Connect11>(table_->connect)(
                                        context_, device, handle.data(), &comm, &device_handle);
    if (result != NcclResult::kSuccess) {
        return failed("connect", result);
    }
    return comm;
}

Result<void*> Transport::accept(void* listen_comm) const {
    void* comm = nullptr;
    void* device_handle = nullptr;
    const NcclResult result = table_->accept(listen_comm, &comm, &device_handle);
    if (result != NcclResult::kSuccess) {
        return failed("accept", result);
    }
    return comm;
}

Result<void*> Transport::register_memory(void* comm, void* data, std::size_t size) const {
    void* memory = nullptr;
    const NcclResult result = table_->register_memory(comm, data, size, kPointerHost, &memory);
    if (result != NcclResult::kSuccess) {
        return failed("regMr", result);
    }
    return memory;
}

Result<void> Transport::deregister_memory(void* comm, void* memory) const {
    return checked("deregMr", table_->deregister_memory(comm, memory));
}

Result<void*> Transport::isend(void* comm, const void* data, std::size_t size, int tag,
                               void* memory) const {
    void* request = nullptr;
    const NcclResult result =
        table_->isend(comm, const_cast<void*>(data), size, tag, memory, nullptr, &request);
    if (result != NcclResult::kSuccess) {
        return failed("isend", result);
    }
    return request;
}

namespace {

struct Arrays {
    explicit Arrays(std::span<const Receive> receives) {
        for (std::size_t i = 0; i < receives.size() && i < kMaxGroup; ++i) {
            data[i] = receives[i].data;
            sizes[i] = receives[i].size;
            tags[i] = receives[i].tag;
            memories[i] = receives[i].memory;
        }
    }
    std::array<void*, kMaxGroup> data{};
    std::array<std::size_t, kMaxGroup> sizes{};
    std::array<int, kMaxGroup> tags{};
    std::array<void*, kMaxGroup> memories{};
    std::array<void*, kMaxGroup> profilers{};
};

}  // namespace

Result<void*> Transport::irecv(void* comm, std::span<const Receive> receives) const {
    Arrays arrays(receives);
    void* request = nullptr;
    const NcclResult result = table_->irecv(
        comm, static_cast<int>(receives.size()), arrays.data.data(), arrays.sizes.data(),
        arrays.tags.data(), arrays.memories.data(), arrays.profilers.data(), &request);
    if (result != NcclResult::kSuccess) {
        return failed("irecv", result);
    }
    return request;
}

Result<void*> Transport::iflush(void* comm, std::span<const Receive> receives,
                                std::span<const int> sizes) const {
    Arrays arrays(receives);
    std::array<int, kMaxGroup> received{};
    std::copy_n(sizes.begin(), std::min(sizes.size(), kMaxGroup), received.begin());
    void* request = nullptr;
    const NcclResult result =
        table_->iflush(comm, static_cast<int>(receives.size()), arrays.data.data(), received.data(),
                       arrays.memories.data(), &request);
    if (result != NcclResult::kSuccess) {
        return failed("iflush", result);
    }
    return request;
}

Result<bool> Transport::test(void* request, std::span<int> sizes) const {
    int done = 0;
    const NcclResult result = table_->test(request, &done, sizes.empty() ? nullptr : sizes.data());
    if (result != NcclResult::kSuccess) {
        return failed("test", result);
    }
    return done != 0;
}

Result<void> Transport::close_send(void* comm) const {
    return checked("closeSend", table_->close_send(comm));
}

Result<void> Transport::close_receive(void* comm) const {
    return checked("closeRecv", table_->close_receive(comm));
}

Result<void> Transport::close_listen(void* comm) const {
    return checked("closeListen", table_->close_listen(comm));
}

Result<void> Transport::finalize() const {
    return interface_version_ == 10 ? Result<void>()
                                    : checked("finalize", table_->finalize(context_));
}

}  // namespace vrdma::nccl_net
