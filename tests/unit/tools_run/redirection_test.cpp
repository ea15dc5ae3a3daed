#include "tools/preload/redirection.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace vrdma::preload {
namespace {

class RedirectionTest : public testing::Test {
  protected:
    RedirectionTest() { redirection_.set("/run/vrdma/vnic/a", "/real/vnic/a"); }

    std::string into(const std::string& path) {
        return redirection_.into_tree(path.c_str(), buffer_);
    }
    std::string out(const std::string& path) {
        PathBuffer text;
        std::strcpy(text.text, path.c_str());
        redirection_.out_of_tree(text.text);
        return text.text;
    }

    Redirection redirection_;
    PathBuffer buffer_;
};

TEST_F(RedirectionTest, covered_directories_lead_into_the_tree) {
    EXPECT_EQ(into("/sys/class/infiniband"), "/run/vrdma/vnic/a/sys/class/infiniband");
    EXPECT_EQ(into("/sys/class/infiniband_verbs"), "/run/vrdma/vnic/a/sys/class/infiniband_verbs");
    EXPECT_EQ(into("/dev/infiniband"), "/run/vrdma/vnic/a/dev/infiniband");
}

TEST_F(RedirectionTest, what_lies_below_leads_into_the_tree) {
    EXPECT_EQ(into("/sys/class/infiniband/vrdma0/ports/1/gids/3"),
              "/run/vrdma/vnic/a/sys/class/infiniband/vrdma0/ports/1/gids/3");
    EXPECT_EQ(into("/dev/infiniband/uverbs0"), "/run/vrdma/vnic/a/dev/infiniband/uverbs0");
}

TEST_F(RedirectionTest, neighbours_stay) {
    for (const char* path :
         {"/sys/class", "/sys/class/net/eth0", "/sys/class/infiniband_mad/umad0", "/dev/full",
          "/dev/infinibandx", "/tmp/sys/class/infiniband", "", "sys/class/infiniband"}) {
        EXPECT_EQ(into(path), path);
    }
}

TEST_F(RedirectionTest, null_path_stays_null) {
    EXPECT_EQ(redirection_.into_tree(nullptr, buffer_), nullptr);
}

TEST_F(RedirectionTest, path_that_does_not_fit_becomes_empty) {
    const std::string prefix = "/sys/class/infiniband/";
    const std::size_t room = PATH_MAX - 1 - std::strlen("/run/vrdma/vnic/a");
    const std::string fits = prefix + std::string(room - prefix.size(), 'x');
    EXPECT_EQ(into(fits), "/run/vrdma/vnic/a" + fits);
    EXPECT_EQ(into(fits + "x"), "");
}

TEST_F(RedirectionTest, resolved_path_gets_its_name_back) {
    EXPECT_EQ(out("/real/vnic/a/sys/class/infiniband/vrdma0"), "/sys/class/infiniband/vrdma0");
    EXPECT_EQ(out("/real/vnic/a/dev/infiniband"), "/dev/infiniband");
}

TEST_F(RedirectionTest, other_resolved_paths_stay) {
    for (const char* path : {"/real/vnic/a", "/real/vnic/a/device.sock", "/real/vnic/ab/sys/class",
                             "/real/vnic/a/system", "/dev/full"}) {
        EXPECT_EQ(out(path), path);
    }
}

TEST(RedirectionWithoutTree, nothing_is_redirected) {
    for (const char* tree : {static_cast<const char*>(nullptr), "", "relative/tree"}) {
        Redirection redirection;
        redirection.set(tree, nullptr);
        PathBuffer buffer;
        const char* path = "/sys/class/infiniband";
        EXPECT_EQ(redirection.into_tree(path, buffer), path);
    }
}

}  // namespace
}  // namespace vrdma::preload
