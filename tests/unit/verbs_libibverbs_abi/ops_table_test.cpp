#include "verbs/libibverbs_abi/ops_table.h"

#include <gtest/gtest.h>

#include <cstring>

namespace vrdma::verbs_abi {
namespace {

int req_notify(ibv_cq*, int) {
    return 0;
}

int query_speed(ibv_context*, std::uint32_t, std::uint64_t*) {
    return 0;
}

void* slot(const OpsTable& ops, std::size_t offset) {
    void* value = nullptr;
    std::memcpy(&value, static_cast<const char*>(ops.data()) + offset, sizeof value);
    return value;
}

TEST(OpsTable, set_stores_at_the_offset_of_the_layout) {
    for (const Layout layout : {Layout::A, Layout::B, Layout::C, Layout::D, Layout::E}) {
        OpsTable ops(layout);
        ops.set<Op::req_notify_cq>(&req_notify);
        for (std::size_t offset = 0; offset < sizes_of(layout).ops_size; offset += 8) {
            const bool ours = offset == *offset_of(layout, Op::req_notify_cq);
            EXPECT_EQ(slot(ops, offset), ours ? reinterpret_cast<void*>(&req_notify) : nullptr);
        }
    }
}

TEST(OpsTable, set_of_an_absent_operation_stores_nothing) {
    OpsTable ops(Layout::B);
    ops.set<Op::query_port_speed>(&query_speed);
    for (std::size_t offset = 0; offset < kMaxOpsSize; offset += 8) {
        EXPECT_EQ(slot(ops, offset), nullptr);
    }
}

TEST(OpsTable, set_of_null_restores_unset) {
    OpsTable ops(Layout::A);
    ops.set<Op::req_notify_cq>(&req_notify);
    ops.set<Op::req_notify_cq>(nullptr);
    EXPECT_EQ(slot(ops, *offset_of(Layout::A, Op::req_notify_cq)), nullptr);
}

TEST(VerbsQp, mark_extended_sets_the_mask_where_either_release_reads_it) {
    VerbsQp qp{};
    mark_extended(qp);
    std::uint32_t mask = 0;
    std::memcpy(&mask, reinterpret_cast<const char*>(&qp) + 352, sizeof mask);
    EXPECT_EQ(mask, kVerbsQpEx);
    std::memcpy(&mask, reinterpret_cast<const char*>(&qp) + 360, sizeof mask);
    EXPECT_EQ(mask, kVerbsQpEx);
    EXPECT_EQ(qp.xrcd_from_50, nullptr);
}

}  // namespace
}  // namespace vrdma::verbs_abi
