#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/control/address.h"
#include "dataplane/control/configuration.h"

/// What the control API can see and do, without knowing how the service is built. dataplane/app
/// implements ServiceModel; the tests implement a fake one. Everything in the result structs is a
/// copy: nothing here points into the service.
namespace vrdma::control {

enum class WorkerState : std::uint8_t { kSpinning, kAsleep };

struct WorkerInfo {
    std::uint32_t id{};
    std::optional<std::uint32_t> cpu;  ///< the core it is pinned to; absent: not pinned
    WorkerState state{};
    std::uint64_t turns{};       ///< passes over the active contexts
    std::uint64_t operations{};  ///< work requests executed
    std::uint64_t bytes{};       ///< payload copied
    std::uint64_t sleeps{};
    std::uint64_t kicks{};  ///< wake-ups by a tenant's eventfd
    std::uint64_t contexts{};
    std::uint64_t qps{};
};

/// A fixed supply of one kind of object.
struct PoolInfo {
    std::string name;  ///< "qps", "mrs", ...: [a-z_]+
    std::uint64_t in_use{};
    std::uint64_t size{};
};

struct ServiceStatus {
    std::string version;
    std::int64_t pid{};
    std::chrono::seconds uptime{};
    std::string eal_mode;  ///< one line for the operator: "no huge pages, 64 MiB", ...
    WorkerMode mode{};
    std::string runtime_dir;
    bool system_view{};  ///< the vNICs show up in the host's own /sys/class
    std::vector<WorkerInfo> workers;
    std::vector<PoolInfo> pools;
    std::uint64_t arena_bytes{};  ///< memory of the arena that survives a restart
    std::uint64_t vnics{};
};

enum class LinkState : std::uint8_t { kDown, kUp };

struct VnicInfo {
    VnicConfig config;
    std::uint32_t network_id{};
    std::vector<Gid> gids;
    std::string system_device;  ///< name in the system view ("vrdma3"); empty: not in it
    LinkState state{};
    std::uint32_t active_mtu{};  ///< bytes, as ibv_query_port() says
    std::string socket_path;
    std::vector<std::int64_t>
        pids;  ///< processes attached, as the service's pid namespace sees them
    std::uint64_t contexts{};
    std::uint64_t pds{};
    std::uint64_t mrs{};
    std::uint64_t cqs{};
    std::uint64_t qps{};
    std::uint64_t srqs{};
    std::uint64_t mr_bytes{};  ///< registered, sum over all memory regions
};

/// Where the peer of a queue pair is.
enum class PathKind : std::uint8_t {
    kNone,          ///< not connected (below RTR, or a UD queue pair)
    kSameWorker,    ///< on this host, served by the same worker: one copy
    kOtherWorker,   ///< on this host, served by another worker: one copy and a message
    kVrdmaPeer,     ///< on another host, which speaks SACK
    kStandardPeer,  ///< on another host, as RoCEv2 is specified
};

/// A ring as the device sees it; free-running counters, in flight = producer - consumer.
struct RingInfo {
    std::uint32_t entries{};
    std::uint32_t producer{};
    std::uint32_t consumer{};
};

/// What ibv_query_qp() reports, in the verbs' own numbers (enum ibv_qp_state and so on).
struct QpAttributes {
    std::uint32_t type{};           ///< enum ibv_qp_type
    std::uint32_t state{};          ///< enum ibv_qp_state
    std::uint32_t current_state{};  ///< enum ibv_qp_state
    std::uint32_t path_mtu{};       ///< enum ibv_mtu
    std::uint32_t path_mig_state{};
    std::uint32_t qkey{};
    std::uint32_t rq_psn{};
    std::uint32_t sq_psn{};
    std::uint32_t dest_qpn{};
    std::uint32_t access{};  ///< enum ibv_access_flags
    std::uint32_t max_send_wr{};
    std::uint32_t max_recv_wr{};
    std::uint32_t max_send_sge{};
    std::uint32_t max_recv_sge{};
    std::uint32_t max_inline{};
    Gid dest_gid;
    std::uint32_t flow_label{};
    std::uint32_t sgid_index{};
    std::uint32_t hop_limit{};
    std::uint32_t traffic_class{};
    std::uint32_t sl{};
    std::uint32_t port{};
    std::uint32_t pkey_index{};
    std::uint32_t max_rd_atomic{};
    std::uint32_t max_dest_rd_atomic{};
    std::uint32_t min_rnr_timer{};
    std::uint32_t timeout{};
    std::uint32_t retry_count{};
    std::uint32_t rnr_retry{};
    bool sq_draining{};
    bool signal_all{};
};

enum class CounterKind : std::uint8_t {
    kCounter,  ///< only grows
    kGauge,    ///< goes up and down
};

struct Counter {
    std::string name;  ///< [a-z][a-z0-9_]*, without prefix: "send_operations"
    std::uint64_t value{};
    std::string help;  ///< one sentence: what it counts
    CounterKind kind = CounterKind::kCounter;
};

struct QpInfo {
    std::uint32_t qpn{};
    std::string vnic;
    std::int64_t pid{};
    std::uint32_t worker{};
    PathKind path{};
    std::string path_reason;  ///< why, for a peer on another host; else empty
    QpAttributes attributes;
    std::uint32_t pd{};
    std::uint32_t send_cq{};
    std::uint32_t recv_cq{};
    std::optional<std::uint32_t> srq;
    RingInfo sq;
    RingInfo rq;                       ///< all zero with an SRQ
    std::uint32_t retries_left{};      ///< of attributes.retry_count
    std::uint32_t rnr_retries_left{};  ///< of attributes.rnr_retry
    std::uint32_t last_reason{};       ///< enum vrdma_reason of the last failed work request
    std::vector<Counter> counters;     ///< of this queue pair
};

struct MrInfo {
    std::string vnic;
    std::int64_t pid{};
    std::uint32_t lkey{};  ///< the API shows only its upper half: a key opens memory
    std::uint32_t pd{};
    std::uint64_t iova{};
    std::uint64_t length{};
    std::uint32_t access{};  ///< enum ibv_access_flags
    std::uint64_t shared_bytes{};
    std::uint64_t adopted_bytes{};
    std::uint64_t process_bytes{};
    std::string reason;  ///< why some bytes are not reachable the fast way; empty if all are
};

struct VnicCounters {
    std::string vnic;
    std::string network;
    std::vector<Counter> counters;
};

struct Counters {
    std::vector<Counter> service;  ///< empty when one vNIC was asked for
    std::vector<VnicCounters> vnics;
};

enum class PortState : std::uint8_t {
    kAbsent,   ///< its device is not there; tried again
    kWaiting,  ///< its device is there, the other side is not; tried again
    kDown,     ///< attached, the link is down
    kUp,
};

enum class NeighbourState : std::uint8_t {
    kUnknown,
    kResolving,
    kReachable,
    kStale,  ///< answered long ago; asked again when it is used
    kUnreachable,
};

struct NeighbourInfo {
    Gid address;  ///< IPv4 as ::ffff:a.b.c.d
    MacAddress mac;
    NeighbourState state{};
    std::uint64_t users{};  ///< queue pairs that send there
};

enum class FaultDirection : std::uint8_t { kBoth, kSend, kReceive };

/// What a port does to frames on purpose. Shares are in billionths.
struct PortFaults {
    std::uint32_t drop{};
    std::uint32_t duplicate{};
    std::uint32_t corrupt{};
    std::uint32_t mark{};
    std::uint32_t reorder{};  ///< a frame that is held back is overtaken by up to so many; 0: none
    std::uint32_t reorder_share = 10'000'000;
    std::chrono::nanoseconds delay{};
    std::chrono::nanoseconds jitter{};
    std::uint64_t seed = 1;
    FaultDirection direction = FaultDirection::kBoth;
};

/// What of a port's frames is to be recorded.
struct CaptureRequest {
    std::uint32_t snap_length = 65536;   ///< bytes kept of each
    std::optional<std::uint64_t> count;  ///< ends after so many
    std::optional<std::uint32_t> qpn;    ///< only RoCEv2 packets of this queue pair,
    std::optional<Gid> peer;             ///< only IP and ARP to and from this address; not both
};

struct CaptureInfo {
    std::uint32_t id{};  ///< of this capture; the next one has another
    std::uint32_t snap_length{};
    bool running{};            ///< more is recorded
    std::uint64_t captured{};  ///< packets fetched by the client
    std::uint64_t missed{};    ///< packets that found no room until then
    std::uint64_t memory{};    ///< bytes that hold what was not fetched yet
};

/// The next bytes of a pcapng file, whole blocks.
struct CapturePiece {
    std::string bytes;
    bool over{};  ///< nothing follows, and `bytes` is empty
};

struct PortInfo {
    PortConfig config;
    std::uint32_t network_id{};
    PortState state{};
    std::string reason;  ///< why it is not up; empty if it is
    std::string driver;  ///< empty while absent
    MacAddress mac;
    std::uint32_t mtu{};
    std::uint32_t queues{};
    bool wakes{};  ///< arriving packets wake sleeping workers
    std::uint64_t attachments{};
    std::uint64_t link_losses{};
    std::uint64_t buffers{};
    std::uint64_t free_buffers{};
    std::optional<PortFaults> faults;    ///< absent: none are injected
    std::optional<CaptureInfo> capture;  ///< absent: none
    std::vector<NeighbourInfo> neighbours;
    std::vector<Counter> counters;
};

/// Which objects a list shall hold.
struct ListFilter {
    std::optional<std::string> vnic;  ///< only of this vNIC
    std::uint32_t limit{};            ///< at most so many; the list says how many there are in all
};

struct QpList {
    std::vector<QpInfo> qps;  ///< ascending qpn; `counters` may be left empty
    std::uint64_t total{};    ///< that match, listed or not
};

struct MrList {
    std::vector<MrInfo> mrs;
    std::uint64_t total{};
};

/// What routers and switches behind a network's port are told of a vNIC's group.
enum class GroupReport : std::uint8_t {
    kNone,        ///< there is no port
    kUnreported,  ///< nothing: nobody is told of such a group (224.0.0.1, ff02::1, ff01::/16)
    kJoining,     ///< the first reports are being sent
    kJoined,
};

/// A multicast group that queue pairs of a vNIC are attached to.
struct GroupInfo {
    std::string network;
    std::uint32_t network_id{};
    Gid group;  ///< IPv4 as ::ffff:a.b.c.d
    std::string vnic;
    std::vector<std::uint32_t> qpns;  ///< ascending
    GroupReport port{};
};

struct GroupList {
    std::vector<GroupInfo> groups;  ///< by network, group and vNIC
    std::uint64_t total{};
};

/// Why the service did not do it.
enum class Refusal : std::uint8_t {
    kNotFound,   ///< no such vNIC, queue pair
    kConflict,   ///< in use, exists already
    kInvalid,    ///< the arguments make no sense
    kExhausted,  ///< a pool or limit is full
    kFailed,     ///< the operating system refused, or our own fault
};

struct ModelError {
    Refusal refusal{};
    std::string error;     ///< what is wrong
    std::string expected;  ///< what would have been right; may be empty
    std::string remedy;    ///< what to do
};

template <class T>
using Outcome = tl::expected<T, ModelError>;

/// Called with the outcome exactly once, on the control thread, before the operation returns or
/// later. Never called after the model is gone.
template <class T>
using Done = std::function<void(Outcome<T>)>;

struct Nothing {};

/// All functions are called on the control thread and return without waiting: what a worker has to
/// answer arrives through `done`.
class ServiceModel {
  public:
    ServiceModel() = default;
    ServiceModel(const ServiceModel&) = delete;
    ServiceModel& operator=(const ServiceModel&) = delete;
    virtual ~ServiceModel() = default;

