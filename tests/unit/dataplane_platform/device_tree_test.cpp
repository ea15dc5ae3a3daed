#include "dataplane/platform/device_tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "tests/unit/dataplane_platform/temporary_directory.h"

namespace vrdma::platform {
namespace {

namespace fs = std::filesystem;

constexpr GidBytes kLinkLocal = {0xfe, 0x80, 0,    0,    0,    0, 0, 0,
                                 0x02, 0x00, 0x0a, 0xff, 0xfe, 0, 0, 1};
constexpr GidBytes kEmpty = {};
constexpr GidBytes kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};

DeviceDescription device() {
    DeviceDescription device;
    device.vnic = "train-0";
    device.guid = {0x02, 0x00, 0x0a, 0xff, 0xfe, 0x00, 0x00, 0x01};
    device.gids = {kLinkLocal, kLinkLocal, kEmpty, kMapped};
    device.socket_path = "/run/vrdma/vnic/train-0/device.sock";
    device.firmware_version = "0.1.0";
    return device;
}

class DeviceTree : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(create_tree(root())); }
    [[nodiscard]] const fs::path& root() const { return directory_.path(); }
    [[nodiscard]] fs::path ib(const std::string& file) const {
        return infiniband_directory(root()) / file;
    }
    [[nodiscard]] fs::path uverbs(const std::string& file) const {
        return infiniband_verbs_directory(root()) / file;
    }
    [[nodiscard]] std::size_t entries_of_root() const {
        std::size_t count = 0;
        for ([[maybe_unused]] const auto& entry : fs::directory_iterator(root())) {
            ++count;
        }
        return count;
    }

  private:
    TemporaryDirectory directory_;
};

TEST_F(DeviceTree, empty_tree_has_the_kernel_interface_version) {
    EXPECT_EQ(contents_of(uverbs("abi_version")), "6\n");
    EXPECT_TRUE(fs::is_empty(infiniband_directory(root())));
    EXPECT_TRUE(fs::is_empty(dev_infiniband_directory(root())));
}

TEST_F(DeviceTree, device_has_what_discovery_reads) {
    ASSERT_TRUE(write_device(root(), 3, device()));
    EXPECT_EQ(contents_of(uverbs("uverbs3/ibdev")), "vrdma3\n");
    EXPECT_EQ(contents_of(uverbs("uverbs3/dev")), "0:0\n");
    EXPECT_EQ(contents_of(uverbs("uverbs3/abi_version")), "1\n");
    EXPECT_EQ(contents_of(ib("vrdma3/node_type")), "1: CA\n");
    EXPECT_EQ(fs::read_symlink(dev_infiniband_directory(root()) / "uverbs3"), "/dev/full");
}

TEST_F(DeviceTree, device_describes_itself) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_EQ(contents_of(ib("vrdma0/node_guid")), "0200:0aff:fe00:0001\n");
    EXPECT_EQ(contents_of(ib("vrdma0/sys_image_guid")), "0200:0aff:fe00:0001\n");
    EXPECT_EQ(contents_of(ib("vrdma0/node_desc")), "vrdma train-0\n");
    EXPECT_EQ(contents_of(ib("vrdma0/fw_ver")), "0.1.0\n");
    EXPECT_EQ(contents_of(ib("vrdma0/vrdma_socket")), "/run/vrdma/vnic/train-0/device.sock\n");
}

TEST_F(DeviceTree, port_has_its_state_and_pkey) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/state")), "4: ACTIVE\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/phys_state")), "5: LinkUp\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/rate")), "200 Gb/sec (4X HDR)\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/link_layer")), "Ethernet\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/pkeys/0")), "0xffff\n");
}

TEST_F(DeviceTree, every_gid_has_a_value_and_a_type) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/gids/0")),
              "fe80:0000:0000:0000:0200:0aff:fe00:0001\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/gids/2")),
              "0000:0000:0000:0000:0000:0000:0000:0000\n");
    EXPECT_EQ(contents_of(ib("vrdma0/ports/1/gids/3")),
              "0000:0000:0000:0000:0000:ffff:0a00:0001\n");
    for (const char* index : {"0", "1", "2", "3"}) {
        EXPECT_EQ(contents_of(ib(std::string("vrdma0/ports/1/gid_attrs/types/") + index)),
                  "RoCE v2\n");
    }
    EXPECT_FALSE(fs::exists(ib("vrdma0/ports/1/gids/4")));
    EXPECT_FALSE(fs::exists(ib("vrdma0/ports/1/gid_attrs/ndevs")));
}

TEST_F(DeviceTree, no_hca_is_claimed) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_FALSE(fs::exists(ib("vrdma0/device")));
}

TEST_F(DeviceTree, modes_do_not_depend_on_the_umask) {
    const mode_t before = umask(0077);
    TemporaryDirectory other;
    const auto created = create_tree(other.path());
    const auto written = write_device(other.path(), 0, device());
    umask(before);
    ASSERT_TRUE(created);
    ASSERT_TRUE(written);
    for (const auto& entry : fs::recursive_directory_iterator(other.path())) {
        if (!entry.is_symlink()) {
            const auto expected = static_cast<fs::perms>(entry.is_directory() ? 0755 : 0644);
            EXPECT_EQ(entry.status().permissions(), expected) << entry.path();
        }
    }
}

