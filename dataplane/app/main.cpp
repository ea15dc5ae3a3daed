// vrdmad: reads its configuration, starts the service in the foreground, says when it is ready, and
// leaves nothing behind when it is told to stop.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "dataplane/app/service.h"
#include "dataplane/app/version.h"
#include "dataplane/control/configuration.h"

namespace {

constexpr int kExitFailed = 1;
constexpr int kExitConfiguration = 2;
constexpr auto kDrain = std::chrono::seconds(2);

spdlog::level::level_enum level(vrdma::control::LogLevel setting) {
    switch (setting) {
        case vrdma::control::LogLevel::kTrace:
            return spdlog::level::trace;
        case vrdma::control::LogLevel::kDebug:
            return spdlog::level::debug;
        case vrdma::control::LogLevel::kInfo:
            return spdlog::level::info;
        case vrdma::control::LogLevel::kWarning:
            return spdlog::level::warn;
        case vrdma::control::LogLevel::kError:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int run(vrdma::control::Configuration configuration) {
    boost::asio::io_context io;
    boost::asio::signal_set signals(io, SIGINT, SIGTERM);
    const std::string directory = configuration.service.runtime_dir;
    auto service = vrdma::app::Service::start(io, std::move(configuration));
    if (!service) {
        fmt::print(stderr, "vrdmad: {}\n", service.error());
        return kExitFailed;
    }
    boost::asio::steady_timer drain(io);
    std::function<void()> wait_until_drained = [&] {
        if ((*service)->drained()) {
            io.stop();
            return;
        }
        drain.expires_after(std::chrono::milliseconds(5));
        drain.async_wait([&](const boost::system::error_code&) { wait_until_drained(); });
    };
    boost::asio::steady_timer give_up(io);
    signals.async_wait([&](const boost::system::error_code& error, int number) {
        if (error) {
            return;
        }
        spdlog::info("signal={} stopping", number);
        sd_notify(0, "STOPPING=1");
        (*service)->shut_down();
        give_up.expires_after(kDrain);
        give_up.async_wait([&](const boost::system::error_code& late) {
            if (!late) {
                io.stop();
            }
        });
        wait_until_drained();
    });
    spdlog::info("memory: {}", (*service)->eal_mode());
    fmt::print("vrdmad {} ready runtime_dir={} system_view={} memory=\"{}\"\n",
               vrdma::app::kVersion, directory, (*service)->has_system_view() ? "yes" : "no",
               (*service)->eal_mode());
    std::fflush(stdout);
    sd_notify(0, "READY=1");
    io.run();
    service->reset();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"vRDMA service: virtual RDMA network devices for the tenants of this host"};
    std::string path;
    bool check = false;
    app.add_option("--config", path, "configuration file (TOML)")->required();
    app.add_flag("--check", check, "check the configuration and exit");
    app.set_version_flag("--version", std::string("vrdmad ") + vrdma::app::kVersion);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? 0 : kExitConfiguration;
    }
    auto configuration = vrdma::control::load_configuration(path);
    if (!configuration) {
        for (const auto& error : configuration.error()) {
            fmt::print(stderr, "vrdmad: {}\n", vrdma::control::to_string(error));
        }
        return kExitConfiguration;
    }
    if (check) {
        fmt::print("{}: ok\n", path);
        return 0;
    }
    spdlog::set_default_logger(spdlog::stderr_color_mt("vrdmad"));
    spdlog::set_level(level(configuration->service.log_level));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return run(std::move(*configuration));
}