    /// The configuration in force: the file's, plus and minus the vNICs added and deleted since.
    /// Valid until the next operation.
    [[nodiscard]] virtual const Configuration& configuration() const = 0;

    virtual void status(Done<ServiceStatus> done) = 0;

    /// Ascending by name.
    virtual void vnics(Done<std::vector<VnicInfo>> done) = 0;
    virtual void vnic(std::string_view name, Done<VnicInfo> done) = 0;

    /// `config` has passed parse_vnic_request() against configuration().
    virtual void add_vnic(const VnicConfig& config, Done<VnicInfo> done) = 0;

    /// Refused with kConflict while processes are attached, unless forced: then they lose the
    /// device (IBV_EVENT_DEVICE_FATAL) and their memory regions.
    virtual void delete_vnic(std::string_view name, bool force, Done<Nothing> done) = 0;

    /// Down: the port reports DOWN and every connected queue pair of it fails as if unplugged.
    virtual void set_vnic_state(std::string_view name, LinkState state, Done<VnicInfo> done) = 0;

    /// Ascending by name.
    virtual void ports(Done<std::vector<PortInfo>> done) = 0;

    /// Until changed again or the service ends; nothing: no faults. The port exists.
    virtual void set_port_faults(std::string_view name, const std::optional<PortFaults>& faults,
                                 Done<Nothing> done) = 0;

