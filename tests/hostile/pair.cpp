// The scene most attacks begin with: two queue pairs of the attacker that talk to each other.
#include "tests/hostile/attack.h"

namespace vrdma::hostile {

bool Pair::open(Stage& stage, uint32_t entries, size_t bytes, bool sealed) {
    if (!tenant.open(stage.socket, size_t{8} << 20)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return false;
    }
    cq = tenant.create_cq(4096);
    first = tenant.create_qp(VRDMA_QPT_RC, cq.handle, cq.handle, entries);
    second = tenant.create_qp(VRDMA_QPT_RC, cq.handle, cq.handle, entries);
    memory = Memory::create(bytes, sealed);
    region = tenant.add_region(memory);
    mr = tenant.register_memory(region, memory.address(), memory.size());
    if (mr.key == 0) {
        stage.report("a fresh tenant cannot register memory: " + tenant.why);
        return false;
    }
    revive();
    return true;
}

void Pair::revive() {
    for (QueuePair* qp : {&first, &second}) {
        tenant.modify(*qp, VRDMA_QPS_RESET);
        qp->sends = 0;
        qp->receives = 0;
        store(qp->header->sq_producer, 0);
        store(qp->header->rq_producer, 0);
    }
    [[maybe_unused]] const bool one =
        tenant.connect(first, VRDMA_QPT_RC, tenant.info.gid[3], second.qpn);
    [[maybe_unused]] const bool other =
        tenant.connect(second, VRDMA_QPT_RC, tenant.info.gid[3], first.qpn);
    // What was completed meanwhile is of no interest.
    store(cq.header->consumer, load(cq.header->producer));
    cq.next = load(cq.header->producer);
}

vrdma_send_wqe Pair::entry(uint8_t opcode, uint64_t local, uint64_t remote, uint32_t length) const {
    vrdma_send_wqe wqe{};
    wqe.opcode = opcode;
    wqe.flags = VRDMA_WQE_SIGNALED;
    wqe.sge_count = 1;
    wqe.remote_address = memory.address() + remote;
    wqe.rkey = mr.key;
    wqe.sge[0] = {memory.address() + local, length, mr.key};
    return wqe;
}

}  // namespace vrdma::hostile
