// Start: directories and sockets are made before anything becomes visible; readiness comes last.
// Any failure on the way undoes what was made, because every part cleans up in its destructor.
//
// Shards know vNICs only as table entries; a change is a job for every worker, and what the tenants
// see (tree, sockets) changes around it: appearing after the shards know the vNIC, vanishing before
// they forget it.
#include "dataplane/app/service.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "dataplane/app/group_list.h"
#include "dataplane/app/version.h"
#include "dataplane/control/runtime_directory.h"
#include "dataplane/platform/fault_guard.h"

namespace vrdma::app {
namespace {

using control::ModelError;

std::string vnic_directory(const control::Configuration& configuration, const std::string& name) {
    return configuration.service.runtime_dir + "/vnic/" + name;
}

// The modified EUI-64 of a MAC address (RFC 4291, appendix A).
std::array<uint8_t, 8> eui64(const control::MacAddress& mac) {
    const auto& o = mac.octets;
    return {static_cast<uint8_t>(o[0] ^ 2U), o[1], o[2], 0xff, 0xfe, o[3], o[4], o[5]};
}

std::array<vrdma_gid_entry, VRDMA_GID_TABLE_LENGTH> make_gids(const control::VnicConfig& config) {
    std::array<vrdma_gid_entry, VRDMA_GID_TABLE_LENGTH> gids{};
    const auto interface = eui64(config.mac);
    for (const size_t i : {size_t{0}, size_t{1}}) {
        gids[i].gid[0] = 0xfe;
        gids[i].gid[1] = 0x80;
        std::copy(interface.begin(), interface.end(), gids[i].gid + 8);
    }
    gids[3].gid[10] = gids[3].gid[11] = 0xff;
    std::copy(config.address.octets.begin(), config.address.octets.end(), gids[3].gid + 12);
    return gids;
}

constexpr char kUserfault[] = "/dev/userfaultfd";

// What is scarce for the whole service and not in the configuration: no vNIC gets more than a
// share.
constexpr uint32_t kShares = 4;
constexpr uint32_t kFewestRegions = 64;  // queues need some, too
constexpr uint64_t kQueueBytes = uint64_t{16} << 30;

constexpr uint32_t kMostXrcdsOfVnic = 1024;

ResourceCounts make_limits(const control::VnicQuotas& quotas) {
    ResourceCounts limits;
    limits[Resource::Contexts] = quotas.max_contexts;
    limits[Resource::Pds] = quotas.max_pds;
    limits[Resource::Xrcds] = std::min(quotas.max_pds, kMostXrcdsOfVnic);
    limits[Resource::Mrs] = quotas.max_mrs;
    limits[Resource::Mws] = quotas.max_mrs;  // as many windows as regions
    limits[Resource::Cqs] = quotas.max_cqs;
    limits[Resource::Qps] = quotas.max_qps;
    limits[Resource::Srqs] = quotas.max_srqs;
    limits[Resource::MrBytes] = quotas.max_mr_bytes;
    limits[Resource::MrPieces] = quotas.max_mrs;
    limits[Resource::Regions] =
        std::min(std::max(quotas.max_mrs, kFewestRegions), platform::guard_capacity() / kShares);
    limits[Resource::RegionBytes] =
        quotas.max_mr_bytes + std::min(kQueueBytes, UINT64_MAX - quotas.max_mr_bytes);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    limits[Resource::Files] = files.rlim_cur / kShares;
    return limits;
}

platform::DeviceDescription describe_device(const control::VnicConfig& config, uint32_t network_id,
                                            const std::string& socket_path, bool up) {
    platform::DeviceDescription device;
    device.vnic = config.name;
    device.guid = control::node_guid(network_id, config.address).octets;
    for (const vrdma_gid_entry& gid : make_gids(config)) {
        platform::GidBytes bytes;
        std::copy(std::begin(gid.gid), std::end(gid.gid), bytes.begin());
        device.gids.push_back(bytes);
    }
    device.socket_path = socket_path;
    device.firmware_version = kVersion;
    if (!up) {
        device.port.state = "1: DOWN";
        device.port.phys_state = "3: Disabled";
    }
    return device;
}

std::vector<control::Counter> list(const Counters& counters) {
    std::vector<control::Counter> result;
    for (size_t i = 0; i < kCounterCount; ++i) {
        const CounterText text = counter_text(static_cast<Counter>(i));
        result.push_back({std::string(text.name), counters.value[i], std::string(text.help),
                          control::CounterKind::kCounter});
    }
    for (int i = 1; i < VRDMA_REASON_COUNT; ++i) {
        const CounterText text = reason_text(static_cast<vrdma_reason>(i));
        if (text.name != "unknown") {
            result.push_back({"failed_" + std::string(text.name),
                              counters.failures[static_cast<size_t>(i)],
                              "work requests that failed: " + std::string(text.help),
                              control::CounterKind::kCounter});
        }
    }
    for (size_t i = 1; i < transport::kDropReasonCount; ++i) {
        const auto reason = static_cast<transport::DropReason>(i);
        result.push_back(
            {"wire_dropped_" + std::string(transport::drop_reason_name(reason)),
             counters.wire_drops[i],
             "packets from other hosts: " + std::string(transport::drop_reason_text(reason)),
             control::CounterKind::kCounter});
    }
    return result;
}

void add(Counters& to, const Counters& from) {
    for (size_t i = 0; i < kCounterCount; ++i) {
        to.value[i] += from.value[i];
    }
    for (size_t i = 0; i < to.failures.size(); ++i) {
        to.failures[i] += from.failures[i];
    }
    for (size_t i = 0; i < to.wire_drops.size(); ++i) {
        to.wire_drops[i] += from.wire_drops[i];
    }
}

ModelError not_found(const std::string& what) {
    return {control::Refusal::kNotFound, what, "", "`vrdmactl vnic list` shows what exists"};
}

}  // namespace

Service::Service(boost::asio::io_context& io, control::Configuration configuration)
    : io_(io),
      configuration_(std::move(configuration)),
      jobs_done_(io, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    records_.resize(kMaxVnics);
}

tl::expected<std::unique_ptr<Service>, std::string> Service::start(
    boost::asio::io_context& io, control::Configuration configuration) {
    std::unique_ptr<Service> service(new Service(io, std::move(configuration)));
    if (auto begun = service->begin(); !begun) {
        return tl::unexpected(begun.error());
    }
    return service;
}

tl::expected<void, std::string> Service::begin() {
    const std::string& directory = configuration_.service.runtime_dir;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) {
        return tl::unexpected(fmt::format(
            "cannot make the runtime directory {}: {}; choose another with service.runtime_dir",
            directory, error.message()));
    }
    // The control socket is the lock of the runtime directory: taken before anything is touched.
    control::HttpServerOptions options;
    options.socket_path = control::control_socket_path(directory);
    auto http = control::HttpServer::start(
        io_, options, [this](const control::ApiRequest& request, control::Respond respond) {
            routes_.handle(request, std::move(respond));
        });
    if (!http) {
        return tl::unexpected(http.error().error + "; " + http.error().remedy);
    }
    http_ = std::move(*http);
    owns_directory_ = true;
    chmod(directory.c_str(), 0755);
    std::filesystem::create_directory(directory + "/vnic", error);
    if (error) {
        return tl::unexpected(
            fmt::format("cannot make {}/vnic: {}; choose another directory with "
                        "service.runtime_dir",
                        directory, error.message()));
    }
    chmod((directory + "/vnic").c_str(), 0755);
    auto dataplane = Dataplane::start(configuration_, jobs_done_.native_handle());
    if (!dataplane) {
        return tl::unexpected(dataplane.error());
    }
    dataplane_ = std::move(*dataplane);
    wait_for_jobs();
    dataplane_->ports().run(io_, dataplane_->workers());
    attach_ = std::make_unique<AttachServer>(
        io_, dataplane_->workers(), dataplane_->reclaimer(),
        [this](const AttachedVnic& v) { return place(v); },
        [this](uint32_t index) { vnic_is_empty(index); });
    if (!configuration_.ports.empty()) {
        attach_->open_wire(dataplane_->mads(), dataplane_->ports());
    }
    if (auto view = open_system_view(); !view) {
        return view;
    }
    for (const control::VnicConfig& config : configuration_.vnics) {
        if (auto made = make_vnic(config); !made) {
            return made;
        }
    }
    return {};
}

