// Writes with immediate from one vNIC to another, a few under way at a time. Every message carries
// a pattern of its number over its whole length; the receiver checks number, order, length and
// every word, and that nothing beside the slot was touched. Any error, any event, any wrong byte
// is final.
#include "tests/hostile/victim.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "tests/hostile/tenant.h"

namespace vrdma::hostile {
namespace {

constexpr uint32_t kDepth = 4;
constexpr uint32_t kEntries = 16;
constexpr uint32_t kSlotBytes = 64U << 10;
constexpr uint64_t kPatience_us = 10'000'000;

uint64_t now_us() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(time.tv_nsec) / 1000;
}

uint64_t word_of(uint64_t message, uint64_t index) {
    return (message * 0x9e3779b97f4a7c15 + index) * 0xff51afd7ed558ccd;
}

uint32_t length_of(uint64_t message) {
    return 8 + static_cast<uint32_t>(message * 7919 % 8191) * 8;
}

void fail(VictimReport& report, const std::string& what) {
    std::snprintf(report.what, sizeof report.what, "%s", what.c_str());
    report.failed = true;
}

// True when an event socket says anything: victims never cause any.
bool disturbed(const Tenant& tenant) {
    pollfd events{tenant.events.get(), POLLIN, 0};
    return poll(&events, 1, 0) != 0;
}

}  // namespace

void run_victim(const std::string& from, const std::string& to, VictimReport& report) {
    Tenant a;
    Tenant b;
    if (!a.open(from) || !b.open(to)) {
        fail(report, "a victim cannot open its device: " + a.why + b.why);
        return;
    }
    CompletionQueue sent = a.create_cq(kEntries);
    CompletionQueue received = b.create_cq(kEntries);
    QueuePair sender = a.create_qp(VRDMA_QPT_RC, sent.handle, sent.handle, kEntries);
    QueuePair receiver = b.create_qp(VRDMA_QPT_RC, received.handle, received.handle, kEntries);
    const Memory source = Memory::create(size_t{kDepth} * kSlotBytes);
    const Memory target = Memory::create(size_t{kDepth} * kSlotBytes);
    const MemoryRegion source_mr =
        a.register_memory(a.add_region(source), source.address(), source.size());
    const MemoryRegion target_mr =
        b.register_memory(b.add_region(target), target.address(), target.size());
    if (target_mr.key == 0 || source_mr.key == 0 ||
        !a.connect(sender, VRDMA_QPT_RC, b.info.gid[3], receiver.qpn) ||
        !b.connect(receiver, VRDMA_QPT_RC, a.info.gid[3], sender.qpn)) {
        fail(report, "a victim cannot connect: " + a.why + b.why);
        return;
    }
    for (uint32_t i = 0; i < kEntries; ++i) {
        b.post_receive(receiver, i, nullptr);
    }
    report.ready = true;
    uint64_t posted = 0;
    uint64_t completed = 0;
    uint64_t checked = 0;
    uint64_t last = now_us();
    const volatile bool& stop = report.stop;
    while (!stop || checked < posted) {
        while (!stop && posted < checked + kDepth && posted < completed + kDepth) {
            const uint32_t length = length_of(posted);
            const uint64_t slot = posted % kDepth * kSlotBytes;
            auto* words = reinterpret_cast<uint64_t*>(source.data() + slot);
            for (uint32_t i = 0; i < length / 8; ++i) {
                words[i] = word_of(posted, i);
            }
            vrdma_send_wqe wqe{};
            wqe.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM;
            wqe.flags = VRDMA_WQE_SIGNALED;
            wqe.sge_count = 1;
            wqe.imm_data = static_cast<uint32_t>(posted);
            wqe.wr_id = posted;
            wqe.remote_address = target.address() + slot;
            wqe.rkey = target_mr.key;
            wqe.sge[0] = {source.address() + slot, length, source_mr.key};
            a.post_send(sender, wqe);
            ++posted;
        }
        bool progress = false;
        if (const vrdma_cqe* entry = sent.poll()) {
            if (entry->status != VRDMA_WC_SUCCESS || entry->wr_id != completed) {
                fail(report, "send completion status " + std::to_string(entry->status) +
                                 " vendor " + std::to_string(entry->vendor_err));
                return;
            }
            ++completed;
            progress = true;
        }
        if (const vrdma_cqe* entry = received.poll()) {
            const uint32_t length = length_of(checked);
            if (entry->status != VRDMA_WC_SUCCESS || entry->byte_len != length ||
                entry->imm_data != static_cast<uint32_t>(checked)) {
                fail(report, "receive completion status " + std::to_string(entry->status) +
                                 " bytes " + std::to_string(entry->byte_len) + " message " +
                                 std::to_string(entry->imm_data));
                return;
            }
            const uint64_t slot = checked % kDepth * kSlotBytes;
            const auto* words = reinterpret_cast<const uint64_t*>(target.data() + slot);
            for (uint32_t i = 0; i < length / 8; ++i) {
                if (words[i] != word_of(checked, i)) {
                    fail(report, "message " + std::to_string(checked) + " has wrong bytes");
                    return;
                }
            }
            b.post_receive(receiver, checked, nullptr);
            report.messages = ++checked;
            report.bytes += length;
            progress = true;
        }
        const uint64_t now = now_us();
        if (progress) {
            report.longest_gap_us = std::max(report.longest_gap_us, now - last);
            last = now;
        } else if (now - last > kPatience_us) {
            fail(report, "nothing moved for ten seconds");
            return;
        } else {
            usleep(20);
        }
    }
    if (disturbed(a) || disturbed(b)) {
        fail(report, "a victim got an asynchronous event");
    }
}

}  // namespace vrdma::hostile
