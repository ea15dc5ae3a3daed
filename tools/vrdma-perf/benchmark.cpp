#include "tools/vrdma-perf/benchmark.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>

#include "tools/verbs_util/cpu.h"
#include "tools/vrdma-perf/copy_peer.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/latency_run.h"
#include "tools/vrdma-perf/rate_run.h"
#include "tools/vrdma-perf/remote_responder.h"
#include "tools/vrdma-perf/tcp_peer.h"
#include "tools/vrdma-perf/verify_run.h"

// Order of a run: set up both ends once for all sizes; verify every size, because a verified batch
// needs receive queues without leftovers; then for each size a warm-up, latency samples, rate
// samples, and the peers right after, so that a ratio compares what was measured in the same minute
// on the same, equally loaded machine.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;
using verbs_util::Tsc;

constexpr double kWarmUpSeconds = 0.05;
constexpr std::uint64_t kVerifyOperations = 1000;
constexpr std::uint64_t kVerifyBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kLeastVerified = 16;
constexpr std::uint32_t kReceivesPerWindow = 2;

class Benchmark {
  public:
    Benchmark(const Options& options, verbs_util::Stream partner)
        : options_(options),
          remote_(std::move(partner)),
          tsc_(Tsc::calibrate()),
          sampler_(tsc_, choose_probe_cpus(options.cpus)) {}

    Result<Report> run() {
        report_.options = options_;
        report_.host = read_host_info();
        report_.probe_cpus = sampler_.cpus();
        report_.tsc_ghz = tsc_.ghz();
        report_.tsc_invariant = tsc_.invariant();
        report_.seed = std::random_device{}();
        for (const std::uint64_t size : options_.sizes) {
            report_.points.emplace_back().size = size;
        }
        auto done = set_up();
        if (done && options_.verify) {
            done = verify_all();
        }
        if (done) {
            done = measure_all();
        }
        if (!done) {
            return tl::make_unexpected(done.error());
        }
        return std::move(report_);
    }

  private:
    [[nodiscard]] std::uint32_t grh_bytes() const {
        return options_.transport == IBV_QPT_UD ? kGrhBytes : 0;
    }
    [[nodiscard]] std::uint64_t receive_bytes() const {
        return *std::max_element(options_.sizes.begin(), options_.sizes.end()) + grh_bytes();
    }

    [[nodiscard]] Workload workload_for(std::uint64_t size, std::uint32_t window) const {
        Workload workload;
        workload.operation = options_.operation;
        workload.size = size;
        workload.active = options_.active;
        workload.layout = layout_for(size + grh_bytes(), options_.mr_bytes, window);
        workload.recv_bytes = receive_bytes();
        return workload;
    }

    [[nodiscard]] std::uint32_t total_window() const {
        return static_cast<std::uint32_t>(
            std::min<std::uint64_t>(std::uint64_t{options_.window} * options_.active, kMaxWindow));
    }

    [[nodiscard]] EndpointOptions endpoint_options(bool initiator) const {
        EndpointOptions endpoint;
        endpoint.transport = options_.transport;
        endpoint.qps = options_.qps;
        endpoint.active = options_.active;
        endpoint.memory = options_.memory;
        endpoint.events = options_.events;
        const bool receives = !initiator && consumes_receive(options_.operation);
        endpoint.send_depth = initiator ? options_.window : 1;
        endpoint.recv_depth = receives ? kReceivesPerWindow * options_.window : 1;
        endpoint.max_inline = initiator ? options_.max_inline : 0;
        for (const std::uint64_t size : options_.sizes) {
            const Layout layout = layout_for(size + grh_bytes(), options_.mr_bytes, total_window());
            endpoint.buffer_bytes =
                std::max(endpoint.buffer_bytes, layout.bytes() + receive_bytes());
        }
        return endpoint;
    }