tl::expected<void, std::string> Service::open_system_view() {
    const control::SystemView wanted = configuration_.service.system_view;
    if (wanted == control::SystemView::kOff) {
        return {};
    }
    platform::SystemViewPlaces places;
    places.directory = configuration_.service.runtime_dir + "/system";
    auto view = platform::SystemView::open(places);
    if (view) {
        view_ = std::move(*view);
        return {};
    }
    if (wanted == control::SystemView::kOn) {
        return tl::unexpected(view.error().sentence());
    }
    spdlog::info("vNICs are not shown system-wide: {}", view.error().sentence());
    return {};
}

Service::~Service() {
    http_.reset();
    for (uint32_t i = 0; i < records_.size(); ++i) {
        if (records_[i]) {
            remove_vnic(i);
        }
    }
    view_.reset();
    leaving_.clear();  // nobody has to be told any more
    if (dataplane_) {
        dataplane_->ports().stop();
    }
    // Connections whose end was not waited for go with the dataplane.
    dataplane_.reset();
    attach_.reset();
    if (!owns_directory_) {
        return;
    }
    std::error_code ignored;
    const std::string& directory = configuration_.service.runtime_dir;
    for (const char* part : {"/vnic", "/system", ""}) {
        std::filesystem::remove(directory + part, ignored);  // only when empty
    }
}

