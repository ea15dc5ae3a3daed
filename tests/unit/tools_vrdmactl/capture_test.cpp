#include "tools/vrdmactl/capture.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/control/served_model.h"
#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/run.h"

namespace vrdma::vrdmactl {
namespace {

using testing::HasSubstr;

class CaptureTest : public testing::Test {
  protected:
    int vrdmactl(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--runtime-dir", served_.directory()});
        out_.str("");
        err_.str("");
        return run(arguments, out_, err_);
    }
    [[nodiscard]] std::string file() const { return served_.directory() + "/capture.pcapng"; }
    [[nodiscard]] std::string bytes() const {
        std::ifstream in(file(), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    control::ServedModel served_;
    std::ostringstream out_;
    std::ostringstream err_;
};

TEST_F(CaptureTest, count_ends_it_and_the_summary_says_what_was_missed) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--count", "1"}), kDone) << err_.str();
    EXPECT_EQ(bytes(), std::string("packets\0", 8));
    EXPECT_THAT(out_.str(), HasSubstr("1 packets captured, 2 missed\n"));
    EXPECT_THAT(out_.str(), HasSubstr("--snaplen"));
    EXPECT_EQ(err_.str(), "");
}

TEST_F(CaptureTest, duration_ends_it) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--duration", "1ms"}), kDone)
        << err_.str();
    EXPECT_EQ(bytes(), std::string("packets\0", 8));
}

TEST_F(CaptureTest, only_the_user_may_read_the_file) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--count", "1"}), kDone);
    EXPECT_EQ(std::filesystem::status(file()).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(CaptureTest, json_is_the_last_answer_of_the_service) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--count", "1", "--json"}), kDone);
    EXPECT_EQ(nlohmann::json::parse(out_.str())["captured"], 1);
}

TEST_F(CaptureTest, refusal_leaves_the_file_as_it_was) {
    std::ofstream(file()) << "before";
    EXPECT_EQ(vrdmactl({"capture", "p9", "-w", file()}), kRefused);
    EXPECT_THAT(err_.str(), HasSubstr("uplink"));
    EXPECT_EQ(bytes(), "before");
}

TEST_F(CaptureTest, file_that_cannot_be_written_ends_the_capture) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", "/nonexistent/file"}), kRefused);
    EXPECT_THAT(err_.str(), HasSubstr("cannot write /nonexistent/file: No such file"));
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--count", "1"}), kDone)
        << "the first one still runs: " << err_.str();
}

TEST_F(CaptureTest, full_disk_ends_the_capture_and_is_an_error) {
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", "/dev/full", "--count", "1"}), kRefused);
    EXPECT_THAT(err_.str(), HasSubstr("cannot write /dev/full: No space left"));
    EXPECT_EQ(vrdmactl({"capture", "uplink", "-w", file(), "--count", "1"}), kDone) << err_.str();
}

TEST(RenderCapture, nothing_missed_is_one_line) {
    EXPECT_EQ(render_capture(Json{{"captured", 10}, {"missed", 0}}),
              "10 packets captured, 0 missed\n");
}

}  // namespace
}  // namespace vrdma::vrdmactl
