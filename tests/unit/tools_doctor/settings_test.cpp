#include "tools/vrdma-doctor/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace vrdma::doctor {
namespace {

class SettingsFiles : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "doctor-XXXXXX";
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
        std::filesystem::create_directories(directory_ / "etc/ucx");
        std::filesystem::create_directories(directory_ / "home");
        home_ = "HOME=" + (directory_ / "home").string();
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    void write(const std::string& file, const std::string& text) {
        std::ofstream(directory_ / file) << text;
    }
    Settings read(const char* first = nullptr, const char* second = nullptr) {
        const char* environment[] = {home_.c_str(), first, second, nullptr};
        return read_settings(environment, directory_ / "etc");
    }

    std::filesystem::path directory_;
    std::string home_;
};

TEST_F(SettingsFiles, environment_wins_over_files) {
    write("etc/nccl.conf", "NCCL_NET=Socket\n");
    const Settings settings = read("NCCL_NET=IB");
    EXPECT_EQ(settings.at("NCCL_NET").value, "IB");
    EXPECT_EQ(settings.at("NCCL_NET").where, "the environment");
}

TEST_F(SettingsFiles, users_file_wins_over_the_systems) {
    write("etc/nccl.conf", "NCCL_NET=Socket\nNCCL_IB_HCA=vrdma\n");
    write("home/.nccl.conf", "NCCL_NET=IB\n");
    const Settings settings = read();
    EXPECT_EQ(settings.at("NCCL_NET").value, "IB");
    EXPECT_EQ(settings.at("NCCL_IB_HCA").where, (directory_ / "etc/nccl.conf").string());
}

TEST_F(SettingsFiles, named_file_of_nccl_replaces_the_users) {
    write("home/.nccl.conf", "NCCL_NET=IB\n");
    write("mine", "NCCL_DEBUG=INFO\n");
    const std::string named = "NCCL_CONF_FILE=" + (directory_ / "mine").string();
    const Settings settings = read(named.c_str());
    EXPECT_FALSE(settings.contains("NCCL_NET"));
    EXPECT_EQ(settings.at("NCCL_DEBUG").value, "INFO");
}

TEST_F(SettingsFiles, ucx_reads_its_directory_before_home_and_system) {
    write("etc/ucx/ucx.conf", "UCX_TLS=tcp\nUCX_LOG_LEVEL=info\n");
    write("home/ucx.conf", "UCX_TLS=rc\n");
    write("ucx.conf", "UCX_TLS=ud\n");
    EXPECT_EQ(read().at("UCX_TLS").value, "rc");
    const std::string own = "UCX_CONFIG_DIR=" + directory_.string();
    EXPECT_EQ(read(own.c_str()).at("UCX_TLS").value, "ud");
    EXPECT_EQ(read().at("UCX_LOG_LEVEL").value, "info");
}

TEST_F(SettingsFiles, comments_sections_and_blanks_are_no_settings) {
    write("etc/ucx/ucx.conf", "# UCX_TLS=tcp\n; UCX_TLS=tcp\n[x]\n\n UCX_NET_DEVICES = all \r\n");
    const Settings settings = read();
    EXPECT_FALSE(settings.contains("UCX_TLS"));
    EXPECT_EQ(settings.at("UCX_NET_DEVICES").value, "all");
    EXPECT_EQ(settings.size(), 2u);  // HOME
}

}  // namespace
}  // namespace vrdma::doctor