void Service::shut_down() {
    http_.reset();
    attach_->close_all();
}

void Service::wait_for_jobs() {
    jobs_done_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this](const boost::system::error_code& error) {
                              if (error) {
                                  return;
                              }
                              uint64_t value = 0;
                              [[maybe_unused]] const ssize_t taken =
                                  read(jobs_done_.native_handle(), &value, sizeof value);
                              dataplane_->finish_jobs();
                              wait_for_jobs();
                          });
}

uint32_t Service::place(const AttachedVnic& vnic) const {
    const auto workers = static_cast<uint32_t>(dataplane_->workers().size());
    if (configuration_.service.placement == control::Placement::kNetwork) {
        return vnic.device.network % workers;
    }
    std::vector<uint32_t> load(workers);
    for (const auto& connection : attach_->connections()) {
        ++load[connection->worker_index()];
    }
    return static_cast<uint32_t>(std::min_element(load.begin(), load.end()) - load.begin());
}

Service::Record* Service::find(std::string_view name) {
    for (std::optional<Record>& record : records_) {
        if (record && record->config.name == name) {
            return &*record;
        }
    }
    return nullptr;
}

const Service::Record* Service::by_index(uint32_t index) const {
    return index < records_.size() && records_[index] ? &*records_[index] : nullptr;
}

void Service::publish(const Record& record, bool present) {
    Vnic vnic = record.attached->device;
    vnic.present = present;
    vnic.up = record.up;
    const uint32_t index = record.attached->index;
    struct Nothing {};
    gather<Nothing>(
        dataplane_->workers(),
        [vnic, index](Shard& shard, Nothing&) {
            const bool was_up = shard.state().vnics[index].up;
            const bool was_present = shard.state().vnics[index].present;
            shard.set_vnic(index, vnic);
            if (was_present && vnic.present && was_up != vnic.up) {
                shard.announce(index, vnic.up ? VRDMA_EVENT_PORT_ACTIVE : VRDMA_EVENT_PORT_ERR);
            }
            return true;
        },
        [](std::vector<Nothing>&) {});
}

// The addresses of a network's vNICs are those for which its port answers and receives.
void Service::publish_addresses(uint32_t network) {
    std::vector<net::LocalAddress> addresses;
    const auto add = [&](const Record& record) {
        for (const vrdma_gid_entry& gid : record.attached->device.gids) {
            const auto address = wire::Address::from_gid(gid.gid);
            const net::LocalAddress entry{address, record.attached->index};
            if (record.network_id == network && !address.unspecified() &&
                std::find(addresses.begin(), addresses.end(), entry) == addresses.end()) {
                addresses.push_back(entry);
            }
        }
    };
    for (const auto& record : records_) {
        if (record) {
            add(*record);
        }
    }
    dataplane_->ports().set_addresses(network, std::move(addresses));
}

