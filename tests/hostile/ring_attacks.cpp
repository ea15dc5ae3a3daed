// Attacks on shared memory: rings, headers, indices, doorbells. The device reads all of it while
// the attacker writes it.
#include <unistd.h>

#include "tests/hostile/attack.h"

namespace vrdma::hostile {
namespace {

// A work request that is right but for one field.
vrdma_send_wqe spoiled(Stage& stage, const Pair& pair) {
    Random& random = stage.random;
    const auto opcode = static_cast<uint8_t>(1 + random.below(10));
    vrdma_send_wqe wqe =
        pair.entry(opcode, random.below(4096) * 8, random.below(4096) * 8, random.below32(65536));
    if (opcode == VRDMA_WQE_BIND_MW) {
        wqe.sge_count = 0;
        wqe.bind = {.length = random.below(65536),
                    .lkey = pair.mr.key,
                    .rkey = random.awkward32(),
                    .access = random.below32(64),
                    .reserved = {}};
    }
    if (opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP || opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD) {
        const vrdma_sge result{pair.memory.address(), 8, pair.mr.key};
        wqe.atomic.compare_add = random.next();
        wqe.atomic.swap = random.next();
        wqe.atomic.result = result;
    }
    switch (random.below(14)) {
        case 0:
            wqe.opcode = static_cast<uint8_t>(random.next());
            break;
        case 1:
            wqe.flags = static_cast<uint8_t>(random.next());
            break;
        case 2:
            wqe.sge_count = static_cast<uint8_t>(random.next());
            break;
        case 3:
            wqe.reserved0 = static_cast<uint8_t>(random.next());
            break;
        case 4:
            wqe.remote_address = random.awkward();
            break;
        case 5:
            wqe.rkey = random.awkward32();
            break;
        case 6:
            wqe.inline_length = random.awkward32();
            break;
        case 7:
            wqe.sge[0].length = random.awkward32();
            break;
        case 8:
            wqe.sge[0].address = random.awkward();
            break;
        case 9:
            wqe.sge[0].lkey = random.awkward32();
            break;
        case 10:
            wqe.remote_address = pair.memory.address() + pair.memory.size() - random.below(65536);
            break;
        default:
            break;
    }
    return wqe;
}

void entries(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    for (uint32_t i = 0; i < stage.operations; ++i) {
        QueuePair& qp = stage.random.one_in(2) ? pair.first : pair.second;
        const vrdma_sge target{
            stage.random.one_in(8) ? stage.random.awkward() : pair.memory.address(),
            stage.random.one_in(8) ? stage.random.awkward32() : 65536,
            stage.random.one_in(8) ? stage.random.awkward32() : pair.mr.key};
        pair.tenant.post_receive(qp, i, &target);
        pair.tenant.post_send(qp, spoiled(stage, pair));
        if (stage.random.one_in(4)) {
            pair.revive();
        }
    }
}

void indices(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    Random& random = stage.random;
    auto* doorbell = reinterpret_cast<vrdma_doorbell*>(pair.tenant.doorbell_memory.data());
    for (uint32_t i = 0; i < stage.operations; ++i) {
        QueuePair& qp = random.one_in(2) ? pair.first : pair.second;
        switch (random.below(9)) {
            case 0:
                store(qp.header->sq_producer, random.awkward32());
                break;
            case 1:
                store(qp.header->rq_producer, random.awkward32());
                break;
            case 2:
                store(pair.cq.header->consumer, random.awkward32());
                break;
            case 3:
                store(pair.cq.header->arm, random.awkward32());
                break;
            case 4:  // the device's own fields
                store(pair.cq.header->producer, random.awkward32());
                store(pair.cq.header->in_error, random.awkward32());
                store(qp.header->in_error, random.awkward32());
                store(qp.header->sq_consumer, random.awkward32());
                break;
            case 5:
                std::atomic_ref(doorbell->leaf[random.below(VRDMA_DOORBELL_LEAF_WORDS)])
                    .store(random.next());
                std::atomic_ref(doorbell->summary[random.below(VRDMA_DOORBELL_SUMMARY_WORDS)])
                    .store(random.next());
                break;
            case 6:
                store(doorbell->need_kick, random.awkward32());
                break;
            case 7: {
                const uint64_t value = random.one_in(8) ? UINT64_MAX - 1 : 1;
                [[maybe_unused]] const ssize_t written =
                    write(pair.tenant.kick.get(), &value, sizeof value);
                break;
            }
            default:
                random.fill(pair.tenant.queues.bytes().subspan(
                    random.below(pair.tenant.queues.size() - 256), 256));
                break;
        }
        pair.tenant.doorbell.ring(qp.doorbell);
        if (random.one_in(64)) {
            pair.revive();
        }
    }
}

// Everything is noise, all the time, in every byte that the device shares with this tenant.
void noise(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    for (uint32_t i = 0; i < 8 + stage.operations / 256; ++i) {
        stage.random.fill(pair.tenant.queues.bytes().first(pair.tenant.queue_bytes_used));
        stage.random.fill(pair.tenant.doorbell_memory.bytes());
        pair.tenant.doorbell.ring(pair.first.doorbell);
        pair.revive();
        pair.tenant.doorbell.ring(pair.second.doorbell);
    }
}

// Keys, numbers and addresses of others, by guessing.
void guess(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    for (uint32_t i = 0; i < stage.operations / 4; ++i) {
        vrdma_gid_entry gid = pair.tenant.info.gid[3];
        gid.gid[15] = static_cast<uint8_t>(stage.random.below(16));
        pair.tenant.modify(pair.first, VRDMA_QPS_RESET);
        pair.first.sends = 0;
        store(pair.first.header->sq_producer, 0);
        if (!pair.tenant.connect(pair.first, VRDMA_QPT_RC, gid,
                                 static_cast<uint32_t>(stage.random.next()) & 0xffffff)) {
            continue;
        }
        vrdma_send_wqe wqe = pair.entry(VRDMA_WQE_RDMA_WRITE, 0, 0, 4096);
        wqe.rkey = static_cast<uint32_t>(stage.random.next());
        pair.tenant.post_send(pair.first, wqe);
    }
}

constexpr Attack kAttacks[] = {
    {"entries", "work requests with one wrong field each", entries},
    {"indices", "lies in headers, indices, doorbell bits, arms and kicks", indices},
    {"noise", "random bytes in everything that is shared", noise},
    {"guess", "queue pair numbers and keys of others", guess},
};

}  // namespace

std::span<const Attack> ring_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
