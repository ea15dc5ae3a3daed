#include "verbs/device.h"

#include <array>
#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/port.h"

namespace vrdma::verbs {
namespace {

class DeviceTest : public ProviderTest {};

TEST_F(DeviceTest, query_tells_what_the_service_announced) {
    ibv_device_attr attr{};
    ASSERT_EQ(ibv_query_device(context_, &attr), 0);
    EXPECT_STREQ(attr.fw_ver, "1.2.3");
    EXPECT_EQ(attr.node_guid, 0x8877665544332211U);  // network byte order
    EXPECT_EQ(attr.sys_image_guid, attr.node_guid);
    EXPECT_EQ(attr.max_qp, 1024);
    EXPECT_EQ(attr.max_qp_wr, 4096);
    EXPECT_EQ(attr.max_cqe, 65536);
    EXPECT_EQ(attr.max_sge, 16);
    EXPECT_EQ(attr.max_qp_rd_atom, 128);
    EXPECT_EQ(attr.atomic_cap, IBV_ATOMIC_HCA);
    EXPECT_EQ(attr.vendor_id, kVendorId);
    EXPECT_EQ(attr.phys_port_cnt, 1);
}

TEST_F(DeviceTest, query_writes_no_byte_beyond_the_callers_size) {
    for (const std::size_t size : {sizeof(ibv_device_attr), std::size_t{300}, std::size_t{400}}) {
        alignas(ibv_device_attr_ex) std::array<unsigned char, 512> memory;
        memory.fill(0xa5);
        ASSERT_EQ(query_device_ex(context_, nullptr,
                                  reinterpret_cast<ibv_device_attr_ex*>(memory.data()), size),
                  0);
        for (std::size_t i = size; i < memory.size(); ++i) {
            ASSERT_EQ(memory[i], 0xa5) << "size " << size << " byte " << i;
        }
    }
}

TEST_F(DeviceTest, query_of_a_larger_struct_clears_what_it_does_not_know) {
    alignas(ibv_device_attr_ex) std::array<unsigned char, 512> memory;
    memory.fill(0xa5);
    ASSERT_EQ(query_device_ex(context_, nullptr,
                              reinterpret_cast<ibv_device_attr_ex*>(memory.data()), memory.size()),
              0);
    EXPECT_EQ(memory[511], 0);
}

TEST_F(DeviceTest, query_with_an_unknown_input_mask_is_einval) {
    ibv_query_device_ex_input input{.comp_mask = 1};
    ibv_device_attr_ex attr{};
    EXPECT_EQ(query_device_ex(context_, &input, &attr, sizeof attr), EINVAL);
}

TEST_F(DeviceTest, query_into_less_than_the_first_struct_is_einval) {
    ibv_device_attr_ex attr{};
    EXPECT_EQ(query_device_ex(context_, nullptr, &attr, sizeof(ibv_device_attr) - 1), EINVAL);
}

TEST_F(DeviceTest, port_is_an_active_ethernet_port) {
    ibv_port_attr attr{};
    ASSERT_EQ(ibv_query_port(context_, 1, &attr), 0);
    EXPECT_EQ(attr.state, IBV_PORT_ACTIVE);
    EXPECT_EQ(attr.active_mtu, IBV_MTU_4096);
    EXPECT_EQ(attr.link_layer, IBV_LINK_LAYER_ETHERNET);
    EXPECT_EQ(attr.gid_tbl_len, 4);
    EXPECT_EQ(attr.pkey_tbl_len, 1);
    EXPECT_EQ(attr.max_msg_sz, VRDMA_MAX_TRANSFER_BYTES);
    EXPECT_EQ(attr.active_width, 2);
    EXPECT_EQ(attr.active_speed, 64);
    EXPECT_EQ(attr.phys_state, 5);
}

// IBA 11.2.1.2: the port's active MTU is what programs take their path MTU from.
TEST_F(DeviceTest, active_mtu_is_the_services_and_the_largest_stays) {
    for (const auto mtu : {IBV_MTU_256, IBV_MTU_1024, IBV_MTU_4096}) {
        device_.port_mtu = mtu;
        ibv_port_attr attr{};
        ASSERT_EQ(ibv_query_port(context_, 1, &attr), 0);
        EXPECT_EQ(attr.active_mtu, mtu);
        EXPECT_EQ(attr.max_mtu, IBV_MTU_4096);
    }
}

TEST_F(DeviceTest, port_that_is_down_has_no_link) {
    device_.port_state = IBV_PORT_DOWN;
    ibv_port_attr attr{};
    ASSERT_EQ(ibv_query_port(context_, 1, &attr), 0);
    EXPECT_EQ(attr.state, IBV_PORT_DOWN);
    EXPECT_EQ(attr.phys_state, 2);
}

TEST_F(DeviceTest, port_query_writes_the_oldest_struct_only) {
    alignas(ibv_port_attr) std::array<unsigned char, 64> memory;
    memory.fill(0xa5);
    ASSERT_EQ(query_port(context_, 1, reinterpret_cast<ibv_port_attr*>(memory.data())), 0);
    for (std::size_t i = 52; i < memory.size(); ++i) {
        EXPECT_EQ(memory[i], 0xa5);
    }
}

TEST_F(DeviceTest, other_ports_do_not_exist) {
    ibv_port_attr attr{};
    std::uint64_t speed = 0;
    EXPECT_EQ(query_port(context_, 0, &attr), EINVAL);
    EXPECT_EQ(query_port(context_, 2, &attr), EINVAL);
    EXPECT_EQ(query_port_speed(context_, 2, &speed), EINVAL);
    EXPECT_EQ(query_port_speed(context_, 1, &speed), 0);
    EXPECT_EQ(speed, 2000U);
}

TEST_F(DeviceTest, pd_lives_at_the_device) {
    EXPECT_EQ(device_.commands(VRDMA_CMD_ALLOC_PD).size(), 1U);
    ibv_pd* pd = ibv_alloc_pd(context_);
    const std::uint32_t handle = pd->handle;
    EXPECT_EQ(ibv_dealloc_pd(pd), 0);
    EXPECT_EQ(device_.last(VRDMA_CMD_DEALLOC_PD).as<vrdma_handle>().handle, handle);
}

TEST_F(DeviceTest, pd_in_use_stays) {
    device_.refuse_next(VRDMA_CMD_DEALLOC_PD, VRDMA_STATUS_BUSY, "queue pairs use it");
    EXPECT_EQ(ibv_dealloc_pd(pd_), EBUSY);
    EXPECT_EQ(ibv_dealloc_pd(std::exchange(pd_, nullptr)), 0);
}

TEST_F(DeviceTest, pd_above_the_quota_is_enomem) {
    device_.refuse_next(VRDMA_CMD_ALLOC_PD, VRDMA_STATUS_NO_RESOURCE, "quota");
    EXPECT_EQ(ibv_alloc_pd(context_), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace vrdma::verbs
