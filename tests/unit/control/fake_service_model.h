#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/control/service_model.h"
#include "tests/unit/control/rejected.h"

namespace vrdma::control {

/// A service that exists only in the tests: two networks, one vNIC "a", one queue pair, one region.
/// Answers at once, or, with `defer` set, when run_deferred() is called.
class FakeServiceModel : public ServiceModel {
  public:
    FakeServiceModel() {
        configuration_ = default_configuration(plain_host());
        configuration_.networks = {{"blue", 7}, {"green", 8}};
        VnicConfig config;
        config.name = "a";
        config.network = "blue";
        config.address = {{10, 0, 0, 1}};
        config.mac = derived_mac(config.address);
        configuration_.vnics = {config};
        PortConfig port;
        port.name = "uplink";
        port.devargs = "net_null0";
        port.network = "blue";
        configuration_.ports = {port};
    }

    [[nodiscard]] const Configuration& configuration() const override { return configuration_; }

    void status(Done<ServiceStatus> done) override {
        ServiceStatus status;
        status.version = "1.2.3";
        status.pid = 42;
        status.uptime = std::chrono::seconds(90);
        status.eal_mode = "no huge pages, 64 MiB";
        status.runtime_dir = "/run/vrdma";
        status.arena_bytes = 4096;
        status.vnics = configuration_.vnics.size();
        WorkerInfo worker;
        worker.cpu = 3;
        worker.state = WorkerState::kAsleep;
        worker.turns = 11;
        status.workers = {worker, {}};
        status.workers[1].id = 1;
        status.pools = {{"qps", 1, 32768}};
        answer(std::move(done), Outcome<ServiceStatus>(status));
    }

    void vnics(Done<std::vector<VnicInfo>> done) override {
        std::vector<VnicInfo> list;
        for (const VnicConfig& config : configuration_.vnics) {
            list.push_back(info(config));
        }
        answer(std::move(done), Outcome<std::vector<VnicInfo>>(list));
    }

    void vnic(std::string_view name, Done<VnicInfo> done) override {
        answer(std::move(done), Outcome<VnicInfo>(info(*configuration_.find_vnic(name))));
    }

    void add_vnic(const VnicConfig& config, Done<VnicInfo> done) override {
        configuration_.vnics.push_back(config);
        answer(std::move(done), Outcome<VnicInfo>(info(config)));
    }

    void delete_vnic(std::string_view name, bool force, Done<Nothing> done) override {
        forced = force;
        if (busy && !force) {
            answer(std::move(done), Outcome<Nothing>(tl::unexpected(ModelError{
                                        Refusal::kConflict, "in use", "no process", "use force"})));
            return;
        }
        std::erase_if(configuration_.vnics, [&](const auto& vnic) { return vnic.name == name; });
        answer(std::move(done), Outcome<Nothing>(Nothing{}));
    }

    void set_vnic_state(std::string_view name, LinkState state, Done<VnicInfo> done) override {
        state_ = state;
        answer(std::move(done), Outcome<VnicInfo>(info(*configuration_.find_vnic(name))));
    }