tl::expected<void, std::string> Service::make_vnic(const control::VnicConfig& config) {
    const auto slot = std::find_if(records_.begin(), records_.end(), [this](const auto& record) {
        return !record.has_value() &&
               !leaving_.contains(static_cast<uint32_t>(&record - records_.data()));
    });
    if (slot == records_.end()) {
        return tl::unexpected(fmt::format("all {} vNICs of a host are in use", kMaxVnics));
    }
    const control::NetworkConfig* network = configuration_.find_network(config.network);
    VR_CHECK(network != nullptr);
    Record record;
    record.config = config;
    record.network_id = network->id;
    record.socket_path =
        control::device_socket_path(configuration_.service.runtime_dir, config.name);
    record.attached = std::make_shared<AttachedVnic>();
    AttachedVnic& attached = *record.attached;
    attached.index = static_cast<uint32_t>(slot - records_.begin());
    attached.name = config.name;
    attached.process_memory = config.process_memory;
    if (config.userfaultfd) {
        attached.userfault_device = platform::OwnedFile(::open(kUserfault, O_RDWR | O_CLOEXEC));
        if (!attached.userfault_device.is_open()) {
            return tl::unexpected(
                fmt::format("vNIC {} is to hand over {}, which cannot be opened: {}; it needs root "
                            "and Linux 6.1, or set userfaultfd = false",
                            config.name, kUserfault, std::strerror(errno)));
        }
    }
    attached.quota = Quota(make_limits(config.quotas));
    Vnic& device = attached.device;
    device.present = true;
    device.up = true;
    device.network = network->id;
    const auto& octets = config.address.octets;
    device.address = static_cast<uint32_t>(octets[0]) << 24 |
                     static_cast<uint32_t>(octets[1]) << 16 |
                     static_cast<uint32_t>(octets[2]) << 8 | octets[3];
    for (const uint8_t byte : control::node_guid(network->id, config.address).octets) {
        device.guid = device.guid << 8 | byte;
    }
    device.gids = make_gids(config);
    const ShardLimits& host = dataplane_->shard_limits();
    device.limits = vrdma_device_limits{
        .max_qps = std::min({config.quotas.max_qps, host.qps, uint32_t{VRDMA_MAX_QPS_PER_CONTEXT}}),
        .max_cqs = std::min(config.quotas.max_cqs, host.cqs),
        .max_mrs = std::min(config.quotas.max_mrs, host.mrs),
        .max_pds = std::min(config.quotas.max_pds, host.pds),
        .max_srqs = std::min(config.quotas.max_srqs, host.srqs),
        .max_queue_entries = VRDMA_MAX_QUEUE_ENTRIES,
        .max_cq_entries = VRDMA_MAX_CQ_ENTRIES,
        .max_sge = VRDMA_MAX_SGE,
        .max_inline = VRDMA_MAX_INLINE,
        .max_rd_atomic = transport::kMaxRdAtomic,
        .max_mr_bytes = config.quotas.max_mr_bytes,
        .max_transfer_bytes = VRDMA_MAX_TRANSFER_BYTES,
        .max_mws = std::min(config.quotas.max_mrs, host.mws),
    };

    const std::string directory = vnic_directory(configuration_, config.name);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) {
        return tl::unexpected(fmt::format("cannot make {}: {}", directory, error.message()));
    }
    chmod(directory.c_str(), 0755);
    publish(record, true);
    if (auto opened = attach_->open(record.attached, record.socket_path, config.access); !opened) {
        return tl::unexpected(opened.error().error + "; " + opened.error().remedy);
    }
    const platform::DeviceDescription description =
        describe_device(config, network->id, record.socket_path, true);
    if (auto tree = platform::create_tree(directory); !tree) {
        return tl::unexpected(tree.error().sentence());
    }
    if (auto written = platform::write_device(directory, 0, description); !written) {
        return tl::unexpected(written.error().sentence());
    }
    if (view_) {
        const auto number = view_->add(description);
        if (!number) {
            return tl::unexpected(number.error().sentence());
        }
        record.system_device = platform::ib_device_name(*number);
    }
    spdlog::info("vnic={} network={} address={} socket={}{}", config.name, config.network,
                 control::to_string(config.address), record.socket_path,
                 record.system_device.empty() ? "" : " device=" + record.system_device);
    *slot = std::move(record);
    publish_addresses(network->id);
    return {};
}

void Service::remove_vnic(uint32_t index) {
    Record& record = *records_[index];
    const std::string directory = vnic_directory(configuration_, record.config.name);
    if (view_) {
        if (auto removed = view_->remove(record.config.name); !removed) {
            spdlog::warn("vnic={} stays visible: {}", record.config.name,
                         removed.error().sentence());
        }
    }
    if (auto removed = platform::remove_tree(directory); !removed) {
        spdlog::warn("vnic={}: {}", record.config.name, removed.error().sentence());
    }
    leaving_.emplace(index, std::move(record));
    records_[index].reset();
    publish_addresses(leaving_.at(index).network_id);
    attach_->close(index);
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    if (!attach_->in_use(index)) {
        vnic_is_empty(index);
    }
}

