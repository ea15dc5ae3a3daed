// The private structs of libibverbs whose layout is the same in every release from rdma-core 36 to
// 65 (x86-64). Field names are the library's; the offsets are asserted below, each one.
//
// Ownership: VerbsDevice is allocated by the provider's alloc_device and freed by its
// uninit_device; VerbsMr, VerbsCq, VerbsQp and VerbsSrq are the heads of the provider's own
// objects.
#pragma once

#include <infiniband/ib_user_ioctl_verbs.h>
#include <infiniband/verbs.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace vrdma::verbs_abi {

// A verbs_context: its first bytes depend on the release, so it is only ever a pointer.
struct VerbsContext;
struct VerbsDeviceOps;

struct ListNode {
    ListNode* next;
    ListNode* prev;
};

enum class MatchKind : std::uint8_t {
    sentinel = 0,
    pci = 1,
    modalias = 2,
    driver_id = 3,
};

struct VerbsMatchEnt {
    void* driver_data;
    union {
        const char* modalias;
        std::uint64_t driver_id;
    } u;
    std::uint16_t vendor;
    std::uint16_t device;
    MatchKind kind;
};
static_assert(sizeof(VerbsMatchEnt) == 24);
static_assert(offsetof(VerbsMatchEnt, driver_data) == 0);
static_assert(offsetof(VerbsMatchEnt, u) == 8);
static_assert(offsetof(VerbsMatchEnt, vendor) == 16);
static_assert(offsetof(VerbsMatchEnt, device) == 18);
static_assert(offsetof(VerbsMatchEnt, kind) == 20);

// A device as discovery saw it. Valid while alloc_device runs and as long as the VerbsDevice lives.
struct VerbsSysfsDev {
    ListNode entry;
    void* provider_data;
    const VerbsMatchEnt* match;
    unsigned int flags;
    char sysfs_name[64];   // "uverbs0"
    dev_t sysfs_cdev;      // 0 when the tree says "0:0"
    char ibdev_name[64];   // "vrdma0"
    char ibdev_path[256];  // "/sys/class/infiniband/vrdma0", below $SYSFS_PATH when that is set
    char modalias[512];
    std::uint64_t node_guid;
    std::uint32_t driver_id;
    ibv_node_type node_type;
    int ibdev_idx;
    std::uint32_t num_ports;
    std::uint32_t abi_ver;
    timespec time_created;
};
static_assert(sizeof(VerbsSysfsDev) == 992);
static_assert(offsetof(VerbsSysfsDev, entry) == 0);
static_assert(offsetof(VerbsSysfsDev, provider_data) == 16);
static_assert(offsetof(VerbsSysfsDev, match) == 24);
static_assert(offsetof(VerbsSysfsDev, flags) == 32);
static_assert(offsetof(VerbsSysfsDev, sysfs_name) == 36);
static_assert(offsetof(VerbsSysfsDev, sysfs_cdev) == 104);
static_assert(offsetof(VerbsSysfsDev, ibdev_name) == 112);
static_assert(offsetof(VerbsSysfsDev, ibdev_path) == 176);
static_assert(offsetof(VerbsSysfsDev, modalias) == 432);
static_assert(offsetof(VerbsSysfsDev, node_guid) == 944);
static_assert(offsetof(VerbsSysfsDev, driver_id) == 952);
static_assert(offsetof(VerbsSysfsDev, node_type) == 956);
static_assert(offsetof(VerbsSysfsDev, ibdev_idx) == 960);
static_assert(offsetof(VerbsSysfsDev, num_ports) == 964);
static_assert(offsetof(VerbsSysfsDev, abi_ver) == 968);
static_assert(offsetof(VerbsSysfsDev, time_created) == 976);

// alloc_device fills core_support only; the library fills everything else after it returns. Zero
// it.
struct VerbsDevice {
    ibv_device device;  // first: an ibv_device* is a VerbsDevice*
    const VerbsDeviceOps* ops;
    int refcount;  // an atomic_int of the library; never touched by us
    ListNode entry;
    VerbsSysfsDev* sysfs;
    std::uint64_t core_support;  // kCoreSupportOptionalMrAccess
};
static_assert(std::is_standard_layout_v<VerbsDevice>);
static_assert(sizeof(ibv_device) == 664);
static_assert(sizeof(VerbsDevice) == 712);
static_assert(offsetof(VerbsDevice, device) == 0);
static_assert(offsetof(VerbsDevice, ops) == 664);
static_assert(offsetof(VerbsDevice, refcount) == 672);
static_assert(offsetof(VerbsDevice, entry) == 680);
static_assert(offsetof(VerbsDevice, sysfs) == 696);
static_assert(offsetof(VerbsDevice, core_support) == 704);

// Without this bit libibverbs strips IBV_ACCESS_RELAXED_ORDERING from `access` without a word.
inline constexpr std::uint64_t kCoreSupportOptionalMrAccess =
    IB_UVERBS_CORE_SUPPORT_OPTIONAL_MR_ACCESS;

struct VerbsDeviceOps {
    const char* name;
    std::uint32_t match_min_abi_version;
    std::uint32_t match_max_abi_version;
    const VerbsMatchEnt* match_table;
    const VerbsDeviceOps** static_providers;
    bool (*match_device)(VerbsSysfsDev*);
    VerbsContext* (*alloc_context)(ibv_device*, int cmd_fd, void* private_data);
    VerbsContext* (*import_context)(ibv_device*, int cmd_fd);
    VerbsDevice* (*alloc_device)(VerbsSysfsDev*);
    void (*uninit_device)(VerbsDevice*);
};
static_assert(sizeof(VerbsDeviceOps) == 72);
static_assert(offsetof(VerbsDeviceOps, name) == 0);
static_assert(offsetof(VerbsDeviceOps, match_min_abi_version) == 8);
static_assert(offsetof(VerbsDeviceOps, match_max_abi_version) == 12);
static_assert(offsetof(VerbsDeviceOps, match_table) == 16);
static_assert(offsetof(VerbsDeviceOps, static_providers) == 24);
static_assert(offsetof(VerbsDeviceOps, match_device) == 32);
static_assert(offsetof(VerbsDeviceOps, alloc_context) == 40);
static_assert(offsetof(VerbsDeviceOps, import_context) == 48);
static_assert(offsetof(VerbsDeviceOps, alloc_device) == 56);
static_assert(offsetof(VerbsDeviceOps, uninit_device) == 64);

