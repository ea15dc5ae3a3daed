#include "tools/preload/only_vnic.h"

#include <gtest/gtest.h>

#include <climits>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace vrdma::preload {
namespace {

namespace fs = std::filesystem;

class OnlyVnic : public testing::Test {
  protected:
    OnlyVnic() {
        std::string name = (fs::temp_directory_path() / "vrdma-only-XXXXXX").string();
        directory_ = mkdtemp(name.data());
    }
    ~OnlyVnic() override { fs::remove_all(directory_); }

    bool found(const fs::path& directory) { return find_only_vnic(directory.c_str(), buffer_); }

    fs::path directory_;
    PathBuffer buffer_{};
};

TEST_F(OnlyVnic, one_directory_is_found) {
    fs::create_directory(directory_ / "train-0");
    ASSERT_TRUE(found(directory_));
    EXPECT_EQ(std::string(buffer_.text), directory_ / "train-0");
}

TEST_F(OnlyVnic, names_with_a_dot_in_front_do_not_count) {
    fs::create_directory(directory_ / ".new");
    EXPECT_FALSE(found(directory_));
    fs::create_directory(directory_ / "train-0");
    EXPECT_TRUE(found(directory_));
}

TEST_F(OnlyVnic, empty_directory_gives_none) {
    EXPECT_FALSE(found(directory_));
}

TEST_F(OnlyVnic, two_directories_give_none) {
    fs::create_directory(directory_ / "train-0");
    fs::create_directory(directory_ / "train-1");
    EXPECT_FALSE(found(directory_));
}

TEST_F(OnlyVnic, missing_directory_gives_none) {
    EXPECT_FALSE(found(directory_ / "absent"));
}

TEST_F(OnlyVnic, path_that_does_not_fit_gives_none) {
    fs::create_directory(directory_ / "train-0");
    std::string detour = directory_.string();
    while (detour.size() + 2 < PATH_MAX) {
        detour += "/.";
    }
    ASSERT_TRUE(fs::exists(detour));
    EXPECT_FALSE(found(detour));
}

}  // namespace
}  // namespace vrdma::preload