void Service::vnic_is_empty(uint32_t index) {
    const auto found = leaving_.find(index);
    if (found != leaving_.end()) {
        publish(found->second, false);
        leaving_.erase(found);
    }
}

control::VnicInfo Service::describe(const Record& record) const {
    control::VnicInfo info;
    info.config = record.config;
    info.network_id = record.network_id;
    for (const vrdma_gid_entry& gid : record.attached->device.gids) {
        control::Gid& entry = info.gids.emplace_back();
        std::copy(std::begin(gid.gid), std::end(gid.gid), entry.octets.begin());
    }
    info.system_device = record.system_device;
    info.state = record.up ? control::LinkState::kUp : control::LinkState::kDown;
    info.active_mtu = wire::path_mtu_bytes(active_mtu(dataplane_->ports().mtu(record.network_id)));
    info.socket_path = record.socket_path;
    for (const auto& connection : attach_->connections()) {
        if (connection->vnic().index == record.attached->index && connection->context()) {
            info.pids.push_back(connection->process_id());
        }
    }
    const ResourceCounts& used = record.attached->quota.used();
    info.contexts = used[Resource::Contexts];
    info.pds = used[Resource::Pds];
    info.mrs = used[Resource::Mrs];
    info.cqs = used[Resource::Cqs];
    info.qps = used[Resource::Qps];
    info.srqs = used[Resource::Srqs];
    info.mr_bytes = used[Resource::MrBytes];
    return info;
}

void Service::status(control::Done<control::ServiceStatus> done) {
    gather<ShardSummary>(
        dataplane_->workers(), summarize, [this, done](std::vector<ShardSummary>& parts) {
            control::ServiceStatus status;
            status.version = kVersion;
            status.pid = getpid();
            status.uptime = std::chrono::duration_cast<std::chrono::seconds>(
                std::chrono::steady_clock::now() - started_);
            status.eal_mode = dataplane_->eal_mode();
            status.mode = configuration_.service.mode;
            status.runtime_dir = configuration_.service.runtime_dir;
            status.system_view = view_ != nullptr;
            status.arena_bytes = dataplane_->arena_bytes();
            ShardSummary total;
            for (size_t i = 0; i < parts.size(); ++i) {
                const ShardSummary& part = parts[i];
                const platform::WorkerStatistics& statistics =
                    dataplane_->workers()[i]->statistics();
                control::WorkerInfo worker;
                worker.id = static_cast<uint32_t>(i);
                if (!configuration_.service.cpus.empty()) {
                    worker.cpu = configuration_.service.cpus[i];
                }
                worker.state = statistics.asleep.load() ? control::WorkerState::kAsleep
                                                        : control::WorkerState::kSpinning;
                worker.turns = statistics.turns.load();
                worker.sleeps = statistics.sleeps.load();
                worker.kicks = statistics.kicks.load();
                worker.operations = part.operations;
                worker.bytes = part.bytes;
                worker.contexts = part.contexts;
                worker.qps = part.qps;
                status.workers.push_back(worker);
                total.contexts += part.contexts;
                total.pds += part.pds;
                total.mrs += part.mrs;
                total.cqs += part.cqs;
                total.qps += part.qps;
                total.srqs += part.srqs;
            }
            const ShardLimits& limits = dataplane_->shard_limits();
            const uint64_t shards = parts.size();
            status.pools = {{"contexts", total.contexts, limits.contexts * shards},
                            {"pds", total.pds, limits.pds * shards},
                            {"mrs", total.mrs, limits.mrs * shards},
                            {"cqs", total.cqs, limits.cqs * shards},
                            {"qps", total.qps, limits.qps * shards},
                            {"srqs", total.srqs, limits.srqs * shards}};
            for (const auto& record : records_) {
                status.vnics += record ? 1U : 0U;
            }
            done(std::move(status));
        });
}

void Service::vnics(control::Done<std::vector<control::VnicInfo>> done) {
    std::vector<control::VnicInfo> result;
    for (const auto& record : records_) {
        if (record) {
            result.push_back(describe(*record));
        }
    }
    std::sort(result.begin(), result.end(),
              [](const auto& a, const auto& b) { return a.config.name < b.config.name; });
    done(std::move(result));
}

void Service::vnic(std::string_view name, control::Done<control::VnicInfo> done) {
    const Record* record = find(name);
    if (record == nullptr) {
        done(tl::unexpected(not_found(fmt::format("there is no vNIC {}", name))));
        return;
    }
    done(describe(*record));
}

