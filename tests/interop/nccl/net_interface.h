#pragma once

// The functions of a network transport of NCCL, as its plug-in interface publishes them for
// versions 10 (NCCL 2.26, 2.27), 11 (2.28, 2.29) and 12 (from 2.30). NCCL's own transports have the
// same table. Between the versions init, listen and connect changed, and the properties and the
// table grew behind what is declared here.

#include <cstddef>
#include <cstdint>

namespace vrdma::nccl_net {

enum class NcclResult : int {
    kSuccess = 0,
    kUnhandledCudaError = 1,
    kSystemError = 2,
    kInternalError = 3,
    kInvalidArgument = 4,
    kInvalidUsage = 5,
    kRemoteError = 6,
    kInProgress = 7,
};

constexpr std::size_t kHandleBytes = 128;  ///< what listen() makes, for the other side's connect()
constexpr int kPointerHost = 0x1;          ///< kind of memory; also a bit of pointer_support
constexpr int kPointerCuda = 0x2;
constexpr int kPointerDmabuf = 0x4;
/// What all versions begin with.
struct DeviceProperties {
    char* name;
    char* pci_path;
    std::uint64_t guid;
    int pointer_support;
    int registration_is_global;
    int force_flush;
    int speed;  ///< Mb/s
    int port;
    float latency;
    int max_comms;
    int max_receives;
    int net_device_type;
    int net_device_version;
    std::byte rest[192];  ///< for what the library's version has behind that, and to spare
};
static_assert(offsetof(DeviceProperties, rest) == 64);

struct CommConfig {
    int traffic_class;
};

using LogFunction = void (*)(int level, unsigned long flags, const char* file, int line,
                             const char* format, ...);
using ProfilerFunction = NcclResult (*)(void**, int, void*, std::int64_t, void*);

using Init10 = NcclResult (*)(LogFunction, ProfilerFunction);
using Init11 = NcclResult (*)(void** context, std::uint64_t comm_id, CommConfig*, LogFunction,
                              ProfilerFunction);
using Listen10 = NcclResult (*)(int device, void* handle, void** listen_comm);
using Listen11 = NcclResult (*)(void* context, int device, void* handle, void** listen_comm);
using Connect10 = NcclResult (*)(int device, CommConfig*, void* handle, void** send_comm,
                                 void** device_handle);
using Connect11 = NcclResult (*)(void* context, int device, void* handle, void** send_comm,
                                 void** device_handle);
using AnyFunction = void (*)();

struct NetTable {
    const char* name;
    AnyFunction init;  ///< Init10 or Init11
    NcclResult (*devices)(int* count);
    NcclResult (*get_properties)(int device, DeviceProperties*);
    AnyFunction listen;   ///< Listen10 or Listen11
    AnyFunction connect;  ///< Connect10 or Connect11
    NcclResult (*accept)(void* listen_comm, void** receive_comm, void** device_handle);
    NcclResult (*register_memory)(void* comm, void* data, std::size_t size, int kind,
                                  void** memory);
    NcclResult (*register_dmabuf)(void* comm, void* data, std::size_t size, int kind,
                                  std::uint64_t offset, int fd, void** memory);
    NcclResult (*deregister_memory)(void* comm, void* memory);
    NcclResult (*isend)(void* send_comm, void* data, std::size_t size, int tag, void* memory,
                        void* profiler, void** request);
    NcclResult (*irecv)(void* receive_comm, int count, void** data, std::size_t* sizes, int* tags,
                        void** memories, void** profilers, void** request);
    NcclResult (*iflush)(void* receive_comm, int count, void** data, int* sizes, void** memories,
                         void** request);
    NcclResult (*test)(void* request, int* done, int* sizes);
    NcclResult (*close_send)(void* send_comm);
    NcclResult (*close_receive)(void* receive_comm);
    NcclResult (*close_listen)(void* listen_comm);
    AnyFunction only_for_gpus[3];
    NcclResult (*finalize)(void* context);  ///< the table of version 10 ends before it
};
static_assert(sizeof(NetTable) == 21 * sizeof(AnyFunction));

constexpr std::size_t kTableBytes10 = offsetof(NetTable, finalize);
constexpr std::size_t kTableBytes11 = sizeof(NetTable) + sizeof(AnyFunction);  // and setNetAttr

}  // namespace vrdma::nccl_net
