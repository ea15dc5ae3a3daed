#include "verbs/libibverbs_abi/libibverbs.h"

#include <gtest/gtest.h>

namespace vrdma::verbs_abi {
namespace {

TEST(PabiInFileName, installed_name_gives_its_number) {
    EXPECT_EQ(pabi_in_file_name("/usr/lib/x86_64-linux-gnu/libibverbs/libvrdma-rdmav34.so"), 34U);
    EXPECT_EQ(pabi_in_file_name("libvrdma-rdmav65.so"), 65U);
}

TEST(PabiInFileName, last_mark_counts) {
    EXPECT_EQ(pabi_in_file_name("/opt/x-rdmav57.so/libvrdma-rdmav59.so"), 59U);
}

TEST(PabiInFileName, other_names_give_none) {
    EXPECT_EQ(pabi_in_file_name("/build/libvrdma.so"), 0U);
    EXPECT_EQ(pabi_in_file_name("/build/libvrdma-rdmav.so"), 0U);
    EXPECT_EQ(pabi_in_file_name("/build/libvrdma-rdmav34"), 0U);
    EXPECT_EQ(pabi_in_file_name("/build/libvrdma-rdmav34.so.1"), 0U);
    EXPECT_EQ(pabi_in_file_name(""), 0U);
}

// This program has no libibverbs: every weak reference is null.
TEST(FindLibibverbs, process_without_one_is_told_apart) {
    const auto found = find_libibverbs();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error(), LibibverbsError::not_loaded);
}

}  // namespace
}  // namespace vrdma::verbs_abi
