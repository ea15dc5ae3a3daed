#include "verbs/mr.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <numeric>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

constexpr int kAll = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                     IBV_ACCESS_REMOTE_ATOMIC;
constexpr std::size_t kBytes = 4 * 4096;

// Shared memory, so that no test depends on what adoption does in a test runner.
class MrTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        fd_ = ::memfd_create("test", MFD_CLOEXEC);
        ASSERT_EQ(::ftruncate(fd_, kBytes), 0);
        memory_ =
            static_cast<char*>(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
        ASSERT_NE(memory_, MAP_FAILED);
    }
    void TearDown() override {
        ProviderTest::TearDown();
        ::munmap(memory_, kBytes);
        ::close(fd_);
    }

    ibv_mr* reg(int access, std::size_t length = kBytes) {
        return ibv_reg_mr_iova2(pd_, memory_, length, reinterpret_cast<std::uintptr_t>(memory_),
                                static_cast<unsigned>(access));
    }
    std::vector<vrdma_mr_range> last_ranges() {
        return device_.last(VRDMA_CMD_REG_MR).rest<vrdma_cmd_reg_mr, vrdma_mr_range>();
    }

    int fd_ = -1;
    char* memory_ = nullptr;
};

TEST_F(MrTest, reg_hands_over_the_memory) {
    ibv_mr* mr = reg(kAll);
    ASSERT_NE(mr, nullptr);
    const auto request = device_.last(VRDMA_CMD_REG_MR).as<vrdma_cmd_reg_mr>();
    EXPECT_EQ(request.iova, reinterpret_cast<std::uintptr_t>(memory_));
    EXPECT_EQ(request.length, kBytes);
    EXPECT_EQ(request.access, 0xfU);
    EXPECT_EQ(request.pd, pd_->handle);
    EXPECT_NE(mr->lkey, 0U);
    EXPECT_EQ(mr->rkey, mr->lkey);
    std::strcpy(memory_ + 5000, "seen");
    const auto ranges = last_ranges();
    ASSERT_EQ(ranges.size(), 1U);
    EXPECT_STREQ(
        reinterpret_cast<char*>(device_.memory(ranges[0].region)) + ranges[0].offset + 5000,
        "seen");
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, reg_of_part_of_a_page_names_exactly_those_bytes) {
    ibv_mr* mr = ibv_reg_mr(pd_, memory_ + 100, 50, IBV_ACCESS_LOCAL_WRITE);
    ASSERT_NE(mr, nullptr);
    const auto ranges = last_ranges();
    ASSERT_EQ(ranges.size(), 1U);
    EXPECT_EQ(ranges[0].offset, 100U);
    EXPECT_EQ(ranges[0].length, 50U);
    ibv_dereg_mr(mr);
}

TEST_F(MrTest, reg_twice_adds_one_region) {
    ibv_mr* a = reg(kAll);
    ibv_mr* b = reg(IBV_ACCESS_LOCAL_WRITE, 4096);
    using Ranges = std::vector<vrdma_mr_range>;
    const auto both = device_.commands(VRDMA_CMD_REG_MR);
    const Ranges first = both[0].rest<vrdma_cmd_reg_mr, vrdma_mr_range>();
    EXPECT_EQ(last_ranges()[0].region, first[0].region);
    ibv_dereg_mr(a);
    EXPECT_EQ(device_.commands(VRDMA_CMD_REMOVE_REGION).size(), 0U);
    ibv_dereg_mr(b);
    EXPECT_EQ(device_.commands(VRDMA_CMD_REMOVE_REGION).size(), 1U);
}

TEST_F(MrTest, reg_with_another_iova_keeps_it) {
    ibv_mr* mr = ibv_reg_mr_iova2(pd_, memory_, kBytes, 0x10000, IBV_ACCESS_LOCAL_WRITE);
    ASSERT_NE(mr, nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_REG_MR).as<vrdma_cmd_reg_mr>().iova, 0x10000U);
    ibv_dereg_mr(mr);
}

TEST_F(MrTest, reg_of_nothing_has_no_ranges) {
    ibv_mr* mr = reg(IBV_ACCESS_LOCAL_WRITE, 0);
    ASSERT_NE(mr, nullptr);
    EXPECT_EQ(last_ranges().size(), 0U);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, reg_ignores_relaxed_ordering_and_hugetlb) {
    ibv_mr* mr =
        ibv_reg_mr_iova2(pd_, memory_, kBytes, 0,
                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_HUGETLB | IBV_ACCESS_RELAXED_ORDERING);
    ASSERT_NE(mr, nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_REG_MR).as<vrdma_cmd_reg_mr>().access, 1U);
    ibv_dereg_mr(mr);
}

