#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "dataplane/control/http_server.h"
#include "dataplane/control/routes.h"
#include "tests/unit/control/fake_service_model.h"

namespace vrdma::control {

/// The fake service behind a real socket, on a thread of its own, for clients that wait.
class ServedModel {
  public:
    ServedModel() {
        std::string name = testing::TempDir() + "vrdma-served-XXXXXX";
        directory_ = ::mkdtemp(name.data());
        HttpServerOptions options;
        options.socket_path = socket();
        auto server = HttpServer::start(context_, options,
                                        [this](const ApiRequest& request, Respond respond) {
                                            routes_.handle(request, std::move(respond));
                                        });
        if (server) {
            server_ = std::move(*server);
        }
        thread_ = std::thread([this] { context_.run(); });
    }
    ServedModel(const ServedModel&) = delete;
    ServedModel& operator=(const ServedModel&) = delete;
    ~ServedModel() {
        context_.stop();
        thread_.join();
        server_.reset();
        std::filesystem::remove_all(directory_);
    }

    [[nodiscard]] std::string directory() const { return directory_; }
    [[nodiscard]] std::string socket() const { return directory_ / "control.sock"; }

  private:
    std::filesystem::path directory_;
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
        context_.get_executor()};
    FakeServiceModel model_;
    Routes routes_{model_};
    std::unique_ptr<HttpServer> server_;
    std::thread thread_;
};

}  // namespace vrdma::control