TEST_F(DeviceTree, same_device_written_again_is_not_touched) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    struct stat before {};
    ASSERT_EQ(stat(ib("vrdma0").c_str(), &before), 0);
    ASSERT_TRUE(write_device(root(), 0, device()));
    struct stat after {};
    ASSERT_EQ(stat(ib("vrdma0").c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(DeviceTree, changed_device_replaces_the_old_one) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    DeviceDescription changed = device();
    changed.gids.pop_back();
    changed.firmware_version = "0.2.0";
    ASSERT_TRUE(write_device(root(), 0, changed));
    EXPECT_EQ(contents_of(ib("vrdma0/fw_ver")), "0.2.0\n");
    EXPECT_FALSE(fs::exists(ib("vrdma0/ports/1/gids/3")));
}

TEST_F(DeviceTree, foreign_file_in_a_device_is_removed_by_writing_it) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    fs::create_directory(ib("vrdma0/device"));
    std::ofstream(ib("vrdma0/device/modalias")) << "pci:v000015B3d00001017sv*";
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_FALSE(fs::exists(ib("vrdma0/device")));
}

TEST_F(DeviceTree, missing_node_is_restored) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    fs::remove(dev_infiniband_directory(root()) / "uverbs0");
    ASSERT_TRUE(write_device(root(), 0, device()));
    EXPECT_EQ(fs::read_symlink(dev_infiniband_directory(root()) / "uverbs0"), "/dev/full");
}

TEST_F(DeviceTree, removed_device_is_gone_and_others_stay) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    ASSERT_TRUE(write_device(root(), 1, device()));
    ASSERT_TRUE(remove_device(root(), 0));
    EXPECT_FALSE(fs::exists(ib("vrdma0")));
    EXPECT_FALSE(fs::exists(uverbs("uverbs0")));
    EXPECT_FALSE(fs::is_symlink(dev_infiniband_directory(root()) / "uverbs0"));
    EXPECT_TRUE(fs::exists(ib("vrdma1")));
    EXPECT_TRUE(fs::exists(uverbs("uverbs1/ibdev")));
}

TEST_F(DeviceTree, removing_an_absent_device_succeeds) {
    EXPECT_TRUE(remove_device(root(), 7));
}

TEST_F(DeviceTree, nothing_is_left_in_staging) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    ASSERT_TRUE(remove_device(root(), 0));
    EXPECT_EQ(entries_of_root(), 3U);  // sys, dev and skeleton
}

TEST_F(DeviceTree, leftovers_of_a_dead_writer_are_removed) {
    fs::create_directories(root() / ".staging-abcdef/uverbs");
    ASSERT_TRUE(create_tree(root()));
    EXPECT_EQ(entries_of_root(), 3U);
}

TEST_F(DeviceTree, too_many_gids_are_refused) {
    DeviceDescription many = device();
    many.gids.assign(kMaxTreeGids + 1, kLinkLocal);
    const auto written = write_device(root(), 0, many);
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().problem.find("257 GIDs"), std::string::npos);
    EXPECT_FALSE(fs::exists(ib("vrdma0")));
}

TEST_F(DeviceTree, missing_root_is_named) {
    const auto created = create_tree(root() / "absent");
    ASSERT_FALSE(created);
    EXPECT_NE(created.error().problem.find((root() / "absent").string()), std::string::npos);
    EXPECT_FALSE(created.error().remedy.empty());
}

TEST_F(DeviceTree, removed_tree_leaves_the_root) {
    ASSERT_TRUE(write_device(root(), 0, device()));
    ASSERT_TRUE(remove_tree(root()));
    EXPECT_EQ(entries_of_root(), 0U);
}

// Whoever finds the device in the listing finds all of it.
TEST_F(DeviceTree, reader_never_sees_half_a_device) {
    for (unsigned round = 0; round < 50; ++round) {
        std::atomic<bool> whole{false};
        std::thread reader([&] {
            const fs::path listed = uverbs(uverbs_name(round));
            while (!fs::exists(listed)) {
            }
            const fs::path found = infiniband_directory(root()) / ib_device_name(round);
            whole = contents_of(listed / "ibdev") == ib_device_name(round) + "\n" &&
                    contents_of(listed / "abi_version") == "1\n" &&
                    contents_of(found / "ports/1/pkeys/0") == "0xffff\n" &&
                    contents_of(found / "vrdma_socket").ends_with("device.sock\n") &&
                    fs::is_symlink(dev_infiniband_directory(root()) / uverbs_name(round));
        });
        const auto written = write_device(root(), round, device());
        EXPECT_TRUE(written);
        reader.join();
        EXPECT_TRUE(whole);
    }
}

}  // namespace
}  // namespace vrdma::platform
