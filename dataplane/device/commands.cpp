// Dispatch, contexts, protection domains, and the end of a context. The commands of memory, queues
// and queue pairs stand in the files named after them.
//
// The end of a context is cut into pieces that fit into a turn, so that a tenant with a million
// objects does not stop its neighbours when it dies. Queue pairs go first: from then on nothing
// refers to the rest.
#include "dataplane/device/commands.h"

#include <atomic>
#include <utility>

namespace vrdma {
namespace {

constexpr uint32_t kTeardownStep = 512;  // table entries looked at in one turn

}  // namespace

CommandOutcome Commands::execute(const CommandCall& call) {
    Counters& counters = state_.counters[state_.contexts[call.context].vnic];
    const Result result = dispatch(call);
    if (result) {
        counters.add(Counter::CommandsExecuted);
        return CommandOutcome{CommandOutcome::Kind::Done, *result, {VRDMA_STATUS_OK, "", false}};
    }
    if (result.error().deferred) {
        return CommandOutcome{CommandOutcome::Kind::Deferred, 0, result.error()};
    }
    counters.add(Counter::CommandsRejected);
    return CommandOutcome{CommandOutcome::Kind::Refused, 0, result.error()};
}

Commands::Result Commands::dispatch(const CommandCall& call) {
    switch (call.opcode) {
        case VRDMA_CMD_CLOSE:
            state_.contexts[call.context].closing = true;
            return size_t{0};
        case VRDMA_CMD_QUERY_PORT:
            return query_port(call);
        case VRDMA_CMD_ALLOC_PD:
            return alloc_pd(call);
        case VRDMA_CMD_DEALLOC_PD:
            return dealloc_pd(call);
        case VRDMA_CMD_ADD_REGION:
            return add_region(call);
        case VRDMA_CMD_REMOVE_REGION:
            return remove_region(call);
        case VRDMA_CMD_REG_MR:
            return reg_mr(call);
        case VRDMA_CMD_DEREG_MR:
            return dereg_mr(call);
        case VRDMA_CMD_ALLOC_MW:
            return alloc_mw(call);
        case VRDMA_CMD_DEALLOC_MW:
            return dealloc_mw(call);
        case VRDMA_CMD_QUERY_CLOCK:
            return query_clock(call);
        case VRDMA_CMD_CREATE_CHANNEL:
            return create_channel(call);
        case VRDMA_CMD_DESTROY_CHANNEL:
            return destroy_channel(call);
        case VRDMA_CMD_CREATE_CQ:
            return create_cq(call);
        case VRDMA_CMD_RESIZE_CQ:
            return resize_cq(call);
        case VRDMA_CMD_DESTROY_CQ:
            return destroy_cq(call);
        case VRDMA_CMD_CREATE_SRQ:
            return create_srq(call);
        case VRDMA_CMD_MODIFY_SRQ:
            return modify_srq(call);
        case VRDMA_CMD_QUERY_SRQ:
            return query_srq(call);
        case VRDMA_CMD_DESTROY_SRQ:
            return destroy_srq(call);
        case VRDMA_CMD_CREATE_QP:
            return create_qp(call);
        case VRDMA_CMD_MODIFY_QP:
            return modify_qp(call);
        case VRDMA_CMD_QUERY_QP:
            return query_qp(call);
        case VRDMA_CMD_DESTROY_QP:
            return destroy_qp(call);
        case VRDMA_CMD_OPEN_XRCD:
            return open_xrcd(call);
        case VRDMA_CMD_CLOSE_XRCD:
            return close_xrcd(call);
        case VRDMA_CMD_CREATE_XRC_SRQ:
            return create_xrc_srq(call);
        case VRDMA_CMD_CREATE_XRC_TARGET:
            return create_xrc_target(call);
        case VRDMA_CMD_OPEN_XRC_TARGET:
            return open_xrc_target(call);
        case VRDMA_CMD_ATTACH_MCAST:
            return attach_mcast(call);
        case VRDMA_CMD_DETACH_MCAST:
            return detach_mcast(call);
        default:
            return refuse(VRDMA_STATUS_UNSUPPORTED, "unknown command");
    }
}

std::optional<uint32_t> Commands::open(const NewContext& request) {
    const std::optional<uint32_t> index = state_.contexts.allocate();
    if (!index) {
        return std::nullopt;
    }
    Context& context = state_.contexts[*index];
    context = Context{};
    context.present = true;
    context.vnic = request.vnic;
    context.process_id = request.process_id;
    context.features = request.features;
    std::memcpy(context.program, request.program, sizeof context.program);
    state_.context_runtime[*index] = ContextRuntime{request.doorbell, request.event_file};
    // Cold until its first doorbell.
    std::atomic_ref(request.doorbell->need_kick).store(1, std::memory_order_release);
    return index;
}

Commands::Result Commands::query_port(const CommandCall& call) {
    const Vnic& vnic = state_.vnics[state_.contexts[call.context].vnic];
    constexpr uint32_t kDown = 1;
    constexpr uint32_t kActive = 4;
    return write_response(call, vrdma_rsp_query_port{vnic.up ? kActive : kDown, vnic.active_mtu});
}

Commands::Result Commands::query_clock(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_TIMESTAMPS)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, "time stamps were not negotiated");
    }
    return write_response(call,
                          vrdma_rsp_query_clock{static_cast<uint64_t>(state_.clock.now().ns)});
}

Commands::Result Commands::alloc_pd(const CommandCall& call) {
    const std::optional<uint32_t> index = state_.pds.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no protection domain is left on this host");
    }
    state_.pds[*index] = Pd{true, {}, call.context, 0};
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_handle{*index, 0});
}