void Service::add_vnic(const control::VnicConfig& config, control::Done<control::VnicInfo> done) {
    if (auto made = make_vnic(config); !made) {
        done(tl::unexpected(ModelError{control::Refusal::kFailed, made.error(), "", ""}));
        return;
    }
    configuration_.vnics.push_back(config);
    done(describe(*find(config.name)));
}

void Service::delete_vnic(std::string_view name, bool force, control::Done<control::Nothing> done) {
    Record* record = find(name);
    if (record == nullptr) {
        done(tl::unexpected(not_found(fmt::format("there is no vNIC {}", name))));
        return;
    }
    const uint64_t contexts = record->attached->quota.used()[Resource::Contexts];
    if (contexts != 0 && !force) {
        done(tl::unexpected(
            ModelError{control::Refusal::kConflict,
                       fmt::format("{} processes are attached to vNIC {}", contexts, name), "",
                       "stop them, or delete with force: they lose the device"}));
        return;
    }
    std::erase_if(configuration_.vnics,
                  [&](const control::VnicConfig& config) { return config.name == name; });
    remove_vnic(record->attached->index);
    done(control::Nothing{});
}

void Service::set_vnic_state(std::string_view name, control::LinkState state,
                             control::Done<control::VnicInfo> done) {
    Record* record = find(name);
    if (record == nullptr) {
        done(tl::unexpected(not_found(fmt::format("there is no vNIC {}", name))));
        return;
    }
    record->up = state == control::LinkState::kUp;
    publish(*record, true);
    const platform::DeviceDescription description =
        describe_device(record->config, record->network_id, record->socket_path, record->up);
    const auto written =
        platform::write_device(vnic_directory(configuration_, record->config.name), 0, description);
    if (!written) {
        spdlog::warn("vnic={} its port state is not shown: {}", name, written.error().sentence());
    }
    if (view_) {
        if (const auto shown = view_->add(description); !shown) {
            spdlog::warn("vnic={} its port state is not shown: {}", name, shown.error().sentence());
        }
    }
    done(describe(*record));
}

std::optional<uint32_t> Service::filter_index(const control::ListFilter& filter) {
    if (!filter.vnic) {
        return std::nullopt;
    }
    const Record* record = find(*filter.vnic);
    return record == nullptr ? kNone : record->attached->index;
}

