#include "dataplane/app/xrc_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace vrdma::app {
namespace {

constexpr platform::FileIdentity kFile{1, 10};
constexpr platform::FileIdentity kOther{2, 10};  // the same inode of another file system

TEST(XrcFiles, domain_stays_on_the_worker_of_its_first_handle) {
    XrcFiles files;
    EXPECT_TRUE(files.claim(kFile, 3));
    EXPECT_FALSE(files.claim(kFile, 1));
    EXPECT_TRUE(files.claim(kFile, 3));
    EXPECT_TRUE(files.claim(kOther, 1));
}

TEST(XrcFiles, worker_is_open_again_after_the_last_handle) {
    XrcFiles files;
    EXPECT_TRUE(files.claim(kFile, 3));
    EXPECT_TRUE(files.claim(kFile, 3));
    files.release(kFile);
    EXPECT_FALSE(files.claim(kFile, 1));
    files.release(kFile);
    EXPECT_TRUE(files.empty());
    EXPECT_TRUE(files.claim(kFile, 1));
}

TEST(XrcFiles, file_is_recognized_by_its_inode_whatever_descriptor_names_it) {
    const int one = ::memfd_create("one", MFD_CLOEXEC);
    const int again = ::dup(one);
    const int two = ::memfd_create("two", MFD_CLOEXEC);
    const auto identity = platform::identity_of(one);
    ASSERT_TRUE(identity.has_value());
    EXPECT_EQ(platform::identity_of(again), identity);
    EXPECT_NE(platform::identity_of(two), identity);
    for (const int file : {one, again, two}) {
        ::close(file);
    }
    EXPECT_FALSE(platform::identity_of(one).has_value());
}

}  // namespace
}  // namespace vrdma::app