TEST_F(MrTest, reg_with_remote_write_needs_local_write) {
    for (const int access : {IBV_ACCESS_REMOTE_WRITE, IBV_ACCESS_REMOTE_ATOMIC}) {
        errno = 0;
        EXPECT_EQ(reg(access | 0), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
}

TEST_F(MrTest, reg_with_an_unsupported_kind_of_access_is_eopnotsupp) {
    for (const int access : {IBV_ACCESS_ZERO_BASED, IBV_ACCESS_ON_DEMAND}) {
        errno = 0;
        EXPECT_EQ(reg(IBV_ACCESS_LOCAL_WRITE | access), nullptr);
        EXPECT_EQ(errno, EOPNOTSUPP);
    }
}

TEST_F(MrTest, reg_with_an_unknown_access_bit_is_einval) {
    errno = 0;
    EXPECT_EQ(reg(IBV_ACCESS_LOCAL_WRITE | 1 << 12), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(MrTest, reg_of_unmapped_memory_is_efault) {
    errno = 0;
    EXPECT_EQ(reg_mr(pd_, reinterpret_cast<void*>(0x1000), 4096, 0x1000, IBV_ACCESS_LOCAL_WRITE),
              nullptr);
    EXPECT_EQ(errno, EFAULT);
}

TEST_F(MrTest, reg_that_the_device_refuses_leaves_nothing_behind) {
    const std::size_t before = device_.object_count();
    device_.refuse_next(VRDMA_CMD_REG_MR, VRDMA_STATUS_NO_RESOURCE, "quota max_mrs is used up");
    errno = 0;
    EXPECT_EQ(reg(kAll), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    EXPECT_EQ(device_.object_count(), before);
}

TEST_F(MrTest, reg_whose_region_is_refused_fails_with_its_errno) {
    device_.refuse_next(VRDMA_CMD_ADD_REGION, VRDMA_STATUS_NO_ACCESS, "not mappable");
    errno = 0;
    EXPECT_EQ(reg(kAll), nullptr);
    EXPECT_EQ(errno, EFAULT);
}

TEST_F(MrTest, dereg_that_is_refused_keeps_the_mr) {
    ibv_mr* mr = reg(kAll);
    device_.refuse_next(VRDMA_CMD_DEREG_MR, VRDMA_STATUS_BUSY, "busy");
    EXPECT_EQ(ibv_dereg_mr(mr), EBUSY);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, private_memory_reaches_the_device) {
    std::vector<char> memory(3 * 4096 + 77);
    ibv_mr* mr = ibv_reg_mr(pd_, memory.data() + 5, memory.size() - 5, kAll);
    ASSERT_NE(mr, nullptr);
    std::uint64_t total = 0;
    for (const vrdma_mr_range& range : last_ranges()) {
        total += range.length;
    }
    EXPECT_EQ(total, memory.size() - 5);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

// As if nothing but /proc/self/mem reached the memory.
class ProcessMemoryTest : public MrTest {
  protected:
    void SetUp() override {
        MrTest::SetUp();
        tenant_memory::Policy policy;
        policy.process_only = true;
        tenant_memory::MemoryMap::instance().set_policy(policy);
    }
    void TearDown() override {
        tenant_memory::MemoryMap::instance().set_policy({});
        MrTest::TearDown();
    }
};

TEST_F(ProcessMemoryTest, reg_where_it_is_permitted_is_a_region_of_that_kind) {
    ibv_mr* mr = reg(kAll);
    ASSERT_NE(mr, nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_ADD_REGION).as<vrdma_cmd_add_region>().kind,
              std::uint32_t{VRDMA_REGION_PROCESS});
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

// A vNIC whose operator refuses memory that is reached through the process.
class RefusedProcessMemoryTest : public ProcessMemoryTest {
  protected:
    RefusedProcessMemoryTest() { device_.features = 0; }
};

TEST_F(RefusedProcessMemoryTest, reg_is_eopnotsupp_and_leaves_nothing_behind) {
    const std::size_t before = device_.object_count();
    errno = 0;
    EXPECT_EQ(reg(kAll), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(device_.commands(VRDMA_CMD_REG_MR).size(), 0U);
    EXPECT_EQ(device_.object_count(), before);
    EXPECT_EQ(tenant_memory::MemoryMap::instance().census().pins, 0U);
}

TEST_F(RefusedProcessMemoryTest, reg_of_memory_of_another_kind_succeeds) {
    tenant_memory::MemoryMap::instance().set_policy({});
    ibv_mr* mr = reg(kAll);
    ASSERT_NE(mr, nullptr);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, rereg_changes_the_memory_and_the_access) {
    ibv_mr* mr = reg(IBV_ACCESS_LOCAL_WRITE, 4096);
    ASSERT_EQ(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION | IBV_REREG_MR_CHANGE_ACCESS,
                           nullptr, memory_ + 4096, 8192, kAll),
              0);
    const auto request = device_.last(VRDMA_CMD_REG_MR).as<vrdma_cmd_reg_mr>();
    EXPECT_EQ(request.iova, reinterpret_cast<std::uintptr_t>(memory_ + 4096));
    EXPECT_EQ(request.length, 8192U);
    EXPECT_EQ(request.access, 0xfU);
    EXPECT_EQ(mr->length, 8192U);
    EXPECT_EQ(device_.commands(VRDMA_CMD_DEREG_MR).size(), 1U);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, rereg_that_fails_keeps_the_old_registration) {
    ibv_mr* mr = reg(IBV_ACCESS_LOCAL_WRITE, 4096);
    const std::uint32_t key = mr->lkey;
    device_.refuse_next(VRDMA_CMD_REG_MR, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_NE(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, nullptr, nullptr, 0, kAll), 0);
    EXPECT_EQ(mr->lkey, key);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
}

TEST_F(MrTest, dmabuf_without_a_descriptor_is_answered_as_not_supported) {
    errno = 0;
    EXPECT_EQ(ibv_reg_dmabuf_mr(pd_, 0, 0, 0, -1, 0), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_F(MrTest, dmabuf_is_not_supported) {
    errno = 0;
    EXPECT_EQ(ibv_reg_dmabuf_mr(pd_, 0, 4096, 0, fd_, IBV_ACCESS_LOCAL_WRITE), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

}  // namespace
}  // namespace vrdma::verbs
