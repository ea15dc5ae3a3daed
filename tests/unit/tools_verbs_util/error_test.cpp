#include "tools/verbs_util/error.h"

#include <gtest/gtest.h>

namespace vrdma::verbs_util {
namespace {

TEST(ErrorMessage, all_parts_are_on_one_line) {
    const Error error{ErrorKind::kSetup, "ibv_create_cq", ENOMEM, "ask for less"};
    EXPECT_EQ(error.message(), "ibv_create_cq: Cannot allocate memory; ask for less");
}

TEST(ErrorMessage, absent_parts_leave_no_trace) {
    const Error error{ErrorKind::kSetup, "ibv_create_cq", 0, ""};
    EXPECT_EQ(error.message(), "ibv_create_cq");
}

TEST(FailErrno, known_errno_gets_a_remedy) {
    const tl::expected<void, Error> failed = fail_errno(ErrorKind::kSetup, "x", EOPNOTSUPP);
    EXPECT_EQ(failed.error().remedy, "the device does not support this");
}

TEST(FailErrno, remedy_of_the_caller_wins) {
    const tl::expected<void, Error> failed = fail_errno(ErrorKind::kSetup, "x", ENOMEM, "mine");
    EXPECT_EQ(failed.error().remedy, "mine");
}

}  // namespace
}  // namespace vrdma::verbs_util