Commands::Result Commands::dealloc_pd(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    Pd* pd = find(state_.pds, request->handle, call);
    if (pd == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such protection domain");
    }
    if (pd->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "the protection domain still has MRs, MWs, QPs or SRQs");
    }
    pd->present = false;
    state_.pds.release(request->handle);
    --state_.contexts[call.context].objects;
    return size_t{0};
}

void Commands::tell_peer(const Qp& qp) {
    if (!is_reliable(qp.type) || qp.state < VRDMA_QPS_RTR || qp.state == VRDMA_QPS_ERR) {
        return;
    }
    const DeviceState::Home home = state_.home_of(qp.attributes.dest_qpn);
    if (home.shard != state_.config.shard) {
        Message message{};
        message.kind = MessageKind::PeerDead;
        message.from_shard = state_.config.shard;
        message.requester_qpn = qp.qpn;
        message.requester_vnic = qp.vnic;
        message.destination_qpn = qp.attributes.dest_qpn;
        state_.outbox.emplace_back(home.shard, message);
        return;
    }
    const std::optional<uint32_t> peer =
        state_.find_peer_of(qp.attributes.dest_qpn, qp.vnic, qp.qpn);
    if (!peer) {
        return;
    }
    // A target may outlive the context that is its first.
    const Qp& other = state_.qps[*peer];
    if (other.context != qp.context || other.type == VRDMA_QPT_XRC_RECV) {
        queue_pairs_.peer_died(*peer);
    }
}

bool Commands::slices_drained(Context& context) {
    if (!context.draining) {
        if (context.slices_in_flight[context.slice_round] == 0) {
            return true;
        }
        context.slice_round ^= 1U;
        context.draining = true;
    }
    if (context.slices_in_flight[context.slice_round ^ 1U] != 0) {
        return false;
    }
    context.draining = false;
    return true;
}

bool Commands::tear_down(Teardown& teardown) {
    const uint32_t index = teardown.context;
    Context& context = state_.contexts[index];
    // Visits the next entries of a pool; true when its end is reached.
    const auto sweep = [&](auto& pool, auto&& is_mine, auto&& free) {
        const uint32_t end = std::min(pool.fresh(), teardown.cursor + kTeardownStep);
        for (; teardown.cursor < end; ++teardown.cursor) {
            if (is_mine(pool[teardown.cursor])) {
                free(teardown.cursor);
            }
        }
        return teardown.cursor >= pool.fresh();
    };
    const auto owned = [&](const auto& object) {
        return is_present(object) && object.context == index;
    };
    const auto phase = [&]() -> bool {
        switch (teardown.phase) {
            case 0: {  // queue pairs, found through their doorbell bits
                const uint32_t end =
                    std::min<uint32_t>(teardown.cursor + kTeardownStep, VRDMA_MAX_QPS_PER_CONTEXT);
                const uint32_t* slots = state_.doorbell_slots_of(index);
                uint32_t groups = kGroupsLeftPerTurn;
                for (; teardown.cursor < end && teardown.cursor < context.doorbells;
                     ++teardown.cursor) {
                    if (slots[teardown.cursor] == 0) {
                        continue;
                    }
                    const uint32_t slot = slots[teardown.cursor] - 1;
                    Qp& qp = state_.qps[slot];
                    if (qp.phase == SendPhase::InFlight) {  // another shard reads from it
                        qp.halted = true;
                        teardown.in_flight = true;
                        continue;
                    }
                    groups -= leave_groups(slot, groups);
                    if (qp.attachments != kNone) {
                        return false;
                    }
                    if (!context.closing) {
                        tell_peer(qp);
                    }
                    free_qp(slot);
                }
                if (teardown.cursor < context.doorbells) {
                    return false;
                }
                if (std::exchange(teardown.in_flight, false)) {
                    teardown.cursor = 0;
                    return false;
                }
                return true;
            }
            case 1:
                return slices_drained(context);
            case 2:
                return state_.target_openings.used() == 0 ||
                       sweep(state_.target_openings, owned,
                             [&](uint32_t i) { free_target_opening(i, !context.closing); });
            case 3:  // before the completion queues that the XRC ones write to
                return sweep(state_.srqs, owned, [&](uint32_t i) { free_srq(i); });
            case 4:
                return state_.xrcd_openings.used() == 0 ||
                       sweep(state_.xrcd_openings, owned,
                             [&](uint32_t i) { free_xrcd_opening(i); });
            case 5:
                return sweep(state_.cqs, owned, [&](uint32_t i) { free_cq(i); });
            case 6:
                return sweep(state_.channels, owned, [&](uint32_t i) { free_channel(i); });
            case 7:  // before the regions that they are bound to
                return sweep(
                    state_.mws, [&](const Mw& mw) { return mw.type != 0 && mw.context == index; },
                    [&](uint32_t i) { free_mw(i); });
            case 8:
                return sweep(
                    state_.mrs, [&](const Mr& mr) { return mr.key != 0 && mr.context == index; },
                    [&](uint32_t i) { free_mr(i); });
            case 9:
                return sweep(state_.pds, owned, [&](uint32_t i) {
                    state_.pds[i].present = false;
                    state_.pds.release(i);
                    --context.objects;
                });
            default:
                return sweep(state_.regions, owned, [&](uint32_t i) { free_region(i); });
        }
    };
    constexpr uint32_t kPhases = 11;
    if (context.objects == 0 && teardown.phase > 1) {
        teardown.phase = kPhases;
    } else if (phase()) {
        ++teardown.phase;
        teardown.cursor = 0;
    }
    if (teardown.phase < kPhases) {
        return false;
    }
    VR_CHECK(context.objects == 0);
    reclaimer_.close(state_.context_runtime[index].event_file);
    state_.context_runtime[index] = ContextRuntime{};
    context.present = false;
    state_.contexts.release(index);
    return true;
}

}  // namespace vrdma