control::QpInfo Service::describe(const QpSnapshot& snapshot, uint32_t worker) const {
    const Qp& qp = snapshot.qp;
    const vrdma_qp_attributes& a = qp.attributes;
    control::QpInfo info;
    info.qpn = qp.qpn;
    const Record* record = by_index(qp.vnic);
    info.vnic = record == nullptr ? "" : record->config.name;
    info.pid = snapshot.process_id;
    info.worker = worker;
    info.path_reason = snapshot.peer_reason;
    info.path = snapshot.remote       ? (snapshot.peer == transport::PeerKind::Vrdma
                                             ? control::PathKind::kVrdmaPeer
                                             : control::PathKind::kStandardPeer)
                : !snapshot.local     ? control::PathKind::kNone
                : snapshot.same_shard ? control::PathKind::kSameWorker
                                      : control::PathKind::kOtherWorker;
    control::QpAttributes& to = info.attributes;
    to.type = qp.type;
    to.state = to.current_state = qp.state;
    to.path_mtu = a.path_mtu;
    to.path_mig_state = a.path_mig_state;
    to.qkey = a.qkey;
    to.rq_psn = a.rq_psn;
    to.sq_psn = a.sq_psn;
    to.dest_qpn = a.dest_qpn;
    to.access = a.access;
    to.max_send_wr = qp.sq_entries;
    to.max_recv_wr = qp.rq_entries;
    to.max_send_sge = qp.max_send_sge;
    to.max_recv_sge = qp.max_recv_sge;
    to.max_inline = qp.max_inline;
    std::copy(std::begin(a.address.gid), std::end(a.address.gid), to.dest_gid.octets.begin());
    to.flow_label = a.address.flow_label;
    to.sgid_index = a.address.sgid_index;
    to.hop_limit = a.address.hop_limit;
    to.traffic_class = a.address.traffic_class;
    to.sl = a.address.sl;
    to.port = a.port;
    to.pkey_index = a.pkey_index;
    to.max_rd_atomic = a.max_rd_atomic;
    to.max_dest_rd_atomic = a.max_dest_rd_atomic;
    to.min_rnr_timer = a.min_rnr_timer;
    to.timeout = a.timeout;
    to.retry_count = a.retry_count;
    to.rnr_retry = a.rnr_retry;
    to.sq_draining = qp.state == VRDMA_QPS_SQD && qp.phase != SendPhase::Idle;
    to.signal_all = qp.signal_all;
    info.pd = qp.pd;
    info.send_cq = qp.send_cq;
    info.recv_cq = qp.recv_cq;
    if (qp.srq != kNone) {
        info.srq = qp.srq;
    }
    info.sq = {qp.sq_entries, snapshot.sq_producer, qp.sq_consumer};
    info.rq = {qp.rq_entries, snapshot.rq_producer, snapshot.rq_consumer};
    info.retries_left = qp.retries_left;
    info.rnr_retries_left = qp.rnr_left;
    info.last_reason = qp.error_reason;
    const auto counter = [&](const char* name, uint64_t value, const char* help) {
        info.counters.push_back({name, value, help, control::CounterKind::kCounter});
    };
    counter("sends", qp.sends, "send entries completed with success");
    counter("receives", qp.receives, "receive entries completed with success");
    counter("bytes_sent", qp.bytes_sent, "payload this queue pair moved as requester");
    counter("bytes_received", qp.bytes_received, "payload that came in as responder");
    counter("rnr_naks", qp.rnr_naks, "times the peer was not ready to receive");
    counter("retransmissions", qp.retransmissions, "times the peer did not answer");
    if (snapshot.remote) {
        const transport::RequesterStatistics& r = snapshot.requester;
        counter("retransmitted_packets", r.retransmitted_packets, "packets sent again");
        counter("spurious_retransmissions", r.spurious_retransmissions,
                "of these, packets that had arrived");
        counter("timeouts", r.timeouts, "times the retransmission timer ran out");
        counter("tail_probes", r.tail_probes,
                "packets sent to learn whether the last ones arrived");
        counter("sequence_naks", r.sequence_naks, "times the peer missed a packet");
        counter("implied_naks", r.implied_naks, "times a response of the peer was missing");
        counter("congestion_notifications", r.congestion_notifications,
                "congestion notification packets received");
        counter("duplicates", snapshot.responder.duplicates, "request packets that were known");
        counter("out_of_order", snapshot.responder.out_of_order, "request packets out of order");
    }
    return info;
}

void Service::ports(control::Done<std::vector<control::PortInfo>> done) {
    dataplane_->ports().describe(
        [done](std::vector<control::PortInfo> ports) { done(std::move(ports)); });
}

void Service::set_port_faults(std::string_view name,
                              const std::optional<control::PortFaults>& faults,
                              control::Done<control::Nothing> done) {
    dataplane_->ports().set_faults(name, faults, [done] { done(control::Nothing{}); });
}

void Service::start_capture(std::string_view port, const control::CaptureRequest& request,
                            control::Done<control::CaptureInfo> done) {
    const CaptureOrder order = make_order(request);
    if (!request.qpn) {
        dataplane_->ports().start_capture(port, order, std::move(done));
        return;
    }
    qp(*request.qpn, [this, order, done = std::move(done),
                      name = std::string(port)](const control::Outcome<control::QpInfo>& found) {
        const auto filter = found.and_then([&](const control::QpInfo& info) {
            return queue_pair_filter(configuration_, name, info);
        });
        if (!filter) {
            done(tl::unexpected(filter.error()));
            return;
        }
        CaptureOrder complete = order;
        complete.filter = *filter;
        complete.worker = found->worker;
        dataplane_->ports().start_capture(name, complete, done);
    });
}

void Service::read_capture(std::string_view port, uint32_t id,
                           control::Done<control::CapturePiece> done) {
    dataplane_->ports().capture(port).read(id, done);
}

void Service::stop_capture(std::string_view port, uint32_t id,
                           control::Done<control::CaptureInfo> done) {
    dataplane_->ports().capture(port).stop(id, std::move(done));
}

void Service::end_capture(std::string_view port, uint32_t id,
                          control::Done<control::CaptureInfo> done) {
    dataplane_->ports().capture(port).end(id, std::move(done));
}

