// The numbers here were read with a debugger from builds of rdma-core 44, 59, 62, 64 and 65 and are
// what those binaries use; nothing is derived. They are a table and not five compilations of the
// provider because only two things depend on the release: where the ibv_context lies in the object
// that opening a device returns, and where each operation's pointer goes in the table that is
// handed to verbs_set_ops. Everything else that the provider touches has one layout (structs.h).
//
// The module keeps no state. A future release is a new column; a library whose private ABI changed
// without a new number is caught when a context is opened (registration.cpp compares sizes).
#include "verbs/libibverbs_abi/layout.h"

#include <array>

namespace vrdma::verbs_abi {
namespace {

constexpr std::int16_t kAbsent = -1;

struct OpRow {
    std::string_view name;
    std::array<std::int16_t, kLayoutCount> offset;  // by Layout
};

// One row for each Op, in the order of the enum. clang-format would tear the columns apart.
// clang-format off
constexpr std::array<OpRow, kOpCount> kOps = {{
    {"advise_mr", {0, 0, 0, 0, 0}},
    {"alloc_buf", {kAbsent, kAbsent, kAbsent, 8, 8}},
    {"alloc_dm", {8, 8, 8, 16, 16}},
    {"alloc_dmah", {kAbsent, 16, 16, 24, 24}},
    {"alloc_mw", {16, 24, 24, 32, 32}},
    {"alloc_null_mr", {24, 32, 32, 40, 40}},
    {"alloc_parent_domain", {32, 40, 40, 48, 48}},
    {"alloc_pd", {40, 48, 48, 56, 56}},
    {"alloc_td", {48, 56, 56, 64, 64}},
    {"async_event", {56, 64, 64, 72, 72}},
    {"attach_counters_point_flow", {64, 72, 72, 80, 80}},
    {"attach_mcast", {72, 80, 80, 88, 88}},
    {"bind_mw", {80, 88, 88, 96, 96}},
    {"close_xrcd", {88, 96, 96, 104, 104}},
    {"cq_event", {96, 104, 104, 112, 112}},
    {"create_ah", {104, 112, 112, 120, 120}},
    {"create_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 128}},
    {"create_counters", {112, 120, 120, 128, 136}},
    {"create_cq", {120, 128, 128, 136, 144}},
    {"create_cq_ex", {128, 136, 136, 144, 152}},
    {"create_flow", {136, 144, 144, 152, 160}},
    {"create_flow_action_esp", {144, 152, 152, 160, 168}},
    {"create_qp", {152, 160, 160, 168, 176}},
    {"create_qp_ex", {160, 168, 168, 176, 184}},
    {"create_rwq_ind_table", {168, 176, 176, 184, 192}},
    {"create_srq", {176, 184, 184, 192, 200}},
    {"create_srq_ex", {184, 192, 192, 200, 208}},
    {"create_wq", {192, 200, 200, 208, 216}},
    {"dealloc_dmah", {kAbsent, 208, 208, 216, 224}},
    {"dealloc_mw", {200, 216, 216, 224, 232}},
    {"dealloc_pd", {208, 224, 224, 232, 240}},
    {"dealloc_td", {216, 232, 232, 240, 248}},
    {"dereg_mr", {224, 240, 240, 248, 256}},
    {"destroy_ah", {232, 248, 248, 256, 264}},
    {"destroy_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 272}},
    {"destroy_counters", {240, 256, 256, 264, 280}},
    {"destroy_cq", {248, 264, 264, 272, 288}},
    {"destroy_flow", {256, 272, 272, 280, 296}},
    {"destroy_flow_action", {264, 280, 280, 288, 304}},
    {"destroy_qp", {272, 288, 288, 296, 312}},
    {"destroy_rwq_ind_table", {280, 296, 296, 304, 320}},
    {"destroy_srq", {288, 304, 304, 312, 328}},
    {"destroy_wq", {296, 312, 312, 320, 336}},
    {"detach_mcast", {304, 320, 320, 328, 344}},
    {"dm_export_dmabuf_fd", {kAbsent, kAbsent, 328, 336, 352}},
    {"free_buf", {kAbsent, kAbsent, kAbsent, 344, 360}},
    {"free_context", {312, 328, 336, 352, 368}},
    {"free_dm", {320, 336, 344, 360, 376}},
    {"get_srq_num", {328, 344, 352, 368, 384}},
    {"import_dm", {336, 352, 360, 376, 392}},
    {"import_mr", {344, 360, 368, 384, 400}},
    {"import_pd", {352, 368, 376, 392, 408}},
    {"inc_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 416}},
    {"inc_err_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 424}},
    {"modify_cq", {360, 376, 384, 400, 432}},
    {"modify_flow_action_esp", {368, 384, 392, 408, 440}},
    {"modify_qp", {376, 392, 400, 416, 448}},
    {"modify_qp_rate_limit", {384, 400, 408, 424, 456}},
    {"modify_srq", {392, 408, 416, 432, 464}},
    {"modify_wq", {400, 416, 424, 440, 472}},
    {"open_qp", {408, 424, 432, 448, 480}},
    {"open_xrcd", {416, 432, 440, 456, 488}},
    {"poll_cq", {424, 440, 448, 464, 496}},
    {"post_recv", {432, 448, 456, 472, 504}},
    {"post_send", {440, 456, 464, 480, 512}},
    {"post_srq_ops", {448, 464, 472, 488, 520}},
    {"post_srq_recv", {456, 472, 480, 496, 528}},
    {"qp_attach_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 536}},
    {"query_comp_cntr_caps", {kAbsent, kAbsent, kAbsent, kAbsent, 544}},
    {"query_device_ex", {464, 480, 488, 504, 552}},
    {"query_ece", {472, 488, 496, 512, 560}},
    {"query_port", {480, 496, 504, 520, 568}},
    {"query_port_speed", {kAbsent, kAbsent, 512, 528, 576}},
    {"query_qp", {488, 504, 520, 536, 584}},
    {"query_qp_data_in_order", {496, 512, 528, 544, 592}},
    {"query_rt_values", {504, 520, 536, 552, 600}},
    {"query_srq", {512, 528, 544, 560, 608}},
    {"read_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 616}},
    {"read_counters", {520, 536, 552, 568, 624}},
    {"read_err_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 632}},
    {"reg_dm_mr", {528, 544, 560, 576, 640}},
    {"reg_dmabuf_mr", {536, 552, 568, 584, 648}},
    {"reg_mr", {544, 560, 576, 592, 656}},
    {"reg_mr_ex", {kAbsent, 568, 584, 600, 664}},
    {"req_notify_cq", {552, 576, 592, 608, 672}},
    {"rereg_mr", {560, 584, 600, 616, 680}},
    {"resize_cq", {568, 592, 608, 624, 688}},
    {"set_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 696}},
    {"set_ece", {576, 600, 616, 632, 704}},
    {"set_err_comp_cntr", {kAbsent, kAbsent, kAbsent, kAbsent, 712}},
    {"unimport_dm", {584, 608, 624, 640, 720}},
    {"unimport_mr", {592, 616, 632, 648, 728}},
    {"unimport_pd", {600, 624, 640, 656, 736}},
}};
// clang-format on

constexpr std::array<LayoutSizes, kLayoutCount> kSizes = {{
    {648, 320, 608},
    {672, 344, 632},
    {680, 352, 648},
    {696, 368, 664},
    {696, 368, 744},
}};

constexpr std::array kPabisA = {Pabi::v34, Pabi::v57};
constexpr std::array kPabisBC = {Pabi::v59};
constexpr std::array kPabisD = {Pabi::v64};
constexpr std::array kPabisE = {Pabi::v65};

constexpr bool sizes_are_within_the_maxima() {
    for (const LayoutSizes& sizes : kSizes) {
        if (sizes.ops_size > kMaxOpsSize || sizes.context_size > kMaxContextSize) {
            return false;
        }
    }
    return true;
}
static_assert(sizes_are_within_the_maxima());

}  // namespace

LayoutSizes sizes_of(Layout layout) {
    return kSizes[static_cast<std::size_t>(layout)];
}

std::optional<std::size_t> offset_of(Layout layout, Op op) {
    const std::int16_t offset =
        kOps[static_cast<std::size_t>(op)].offset[static_cast<std::size_t>(layout)];
    if (offset == kAbsent) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(offset);
}

std::string_view name_of(Op op) {
    return kOps[static_cast<std::size_t>(op)].name;
}

Layout layout_of(Pabi pabi, bool has_query_port_speed) {
    switch (pabi) {
        case Pabi::v34:
        case Pabi::v57:
            return Layout::A;
        case Pabi::v59:
            return has_query_port_speed ? Layout::C : Layout::B;
        case Pabi::v64:
            return Layout::D;
        case Pabi::v65:
            return Layout::E;
    }
    __builtin_unreachable();
}

std::span<const Pabi> pabis_of(Layout layout) {
    switch (layout) {
        case Layout::A:
            return kPabisA;
        case Layout::B:
        case Layout::C:
            return kPabisBC;
        case Layout::D:
            return kPabisD;
        case Layout::E:
            return kPabisE;
    }
    __builtin_unreachable();
}

}  // namespace vrdma::verbs_abi