// A public object of libibverbs is the head of the private one and of ours: the context is the last
// member of verbs_context and has the same size everywhere.
static_assert(sizeof(ibv_context) == 328);
static_assert(offsetof(ibv_context, cmd_fd) == 264);
static_assert(offsetof(ibv_context, async_fd) == 268);

enum class MrType : std::uint32_t {
    mr = 0,
    null_mr = 1,
    imported_mr = 2,
    dmabuf_mr = 3,
};

struct VerbsMr {
    ibv_mr mr;
    MrType mr_type;  // must be set: ibv_dereg_mr and ibv_rereg_mr look at it
    int access;      // likewise
};
static_assert(sizeof(ibv_mr) == 48);
static_assert(sizeof(VerbsMr) == 56);
static_assert(offsetof(VerbsMr, mr) == 0);
static_assert(offsetof(VerbsMr, mr_type) == 48);
static_assert(offsetof(VerbsMr, access) == 52);

struct VerbsXrcd {
    ibv_xrcd xrcd;
    std::uint32_t comp_mask;
    std::uint32_t handle;
};
static_assert(sizeof(VerbsXrcd) == 16);
static_assert(offsetof(VerbsXrcd, xrcd) == 0);
static_assert(offsetof(VerbsXrcd, comp_mask) == 8);
static_assert(offsetof(VerbsXrcd, handle) == 12);

struct VerbsSrq {
    ibv_srq srq;
    ibv_srq_type srq_type;
    VerbsXrcd* xrcd;
    ibv_cq* cq;
    std::uint32_t srq_num;
};
static_assert(sizeof(ibv_srq) == 128);
static_assert(sizeof(VerbsSrq) == 160);
static_assert(offsetof(VerbsSrq, srq) == 0);
static_assert(offsetof(VerbsSrq, srq_type) == 128);
static_assert(offsetof(VerbsSrq, xrcd) == 136);
static_assert(offsetof(VerbsSrq, cq) == 144);
static_assert(offsetof(VerbsSrq, srq_num) == 152);

union VerbsCq {
    ibv_cq cq;
    ibv_cq_ex cq_ex;
};
static_assert(sizeof(ibv_cq) == 128);
static_assert(sizeof(ibv_cq_ex) == 288);
static_assert(sizeof(VerbsCq) == 288);

// verbs_qp grew with rdma-core 50: ibv_qp_ex gained wr_flush at 352 and moved comp_mask (352 ->
// 360) and xrcd (360 -> 368). Releases 36-56 share one private ABI number, and nothing exported
// tells 49 from 50, so this struct has the larger size and writes comp_mask where both want it.
// That is safe:
//  * libibverbs reads one bit of it in one place: ibv_qp_to_qp_ex() tests VERBS_QP_EX. xrcd is read
//  by
//    ibv_cmd_* functions only, which we never call, so a mask in an old release's xrcd slot is
//    inert.
//  * in a new release the older slot holds the low half of wr_flush. A program may call wr_flush
//  only
//    on a QP created with IBV_QP_EX_WITH_FLUSH, which create_qp_ex must refuse.
struct VerbsQp {
    union {
        ibv_qp qp;
        ibv_qp_ex qp_ex;  // as far as the oldest public header knows it
    };
    union {
        std::uint32_t comp_mask_before_50;
        void (*wr_flush)(ibv_qp_ex*, std::uint32_t rkey, std::uint64_t remote_addr, std::size_t len,
                         std::uint8_t type, std::uint8_t level);
    };
    union {
        VerbsXrcd* xrcd_before_50;
        std::uint32_t comp_mask_from_50;
    };
    VerbsXrcd* xrcd_from_50;
};
static_assert(std::is_standard_layout_v<VerbsQp>);
static_assert(sizeof(ibv_qp) == 160);
static_assert(sizeof(ibv_qp_ex) == 352);
static_assert(sizeof(VerbsQp) == 376);
static_assert(offsetof(VerbsQp, qp) == 0);
static_assert(offsetof(VerbsQp, qp_ex) == 0);
static_assert(offsetof(ibv_qp_ex, wr_abort) == 336);
static_assert(offsetof(ibv_qp_ex, wr_atomic_write) == 344);
static_assert(offsetof(VerbsQp, comp_mask_before_50) == 352);
static_assert(offsetof(VerbsQp, wr_flush) == 352);
static_assert(offsetof(VerbsQp, xrcd_before_50) == 360);
static_assert(offsetof(VerbsQp, comp_mask_from_50) == 360);
static_assert(offsetof(VerbsQp, xrcd_from_50) == 368);

inline constexpr std::uint32_t kVerbsQpEx = 1U << 1;  // VERBS_QP_EX: the wr_* functions are set

// Marks qp as one whose qp_ex half is valid, so that ibv_qp_to_qp_ex() returns it, in every
// release.
inline void mark_extended(VerbsQp& qp) {
    qp.comp_mask_before_50 = kVerbsQpEx;
    qp.comp_mask_from_50 = kVerbsQpEx;
}

}  // namespace vrdma::verbs_abi