    void ports(Done<std::vector<PortInfo>> done) override {
        PortInfo port;
        port.config = configuration_.ports.front();
        port.state = PortState::kUp;
        port.driver = "net_null";
        port.mtu = 1500;
        port.neighbours = {{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2}},
                            {{2, 0, 0, 0, 0, 2}},
                            NeighbourState::kReachable,
                            3}};
        port.counters = {{"received_packets", 7, "Frames.", {}}};
        port.faults = faults;
        port.capture = capture;
        answer(std::move(done), Outcome<std::vector<PortInfo>>({port}));
    }

    void set_port_faults(std::string_view name, const std::optional<PortFaults>& to,
                         Done<Nothing> done) override {
        faults_of = name;
        faults = to;
        answer(std::move(done), Outcome<Nothing>(Nothing{}));
    }

    /// One capture, which has the bytes "packets" and ends after these if its count is 1.
    void start_capture(std::string_view port, const CaptureRequest& request,
                       Done<CaptureInfo> done) override {
        if (capture) {
            answer(std::move(done), Outcome<CaptureInfo>(tl::unexpected(ModelError{
                                        Refusal::kConflict, "captured already", "", "wait"})));
            return;
        }
        captured_port = port;
        capture_request = request;
        capture = CaptureInfo{7, request.snap_length, true, 0, 2, 1024};
        answer(std::move(done), Outcome<CaptureInfo>(*capture));
    }

    void read_capture(std::string_view, std::uint32_t id, Done<CapturePiece> done) override {
        if (!capture || id != capture->id) {
            answer(std::move(done), Outcome<CapturePiece>(tl::unexpected(no_capture())));
            return;
        }
        CapturePiece piece;
        if (capture->captured == 0) {
            capture->captured = 1;
            piece.bytes = std::string("packets\0", 8);
        } else {
            piece.over = !capture->running || capture_request.count == 1;
        }
        answer(std::move(done), Outcome<CapturePiece>(piece));
    }

    void stop_capture(std::string_view, std::uint32_t id, Done<CaptureInfo> done) override {
        if (!capture || id != capture->id) {
            answer(std::move(done), Outcome<CaptureInfo>(tl::unexpected(no_capture())));
            return;
        }
        capture->running = false;
        answer(std::move(done), Outcome<CaptureInfo>(*capture));
    }

    void end_capture(std::string_view, std::uint32_t id, Done<CaptureInfo> done) override {
        if (!capture || id != capture->id) {
            answer(std::move(done), Outcome<CaptureInfo>(tl::unexpected(no_capture())));
            return;
        }
        answer(std::move(done), Outcome<CaptureInfo>(*std::exchange(capture, std::nullopt)));
    }

    void qps(const ListFilter& filter, Done<QpList> done) override {
        last_filter = filter;
        answer(std::move(done), Outcome<QpList>(QpList{{queue_pair()}, 5}));
    }

    void qp(std::uint32_t qpn, Done<QpInfo> done) override {
        if (qpn != queue_pair().qpn) {
            answer(std::move(done),
                   Outcome<QpInfo>(tl::unexpected(
                       ModelError{Refusal::kNotFound, "there is no queue pair", "", "list them"})));
            return;
        }
        answer(std::move(done), Outcome<QpInfo>(queue_pair()));
    }

    void mrs(const ListFilter& filter, Done<MrList> done) override {
        last_filter = filter;
        MrInfo mr;
        mr.vnic = "a";
        mr.pid = 100;
        mr.lkey = 0x1234abcd;
        mr.iova = 4096;
        mr.length = 8192;
        mr.access = 1 | 2;
        mr.adopted_bytes = 4096;
        mr.process_bytes = 4096;
        mr.reason = "a file mapping";
        answer(std::move(done), Outcome<MrList>(MrList{{mr}, 1}));
    }

    void groups(const ListFilter& filter, Done<GroupList> done) override {
        last_filter = filter;
        GroupInfo group;
        group.network = "blue";
        group.network_id = 10;
        group.group.octets = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 1, 2, 3};
        group.vnic = "a";
        group.qpns = {0x11, 0xabcdef};
        group.port = GroupReport::kJoining;
        answer(std::move(done), Outcome<GroupList>(GroupList{{group}, 3}));
    }

    void counters(std::optional<std::string> vnic, Done<Counters> done) override {
        Counters counters;
        if (!vnic) {
            counters.service = {{"attaches", 3, "Processes that attached.", CounterKind::kCounter},
                                {"temperature", 9, "A gauge.", CounterKind::kGauge}};
        }
        counters.vnics = {{"a", "blue", {{"send_operations", 12, "Sends.", {}}}}};
        answer(std::move(done), Outcome<Counters>(counters));
    }

    void run_deferred() {
        for (const auto& work : std::exchange(deferred_, {})) {
            work();
        }
    }
    [[nodiscard]] std::size_t deferred() const { return deferred_.size(); }

    bool defer = false;
    bool busy = false;
    bool forced = false;
    ListFilter last_filter;
    std::string faults_of;
    std::optional<PortFaults> faults;
    std::string captured_port;
    CaptureRequest capture_request;
    std::optional<CaptureInfo> capture;

  private:
    [[nodiscard]] static ModelError no_capture() {
        return {Refusal::kNotFound, "no such capture", "", "start one"};
    }

    template <class T>
    void answer(Done<T> done, Outcome<T> outcome) {
        if (defer) {
            deferred_.push_back(
                [done = std::move(done), outcome = std::move(outcome)] { done(outcome); });
        } else {
            done(std::move(outcome));
        }
    }

    [[nodiscard]] VnicInfo info(const VnicConfig& config) const {
        VnicInfo info;
        info.config = config;
        info.network_id = configuration_.find_network(config.network)->id;
        info.gids = {Gid{}};
        info.state = state_;
        info.active_mtu = 1024;
        info.socket_path = "/run/vrdma/vnic/" + config.name + "/device.sock";
        info.pids = {100, 101};
        info.qps = 1;
        return info;
    }

    [[nodiscard]] static QpInfo queue_pair() {
        QpInfo qp;
        qp.qpn = 0xabcdef;
        qp.vnic = "a";
        qp.pid = 100;
        qp.path = PathKind::kSameWorker;
        qp.attributes.type = 2;
        qp.attributes.state = 3;
        qp.attributes.current_state = 6;
        qp.attributes.path_mtu = 5;
        qp.attributes.access = 1 | 2 | 4 | 8;
        qp.sq = {256, 2, 0xffffffff};
        qp.last_reason = 51;
        qp.counters = {{"retries", 2, "Retransmissions.", {}}};
        return qp;
    }

    Configuration configuration_;
    LinkState state_ = LinkState::kUp;
    std::vector<std::function<void()>> deferred_;
};

}  // namespace vrdma::control
