// All state that a restart must find again stands in one memfd, cut into one arena for each shard;
// its pages exist only once they are used. The host-wide limits are shared out evenly over the
// shards and rounded up to powers of two; quotas keep a vNIC below what the configuration says.
#include "dataplane/app/dataplane.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "dataplane/platform/clock.h"
#include "dataplane/platform/eal.h"
#include "dataplane/platform/fault_guard.h"
#include "dataplane/platform/interrupt_pause.h"

namespace vrdma::app {
namespace {

constexpr uint32_t kXrcds = 4096;  // of a worker; searched one by one
constexpr uint32_t kMostMws =
    16384;  // 14 of the 24 bits of a window's name: the rest is generation

uint64_t random_key() {
    uint64_t key = 0;
    VR_CHECK(getrandom(&key, sizeof key, 0) == static_cast<ssize_t>(sizeof key));
    return key;
}

uint32_t share(uint32_t total, uint32_t shards, uint32_t most) {
    return std::min(std::bit_ceil((total + shards - 1) / shards), most);
}

platform::HugepageUse hugepage_use(control::Hugepages setting) {
    switch (setting) {
        case control::Hugepages::kAuto:
            return platform::HugepageUse::Auto;
        case control::Hugepages::kNever:
            return platform::HugepageUse::Never;
        case control::Hugepages::kRequire:
            return platform::HugepageUse::Require;
    }
    return platform::HugepageUse::Auto;
}

int run_worker(void* worker) {
    static_cast<platform::Worker*>(worker)->run();
    return 0;
}

transport::PeerPolicy policy_of(control::PeerKind kind) {
    switch (kind) {
        case control::PeerKind::kAuto:
            return transport::PeerPolicy::Auto;
        case control::PeerKind::kVrdma:
            return transport::PeerPolicy::Vrdma;
        case control::PeerKind::kRoce:
            return transport::PeerPolicy::Standard;
    }
    return transport::PeerPolicy::Standard;
}

}  // namespace

tl::expected<std::unique_ptr<Dataplane>, std::string> Dataplane::start(
    const control::Configuration& configuration, int done_event) {
    const control::ServiceConfig& service = configuration.service;
    std::unique_ptr<Dataplane> dataplane(new Dataplane());
    platform::EalOptions eal;
    eal.workers = service.workers;
    eal.cpus = service.cpus;
    eal.hugepages = hugepage_use(service.hugepages);
    eal.memory_mb = service.memory_mb;
    for (const control::PortConfig& port : configuration.ports) {
        if (platform::driver_kind(port.devargs) == platform::DriverKind::Physical) {
            eal.pci_devices.push_back(port.devargs);
        }
    }
    auto mode = platform::start_eal(eal);
    if (!mode) {
        return tl::unexpected(mode.error());
    }
    dataplane->eal_mode_ = *mode;
    platform::calibrate_clock();
    platform::install_fault_guard();

    const control::HostLimits& host = configuration.limits;
    const uint32_t shards = service.workers;
    ShardLimits& limits = dataplane->limits_;
    limits.qps = std::min(share(host.max_qps, shards, kMaxQpsPerHost),
                          std::bit_floor(kMaxQpsPerHost / shards));
    limits.cqs = share(host.max_cqs, shards, 65536);
    limits.srqs = share(host.max_srqs, shards, 65536);
    limits.pds = share(host.max_pds, shards, 262144);
    limits.mrs = share(host.max_mrs, shards, 1U << 22);
    limits.extra_ranges = limits.mrs;
    limits.mws = std::min(limits.mrs, kMostMws);
    limits.regions = limits.mrs;
    limits.xrcds = kXrcds;
    limits.channels = limits.cqs;
    limits.contexts = share(host.max_contexts, shards, kMaxContextsPerShard);
    limits.remotes = configuration.ports.empty() ? 1 : limits.qps;

    const size_t bytes = DeviceState::arena_bytes(limits);
    const size_t total = bytes * shards;
    const int file = memfd_create("vrdma state", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, static_cast<off_t>(total)) != 0) {
        return tl::unexpected(fmt::format("no memory file for {} MiB of state: {}", total >> 20,
                                          std::strerror(errno)));
    }
    void* memory =
        mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        return tl::unexpected(
            fmt::format("cannot map {} MiB of state: {}", total >> 20, std::strerror(errno)));
    }
    dataplane->arena_memory_ = static_cast<std::byte*>(memory);
    dataplane->arena_bytes_ = total;

    dataplane->fabric_ = std::make_unique<Fabric>(shards, dataplane->waker_);
    const uint64_t qpn_key = random_key();
    dataplane->steering_ = std::make_unique<QueuePairSteering>(shards, qpn_key);
    auto ports = Ports::make(configuration, *dataplane->steering_, dataplane->waker_);
    if (!ports) {
        return tl::unexpected(ports.error());
    }
    dataplane->ports_ = std::move(*ports);
    for (uint32_t i = 0; i < shards; ++i) {
        dataplane->arenas_.push_back(
            std::make_unique<Arena>(dataplane->arena_memory_ + i * bytes, bytes));
        ShardConfig config;
        config.shard = i;
        config.shard_count = shards;
        config.limits = limits;
        config.qpn_key = qpn_key;
        config.mr_key = random_key();
        dataplane->shards_.push_back(std::make_unique<Shard>(
            *dataplane->arenas_.back(), config,
            Shard::Ports{dataplane->process_memory_, dataplane->notifier_, dataplane->reclaimer_,
                         *dataplane->fabric_, dataplane->clock_}));
        platform::WorkerOptions options;
        options.index = i;
        options.dedicated = service.mode == control::WorkerMode::kDedicated;
        options.idle_spin = Duration::microseconds(service.idle_spin.count());
        dataplane->workers_.push_back(
            std::make_unique<platform::Worker>(*dataplane->shards_.back(), options, done_event));
        dataplane->worker_list_.push_back(dataplane->workers_.back().get());
        for (const Ports::Served& served : dataplane->ports_->links_of(i)) {
            WirePath& wire = dataplane->shards_.back()->wire();
            wire.add_link(*served.link, policy_of(served.peers), served.spray);
            dataplane->workers_.back()->add_link(*served.link, wire);
        }
    }
    if (!configuration.ports.empty()) {
        // The steering brings queue pair 1 to the first worker.
        dataplane->mads_ = std::make_unique<MadMailbox>();
        dataplane->shards_.front()->wire().set_mad_receiver(*dataplane->mads_);
    }
    for (uint32_t i = 0; i < shards; ++i) {
        if (!platform::launch_worker(i, run_worker, dataplane->workers_[i].get())) {
            return tl::unexpected(fmt::format("worker {} did not start", i));
        }
    }
    return dataplane;
}

Dataplane::~Dataplane() {
    for (const auto& worker : workers_) {
        worker->stop();
    }
    if (!eal_mode_.empty()) {
        platform::wait_for_workers();
        finish_jobs();
        reclaimer_.reclaim();
        for (const auto& shard : shards_) {
            shard->wire().close();
        }
        platform::end_interrupts();
        ports_.reset();
        platform::stop_eal();
    }
    workers_.clear();
    shards_.clear();
    if (arena_memory_ != nullptr) {
        munmap(arena_memory_, arena_bytes_);
    }
}

void Dataplane::finish_jobs() {
    for (const auto& worker : workers_) {
        worker->finish_jobs();
    }
}

}  // namespace vrdma::app