    Result<void> set_up() {
        verbs_util::DeviceOptions device;
        device.name = options_.device;
        device.gid_index = options_.gid_index;
        auto opened = verbs_util::Device::open(device);
        if (!opened) {
            return tl::make_unexpected(opened.error());
        }
        if (auto fits = describe_device(**opened); !fits) {
            return fits;
        }
        auto near = Endpoint::create(*opened, endpoint_options(true));
        if (!near) {
            return tl::make_unexpected(near.error());
        }
        near_ = std::move(*near);
        auto ready = options_.mode == Mode::kLoopback ? set_up_local(*opened) : set_up_remote();
        if (!ready) {
            return ready;
        }
        initiator_.emplace(Initiator{*near_, far_description_, tsc_, local_.get()});
        if (!options_.cpus.empty()) {
            if (auto pinned = verbs_util::pin_this_thread(options_.cpus.front()); !pinned) {
                return pinned;
            }
        }
        return options_.peers ? set_up_peers() : Result<void>{};
    }

    Result<void> describe_device(const verbs_util::Device& device) {
        report_.device = device.name();
        report_.peer_device = options_.mode == Mode::kClient ? options_.host
                              : options_.peer_device.empty() ? device.name()
                                                             : options_.peer_device;
        report_.firmware = device.attributes().fw_ver;
        report_.mtu_bytes = device.mtu_bytes();
        for (const std::uint64_t size : options_.sizes) {
            if (options_.transport == IBV_QPT_UD && size > device.mtu_bytes()) {
                return fail(ErrorKind::kUsage, "UD messages must fit into the MTU of " +
                                                   std::to_string(device.mtu_bytes()) +
                                                   " bytes, not " + std::to_string(size));
            }
        }
        return {};
    }

    Result<void> set_up_local(const std::shared_ptr<verbs_util::Device>& near_device) {
        auto device = near_device;
        if (options_.separate_contexts || !options_.peer_device.empty()) {
            verbs_util::DeviceOptions options;
            options.name =
                options_.peer_device.empty() ? near_device->name() : options_.peer_device;
            options.gid_index = options_.gid_index;
            auto opened = verbs_util::Device::open(options);
            if (!opened) {
                return tl::make_unexpected(opened.error());
            }
            device = std::move(*opened);
        }
        auto far = Endpoint::create(std::move(device), endpoint_options(false));
        if (!far) {
            return tl::make_unexpected(far.error());
        }
        far_ = std::move(*far);
        far_description_ = far_->describe();
        local_ = std::make_unique<LocalResponder>(*far_);
        responder_ = local_.get();
        auto connected = far_->connect(near_->describe());
        return connected ? near_->connect(far_description_) : connected;
    }

    Result<void> set_up_remote() {
        auto opened = remote_.open(endpoint_options(false));
        if (!opened) {
            return tl::make_unexpected(opened.error());
        }
        far_description_ = std::move(*opened);
        responder_ = &remote_;
        auto connected = remote_.connect(near_->describe());
        return connected ? near_->connect(far_description_) : connected;
    }

    Result<void> set_up_peers() {
        auto copy = CopyPeer::create(report_.host.cache_bytes);
        if (!copy) {
            return tl::make_unexpected(copy.error());
        }
        copy_ = std::move(*copy);
        return {};
    }

    Result<void> verify_all() {
        for (Point& point : report_.points) {
            const std::uint64_t fitting =
                point.size == 0 ? kVerifyOperations : kVerifyBytes / point.size;
            const std::uint64_t automatic = std::clamp(fitting, kLeastVerified, kVerifyOperations);
            const std::uint64_t operations =
                options_.iterations != 0 ? options_.iterations : automatic;
            const auto done =
                verify_transfers(*initiator_, *responder_, workload_for(point.size, total_window()),
                                 report_.seed, operations, options_.window);
            if (!done) {
                return done;
            }
            point.verified = operations;
        }
        return {};
    }