void Service::qps(const control::ListFilter& filter, control::Done<control::QpList> done) {
    QpQuery query;
    query.vnic = filter_index(filter);
    query.limit = filter.limit;
    gather<QpQuery>(
        dataplane_->workers(), [](Shard& shard, QpQuery& q) { return collect(shard, q); },
        [this, done, limit = filter.limit](std::vector<QpQuery>& parts) {
            control::QpList result;
            for (uint32_t worker = 0; worker < parts.size(); ++worker) {
                result.total += parts[worker].total;
                for (const QpSnapshot& snapshot : parts[worker].found) {
                    result.qps.push_back(describe(snapshot, worker));
                }
            }
            std::sort(result.qps.begin(), result.qps.end(),
                      [](const auto& a, const auto& b) { return a.qpn < b.qpn; });
            if (result.qps.size() > limit) {
                result.qps.resize(limit);
            }
            done(std::move(result));
        },
        query);
}

void Service::qp(uint32_t qpn, control::Done<control::QpInfo> done) {
    QpQuery query;
    query.qpn = qpn;
    query.limit = 1;
    gather<QpQuery>(
        dataplane_->workers(), [](Shard& shard, QpQuery& q) { return collect(shard, q); },
        [this, done, qpn](std::vector<QpQuery>& parts) {
            for (uint32_t worker = 0; worker < parts.size(); ++worker) {
                if (!parts[worker].found.empty()) {
                    done(describe(parts[worker].found.front(), worker));
                    return;
                }
            }
            done(tl::unexpected(ModelError{control::Refusal::kNotFound,
                                           fmt::format("there is no queue pair {}", qpn), "",
                                           "`vrdmactl qp list` shows what exists"}));
        },
        query);
}

void Service::mrs(const control::ListFilter& filter, control::Done<control::MrList> done) {
    MrQuery query;
    query.vnic = filter_index(filter);
    query.limit = filter.limit;
    gather<MrQuery>(
        dataplane_->workers(), [](Shard& shard, MrQuery& q) { return collect(shard, q); },
        [this, done, limit = filter.limit](std::vector<MrQuery>& parts) {
            control::MrList result;
            for (MrQuery& part : parts) {
                result.total += part.total;
                for (const MrSnapshot& snapshot : part.found) {
                    if (result.mrs.size() == limit) {
                        break;
                    }
                    control::MrInfo& info = result.mrs.emplace_back();
                    const Record* record = by_index(snapshot.vnic);
                    info.vnic = record == nullptr ? "" : record->config.name;
                    info.pid = snapshot.process_id;
                    info.lkey = snapshot.mr.key;
                    info.pd = snapshot.mr.pd;
                    info.iova = snapshot.mr.iova;
                    info.length = snapshot.mr.length;
                    info.access = snapshot.mr.access;
                    info.shared_bytes = snapshot.shared_bytes;
                    info.adopted_bytes = snapshot.adopted_bytes;
                    info.process_bytes = snapshot.process_bytes;
                    if (snapshot.process_bytes != 0) {
                        info.reason =
                            "part of it is reached by system calls; VRDMA_LOG=info in the program "
                            "says why";
                    }
                }
            }
            done(std::move(result));
        },
        query);
}

void Service::groups(const control::ListFilter& filter, control::Done<control::GroupList> done) {
    GroupQuery query;
    query.vnic = filter_index(filter);
    gather<GroupQuery>(
        dataplane_->workers(), [](Shard& shard, GroupQuery& q) { return collect(shard, q); },
        [this, done, limit = filter.limit](std::vector<GroupQuery>& parts) {
            const auto vnic_of = [this](uint32_t index) {
                const Record* record = by_index(index);
                return record == nullptr ? nullptr : &record->config;
            };
            done(list_groups(parts, vnic_of, limit));
        },
        query);
}

void Service::counters(std::optional<std::string> vnic, control::Done<control::Counters> done) {
    if (vnic && find(*vnic) == nullptr) {
        done(tl::unexpected(not_found(fmt::format("there is no vNIC {}", *vnic))));
        return;
    }
    gather<ShardSummary>(
        dataplane_->workers(), summarize, [this, done, vnic](std::vector<ShardSummary>& parts) {
            std::vector<Counters> by_vnic(kMaxVnics);
            Counters all;
            for (const ShardSummary& part : parts) {
                for (size_t i = 0; i < part.counters.size(); ++i) {
                    add(by_vnic[i], part.counters[i]);
                    add(all, part.counters[i]);
                }
            }
            control::Counters result;
            if (!vnic) {
                result.service = list(all);
            }
            for (const auto& record : records_) {
                if (record && (!vnic || record->config.name == *vnic)) {
                    result.vnics.push_back({record->config.name, record->config.network,
                                            list(by_vnic[record->attached->index])});
                }
            }
            done(std::move(result));
        });
}

}  // namespace vrdma::app
