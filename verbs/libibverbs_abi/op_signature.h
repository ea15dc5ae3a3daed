// The C signature of every operation of verbs_context_ops, so that OpsTable::set() refuses a
// function of another type at compile time. One signature per Op serves every release: no operation
// changed its type between rdma-core 36 and 65 (the generated tables agreed in all five layouts).
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

#include "verbs/libibverbs_abi/op.h"
#include "verbs/libibverbs_abi/structs.h"

// Public types younger than the oldest public header we compile against.
struct ibv_buf;
struct ibv_comp_cntr;
struct ibv_comp_cntr_caps;
struct ibv_comp_cntr_init_attr;
struct ibv_dmah;
struct ibv_dmah_init_attr;
struct ibv_mr_init_attr;
struct ibv_qp_attach_comp_cntr_attr;

namespace vrdma::verbs_abi {

// OpSignature<Op::x>::Type is the function type the library calls op x with.
template <Op op>
struct OpSignature;

template <>
struct OpSignature<Op::advise_mr> {
    using Type = int(ibv_pd*, ib_uverbs_advise_mr_advice, uint32_t, ibv_sge*, uint32_t);
};
template <>
struct OpSignature<Op::alloc_buf> {
    using Type = void*(ibv_pd*, size_t, ibv_buf**);
};
template <>
struct OpSignature<Op::alloc_dm> {
    using Type = ibv_dm*(ibv_context*, ibv_alloc_dm_attr*);
};
template <>
struct OpSignature<Op::alloc_dmah> {
    using Type = ibv_dmah*(ibv_context*, ibv_dmah_init_attr*);
};
template <>
struct OpSignature<Op::alloc_mw> {
    using Type = ibv_mw*(ibv_pd*, ibv_mw_type);
};
template <>
struct OpSignature<Op::alloc_null_mr> {
    using Type = ibv_mr*(ibv_pd*);
};
template <>
struct OpSignature<Op::alloc_parent_domain> {
    using Type = ibv_pd*(ibv_context*, ibv_parent_domain_init_attr*);
};
template <>
struct OpSignature<Op::alloc_pd> {
    using Type = ibv_pd*(ibv_context*);
};
template <>
struct OpSignature<Op::alloc_td> {
    using Type = ibv_td*(ibv_context*, ibv_td_init_attr*);
};
template <>
struct OpSignature<Op::async_event> {
    using Type = void(ibv_context*, ibv_async_event*);
};
template <>
struct OpSignature<Op::attach_counters_point_flow> {
    using Type = int(ibv_counters*, ibv_counter_attach_attr*, ibv_flow*);
};
template <>
struct OpSignature<Op::attach_mcast> {
    using Type = int(ibv_qp*, const ibv_gid*, uint16_t);
};
template <>
struct OpSignature<Op::bind_mw> {
    using Type = int(ibv_qp*, ibv_mw*, ibv_mw_bind*);
};
template <>
struct OpSignature<Op::close_xrcd> {
    using Type = int(ibv_xrcd*);
};
template <>
struct OpSignature<Op::cq_event> {
    using Type = void(ibv_cq*);
};
template <>
struct OpSignature<Op::create_ah> {
    using Type = ibv_ah*(ibv_pd*, ibv_ah_attr*);
};
template <>
struct OpSignature<Op::create_comp_cntr> {
    using Type = ibv_comp_cntr*(ibv_context*, ibv_comp_cntr_init_attr*);
};
template <>
struct OpSignature<Op::create_counters> {
    using Type = ibv_counters*(ibv_context*, ibv_counters_init_attr*);
};
template <>
struct OpSignature<Op::create_cq> {
    using Type = ibv_cq*(ibv_context*, int, ibv_comp_channel*, int);
};
template <>
struct OpSignature<Op::create_cq_ex> {
    using Type = ibv_cq_ex*(ibv_context*, ibv_cq_init_attr_ex*);
};
template <>
struct OpSignature<Op::create_flow> {
    using Type = ibv_flow*(ibv_qp*, ibv_flow_attr*);
};
template <>
struct OpSignature<Op::create_flow_action_esp> {
    using Type = ibv_flow_action*(ibv_context*, ibv_flow_action_esp_attr*);
};
template <>
struct OpSignature<Op::create_qp> {
    using Type = ibv_qp*(ibv_pd*, ibv_qp_init_attr*);
};
template <>
struct OpSignature<Op::create_qp_ex> {
    using Type = ibv_qp*(ibv_context*, ibv_qp_init_attr_ex*);
};
template <>
struct OpSignature<Op::create_rwq_ind_table> {
    using Type = ibv_rwq_ind_table*(ibv_context*, ibv_rwq_ind_table_init_attr*);
};
template <>
struct OpSignature<Op::create_srq> {
    using Type = ibv_srq*(ibv_pd*, ibv_srq_init_attr*);
};
template <>
struct OpSignature<Op::create_srq_ex> {
    using Type = ibv_srq*(ibv_context*, ibv_srq_init_attr_ex*);
};
template <>
struct OpSignature<Op::create_wq> {
    using Type = ibv_wq*(ibv_context*, ibv_wq_init_attr*);
};
template <>
struct OpSignature<Op::dealloc_dmah> {
    using Type = int(ibv_dmah*);
};
template <>
struct OpSignature<Op::dealloc_mw> {
    using Type = int(ibv_mw*);
};
template <>
struct OpSignature<Op::dealloc_pd> {
    using Type = int(ibv_pd*);
};
template <>
struct OpSignature<Op::dealloc_td> {
    using Type = int(ibv_td*);
};
template <>
struct OpSignature<Op::dereg_mr> {
    using Type = int(VerbsMr*);
};
template <>
struct OpSignature<Op::destroy_ah> {
    using Type = int(ibv_ah*);
};
template <>
struct OpSignature<Op::destroy_comp_cntr> {
    using Type = int(ibv_comp_cntr*);
};
template <>
struct OpSignature<Op::destroy_counters> {
    using Type = int(ibv_counters*);
};
template <>
struct OpSignature<Op::destroy_cq> {
    using Type = int(ibv_cq*);
};
template <>
struct OpSignature<Op::destroy_flow> {
    using Type = int(ibv_flow*);
};
template <>
struct OpSignature<Op::destroy_flow_action> {
    using Type = int(ibv_flow_action*);
};
template <>
struct OpSignature<Op::destroy_qp> {
    using Type = int(ibv_qp*);
};
template <>
struct OpSignature<Op::destroy_rwq_ind_table> {
    using Type = int(ibv_rwq_ind_table*);
};
template <>
struct OpSignature<Op::destroy_srq> {
    using Type = int(ibv_srq*);
};
template <>
struct OpSignature<Op::destroy_wq> {
    using Type = int(ibv_wq*);
};
template <>
struct OpSignature<Op::detach_mcast> {
    using Type = int(ibv_qp*, const ibv_gid*, uint16_t);
};
template <>
struct OpSignature<Op::dm_export_dmabuf_fd> {
    using Type = int(ibv_dm*);
};
template <>
struct OpSignature<Op::free_buf> {
    using Type = void(ibv_buf*);
};
template <>
struct OpSignature<Op::free_context> {
    using Type = void(ibv_context*);
};
template <>
struct OpSignature<Op::free_dm> {
    using Type = int(ibv_dm*);
};
template <>
struct OpSignature<Op::get_srq_num> {
    using Type = int(ibv_srq*, uint32_t*);
};
template <>
struct OpSignature<Op::import_dm> {
    using Type = ibv_dm*(ibv_context*, uint32_t);
};
template <>
struct OpSignature<Op::import_mr> {
    using Type = ibv_mr*(ibv_pd*, uint32_t);
};
template <>
struct OpSignature<Op::import_pd> {
    using Type = ibv_pd*(ibv_context*, uint32_t);
};
template <>
struct OpSignature<Op::inc_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t);
};
template <>
struct OpSignature<Op::inc_err_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t);
};
template <>
struct OpSignature<Op::modify_cq> {
    using Type = int(ibv_cq*, ibv_modify_cq_attr*);
};
template <>
struct OpSignature<Op::modify_flow_action_esp> {
    using Type = int(ibv_flow_action*, ibv_flow_action_esp_attr*);
};
template <>
struct OpSignature<Op::modify_qp> {
    using Type = int(ibv_qp*, ibv_qp_attr*, int);
};
template <>
struct OpSignature<Op::modify_qp_rate_limit> {
    using Type = int(ibv_qp*, ibv_qp_rate_limit_attr*);
};
template <>
struct OpSignature<Op::modify_srq> {
    using Type = int(ibv_srq*, ibv_srq_attr*, int);
};
template <>
struct OpSignature<Op::modify_wq> {
    using Type = int(ibv_wq*, ibv_wq_attr*);
};
template <>
struct OpSignature<Op::open_qp> {
    using Type = ibv_qp*(ibv_context*, ibv_qp_open_attr*);
};
template <>
struct OpSignature<Op::open_xrcd> {
    using Type = ibv_xrcd*(ibv_context*, ibv_xrcd_init_attr*);
};
template <>
struct OpSignature<Op::poll_cq> {
    using Type = int(ibv_cq*, int, ibv_wc*);
};
template <>
struct OpSignature<Op::post_recv> {
    using Type = int(ibv_qp*, ibv_recv_wr*, ibv_recv_wr**);
};
template <>
struct OpSignature<Op::post_send> {
    using Type = int(ibv_qp*, ibv_send_wr*, ibv_send_wr**);
};
template <>
struct OpSignature<Op::post_srq_ops> {
    using Type = int(ibv_srq*, ibv_ops_wr*, ibv_ops_wr**);
};
template <>
struct OpSignature<Op::post_srq_recv> {
    using Type = int(ibv_srq*, ibv_recv_wr*, ibv_recv_wr**);
};
template <>
struct OpSignature<Op::qp_attach_comp_cntr> {
    using Type = int(ibv_qp*, ibv_comp_cntr*, ibv_qp_attach_comp_cntr_attr*);
};
template <>
struct OpSignature<Op::query_comp_cntr_caps> {
    using Type = int(ibv_context*, ibv_comp_cntr_caps*, size_t);
};
template <>
struct OpSignature<Op::query_device_ex> {
    using Type = int(ibv_context*, const ibv_query_device_ex_input*, ibv_device_attr_ex*, size_t);
};
template <>
struct OpSignature<Op::query_ece> {
    using Type = int(ibv_qp*, ibv_ece*);
};
template <>
struct OpSignature<Op::query_port> {
    using Type = int(ibv_context*, uint8_t, ibv_port_attr*);
};
template <>
struct OpSignature<Op::query_port_speed> {
    using Type = int(ibv_context*, uint32_t, uint64_t*);
};
template <>
struct OpSignature<Op::query_qp> {
    using Type = int(ibv_qp*, ibv_qp_attr*, int, ibv_qp_init_attr*);
};
template <>
struct OpSignature<Op::query_qp_data_in_order> {
    using Type = int(ibv_qp*, ibv_wr_opcode, uint32_t);
};
template <>
struct OpSignature<Op::query_rt_values> {
    using Type = int(ibv_context*, ibv_values_ex*);
};
template <>
struct OpSignature<Op::query_srq> {
    using Type = int(ibv_srq*, ibv_srq_attr*);
};
template <>
struct OpSignature<Op::read_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t*);
};
template <>
struct OpSignature<Op::read_counters> {
    using Type = int(ibv_counters*, uint64_t*, uint32_t, uint32_t);
};
template <>
struct OpSignature<Op::read_err_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t*);
};
template <>
struct OpSignature<Op::reg_dm_mr> {
    using Type = ibv_mr*(ibv_pd*, ibv_dm*, uint64_t, size_t, unsigned int);
};
template <>
struct OpSignature<Op::reg_dmabuf_mr> {
    using Type = ibv_mr*(ibv_pd*, uint64_t, size_t, uint64_t, int, int);
};
template <>
struct OpSignature<Op::reg_mr> {
    using Type = ibv_mr*(ibv_pd*, void*, size_t, uint64_t, int);
};
template <>
struct OpSignature<Op::reg_mr_ex> {
    using Type = ibv_mr*(ibv_pd*, ibv_mr_init_attr*);
};
template <>
struct OpSignature<Op::req_notify_cq> {
    using Type = int(ibv_cq*, int);
};
template <>
struct OpSignature<Op::rereg_mr> {
    using Type = int(VerbsMr*, int, ibv_pd*, void*, size_t, int);
};
template <>
struct OpSignature<Op::resize_cq> {
    using Type = int(ibv_cq*, int);
};
template <>
struct OpSignature<Op::set_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t);
};
template <>
struct OpSignature<Op::set_ece> {
    using Type = int(ibv_qp*, ibv_ece*);
};
template <>
struct OpSignature<Op::set_err_comp_cntr> {
    using Type = int(ibv_comp_cntr*, uint64_t);
};
template <>
struct OpSignature<Op::unimport_dm> {
    using Type = void(ibv_dm*);
};
template <>
struct OpSignature<Op::unimport_mr> {
    using Type = void(ibv_mr*);
};
template <>
struct OpSignature<Op::unimport_pd> {
    using Type = void(ibv_pd*);
};

}  // namespace vrdma::verbs_abi
