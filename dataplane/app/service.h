// The running service: vNICs, their sockets and device trees, and what the control API sees of
// them.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <tl/expected.hpp>

#include "dataplane/app/attach_server.h"
#include "dataplane/app/dataplane.h"
#include "dataplane/app/inspection.h"
#include "dataplane/control/http_server.h"
#include "dataplane/control/routes.h"
#include "dataplane/control/service_model.h"
#include "dataplane/platform/system_view.h"

namespace vrdma::app {

class Service final : public control::ServiceModel {
  public:
    // Starts everything or nothing. Errors are sentences for the operator.
    [[nodiscard]] static tl::expected<std::unique_ptr<Service>, std::string> start(
        boost::asio::io_context& io, control::Configuration configuration);
    ~Service() override;

    // Tells every tenant that the device is gone and stops listening.
    void shut_down();
    [[nodiscard]] bool drained() const { return attach_->connections().empty(); }
    [[nodiscard]] const std::string& eal_mode() const { return dataplane_->eal_mode(); }
    [[nodiscard]] bool has_system_view() const { return view_ != nullptr; }

    const control::Configuration& configuration() const override { return configuration_; }
    void status(control::Done<control::ServiceStatus> done) override;
    void vnics(control::Done<std::vector<control::VnicInfo>> done) override;
    void vnic(std::string_view name, control::Done<control::VnicInfo> done) override;
    void add_vnic(const control::VnicConfig& config,
                  control::Done<control::VnicInfo> done) override;
    void delete_vnic(std::string_view name, bool force,
                     control::Done<control::Nothing> done) override;
    void set_vnic_state(std::string_view name, control::LinkState state,
                        control::Done<control::VnicInfo> done) override;
    void ports(control::Done<std::vector<control::PortInfo>> done) override;
    void set_port_faults(std::string_view name, const std::optional<control::PortFaults>& faults,
                         control::Done<control::Nothing> done) override;
    void start_capture(std::string_view port, const control::CaptureRequest& request,
                       control::Done<control::CaptureInfo> done) override;
    void read_capture(std::string_view port, uint32_t id,
                      control::Done<control::CapturePiece> done) override;
    void stop_capture(std::string_view port, uint32_t id,
                      control::Done<control::CaptureInfo> done) override;
    void end_capture(std::string_view port, uint32_t id,
                     control::Done<control::CaptureInfo> done) override;
    void qps(const control::ListFilter& filter, control::Done<control::QpList> done) override;
    void qp(uint32_t qpn, control::Done<control::QpInfo> done) override;
    void mrs(const control::ListFilter& filter, control::Done<control::MrList> done) override;
    void groups(const control::ListFilter& filter, control::Done<control::GroupList> done) override;
    void counters(std::optional<std::string> vnic, control::Done<control::Counters> done) override;

  private:
    struct Record {
        control::VnicConfig config;
        uint32_t network_id = 0;
        std::shared_ptr<AttachedVnic> attached;
        bool up = true;
        std::string system_device;
        std::string socket_path;
    };

    Service(boost::asio::io_context& io, control::Configuration configuration);
    [[nodiscard]] tl::expected<void, std::string> begin();
    [[nodiscard]] tl::expected<void, std::string> open_system_view();
    [[nodiscard]] tl::expected<void, std::string> make_vnic(const control::VnicConfig& config);
    void remove_vnic(uint32_t index);
    void vnic_is_empty(uint32_t index);
    void publish(const Record& record, bool present);
    void publish_addresses(uint32_t network);
    void wait_for_jobs();
    [[nodiscard]] Record* find(std::string_view name);
    [[nodiscard]] const Record* by_index(uint32_t index) const;
    [[nodiscard]] control::VnicInfo describe(const Record& record) const;
    [[nodiscard]] control::QpInfo describe(const QpSnapshot& snapshot, uint32_t worker) const;
    [[nodiscard]] uint32_t place(const AttachedVnic& vnic) const;
    [[nodiscard]] std::optional<uint32_t> filter_index(const control::ListFilter& filter);

    boost::asio::io_context& io_;
    control::Configuration configuration_;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    boost::asio::posix::stream_descriptor jobs_done_;
    std::unique_ptr<Dataplane> dataplane_;
    std::unique_ptr<AttachServer> attach_;
    std::unique_ptr<platform::SystemView> view_;
    std::vector<std::optional<Record>> records_;  // by vNIC index
    // Deleted, but the shards still take down what its tenants had: until then its index is nobody
    // else's, and its peers can be told.
    std::map<uint32_t, Record> leaving_;
    control::Routes routes_{*this};
    std::unique_ptr<control::HttpServer> http_;
    bool owns_directory_ = false;  // the runtime directory is claimed by us, not by another service
};

}  // namespace vrdma::app