    Result<void> measure_all() {
        for (Point& point : report_.points) {
            auto done = options_.latency ? measure_latency_of(point) : Result<void>{};
            if (done && options_.rate) {
                done = measure_rate_of(point);
            }
            if (done && options_.peers) {
                done = measure_peers_of(point);
            }
            if (!done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] Budget sample_budget() const {
        Budget budget;
        budget.operations = options_.iterations;
        budget.ticks = options_.iterations == 0 ? tsc_.from_seconds(options_.seconds) : 0;
        return budget;
    }
    [[nodiscard]] Budget warm_up_budget() const {
        return {options_.iterations, tsc_.from_seconds(kWarmUpSeconds)};
    }

    /// `run(budget, histogram)` between begin and end of the far end: once to warm up, then for
    /// each sample.
    template <typename Run>
    Result<void> take_samples(const Workload& workload, std::vector<Sample>& samples, Point& point,
                              Run run) {
        if (auto begun = responder_->begin(workload); !begun) {
            return begun;
        }
        std::uint64_t sent = 0;
        Histogram ignored;
        const auto warm = run(warm_up_budget(), ignored);
        if (!warm) {
            return tl::make_unexpected(warm.error());
        }
        sent += warm->operations;
        for (std::uint32_t i = 0; i < options_.samples; ++i) {
            Histogram histogram;
            auto sample = sampler_.take([&] { return run(sample_budget(), histogram); });
            if (!sample) {
                return tl::make_unexpected(sample.error());
            }
            sample->latency = latency_stats(histogram, tsc_);
            sent += sample->operations;
            samples.push_back(*sample);
        }
        const auto received = responder_->end(sent);
        if (!received) {
            return tl::make_unexpected(received.error());
        }
        point.lost += sent - received->messages;
        return {};
    }

    Result<void> measure_latency_of(Point& point) {
        const Workload workload = workload_for(point.size, 1);
        point.latency_working_set = workload.layout.bytes();
        return take_samples(workload, point.latency, point,
                            [&](const Budget& budget, Histogram& histogram) {
                                return measure_latency(*initiator_, workload, budget,
                                                       options_.until_received, histogram);
                            });
    }

    Result<void> measure_rate_of(Point& point) {
        const Workload workload = workload_for(point.size, total_window());
        point.rate_working_set = workload.layout.bytes();
        const RateOptions rate{options_.window, options_.post_list, options_.signal_every};
        return take_samples(workload, point.rate, point, [&](const Budget& budget, Histogram&) {
            return measure_rate(*initiator_, workload, budget, rate);
        });
    }

    Result<void> measure_tcp(TcpPeer& peer, std::uint64_t size, std::vector<Sample>& samples) {
        Histogram ignored;
        auto warm = peer.measure(size, warm_up_budget(), ignored);
        for (std::uint32_t i = 0; warm && i < options_.samples; ++i) {
            Histogram histogram;
            auto sample =
                sampler_.take([&] { return peer.measure(size, sample_budget(), histogram); });
            if (!sample) {
                return tl::make_unexpected(sample.error());
            }
            sample->latency = latency_stats(histogram, tsc_);
            samples.push_back(*sample);
        }
        return warm ? Result<void>{} : tl::make_unexpected(warm.error());
    }

    Result<void> measure_peers_of(Point& point) {
        const int cpu = options_.cpus.size() > 1 ? options_.cpus[1] : -1;
        for (const bool spin : {true, false}) {
            // Only while it is measured: a spinning server would disturb everything else.
            auto peer = TcpPeer::start(spin, cpu, tsc_);
            if (!peer) {
                return tl::make_unexpected(peer.error());
            }
            auto& samples = spin ? point.tcp_spinning : point.tcp_blocking;
            if (auto done = measure_tcp(**peer, point.size, samples); !done) {
                return done;
            }
        }
        for (std::uint32_t i = 0; i < options_.samples; ++i) {
            const Budget budget{0, tsc_.from_seconds(kWarmUpSeconds)};
            auto sample = sampler_.take([&] { return copy_.measure(budget); });
            if (!sample) {
                return tl::make_unexpected(sample.error());
            }
            report_.copy.push_back(*sample);
        }
        return {};
    }

    const Options& options_;
    RemoteResponder remote_;
    const Tsc tsc_;
    const Sampler sampler_;
    Report report_;
    std::unique_ptr<Endpoint> near_;
    std::unique_ptr<Endpoint> far_;
    EndpointDescription far_description_;
    std::unique_ptr<LocalResponder> local_;
    Responder* responder_ = nullptr;
    std::optional<Initiator> initiator_;
    CopyPeer copy_;
};

}  // namespace

Result<Report> run_benchmark(const Options& options, verbs_util::Stream partner) {
    return Benchmark(options, std::move(partner)).run();
}

}  // namespace vrdma::perf