    /// Records what the port sends and receives until it is stopped, its count is reached or nobody
    /// reads for a while. The port exists. kConflict: it has a capture; kNotFound, kInvalid: the
    /// queue pair does not exist, or none of its packets pass by this port.
    virtual void start_capture(std::string_view port, const CaptureRequest& request,
                               Done<CaptureInfo> done) = 0;
    /// kNotFound if this capture of the port, which exists, is over and gone; also below.
    virtual void read_capture(std::string_view port, std::uint32_t id, Done<CapturePiece> done) = 0;
    /// What was recorded can still be read.
    virtual void stop_capture(std::string_view port, std::uint32_t id, Done<CaptureInfo> done) = 0;
    /// What was not read is lost.
    virtual void end_capture(std::string_view port, std::uint32_t id, Done<CaptureInfo> done) = 0;

    virtual void qps(const ListFilter& filter, Done<QpList> done) = 0;
    virtual void qp(std::uint32_t qpn, Done<QpInfo> done) = 0;
    virtual void mrs(const ListFilter& filter, Done<MrList> done) = 0;
    virtual void groups(const ListFilter& filter, Done<GroupList> done) = 0;
    virtual void counters(std::optional<std::string> vnic, Done<Counters> done) = 0;
};

}  // namespace vrdma::control
