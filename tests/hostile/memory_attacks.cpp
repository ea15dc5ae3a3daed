// Attacks with memory: it shrinks, vanishes, was never there, is larger than any machine, or is
// cut into pieces that no program would make. The device copies from and to it meanwhile.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/hostile/attack.h"
#include "tests/hostile/silent_file_system.h"

namespace vrdma::hostile {
namespace {

void transfer_some(Pair& pair, Random& random, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        const uint8_t opcode = random.one_in(2) ? VRDMA_WQE_RDMA_WRITE : VRDMA_WQE_RDMA_READ;
        const uint64_t half = pair.memory.size() / 2;
        pair.tenant.post_send(
            random.one_in(2) ? pair.first : pair.second,
            pair.entry(opcode, random.below(half / 8) * 8, half + random.below(half / 16) * 8,
                       static_cast<uint32_t>(half / 4)));
    }
}

void truncated(Stage& stage) {
    for (uint32_t i = 0; i < 1 + stage.operations / 64; ++i) {
        Pair pair;
        if (!pair.open(stage, 64, size_t{4} << 20, false)) {
            return;
        }
        const int file = pair.memory.file();
        transfer_some(pair, stage.random, 32);
        [[maybe_unused]] int rc = 0;
        if (stage.random.one_in(3)) {
            rc = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                           static_cast<off_t>(pair.memory.size()));
        } else {
            rc = ftruncate(file, static_cast<off_t>(stage.random.below(4) * 4096));
        }
        transfer_some(pair, stage.random, 16);
        pair.revive();
        transfer_some(pair, stage.random, 16);
        rc = ftruncate(file, static_cast<off_t>(pair.memory.size()));
        pair.revive();
        transfer_some(pair, stage.random, 16);
        // Our own mapping has lost its pages too, which nobody here touches.
    }
}

// Memory behind /proc/self/mem that goes away under transfers, or never was.
void vanishing(Stage& stage) {
    const UniqueFd self(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    for (uint32_t i = 0; i < 1 + stage.operations / 64; ++i) {
        Pair pair;
        if (!pair.open(stage)) {
            return;
        }
        constexpr size_t kBytes = size_t{1} << 20;
        void* data =
            mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        const uint64_t addresses[] = {reinterpret_cast<uint64_t>(data),
                                      0,
                                      0x1000,
                                      UINT64_MAX - kBytes + 1,
                                      0xffff800000000000,
                                      0x00007ffffffff000,
                                      stage.random.next() & ~uint64_t{4095}};
        for (const uint64_t address : addresses) {
            const int file = self.get();
            const vrdma_cmd_add_region region{VRDMA_REGION_PROCESS, VRDMA_REGION_WRITABLE, address,
                                              kBytes};
            const Answer added = pair.tenant.device.call(VRDMA_CMD_ADD_REGION, region, {&file, 1});
            if (!added.ok()) {
                continue;
            }
            const uint32_t handle = added.as<vrdma_handle>().handle;
            const MemoryRegion mr = pair.tenant.register_memory(handle, 0x10000, kBytes);
            for (uint32_t n = 0; n < 16; ++n) {
                vrdma_send_wqe wqe =
                    pair.entry(stage.random.one_in(2) ? VRDMA_WQE_RDMA_WRITE : VRDMA_WQE_RDMA_READ,
                               0, 0, 65536);
                if (stage.random.one_in(2)) {
                    wqe.sge[0] = {0x10000 + stage.random.below(kBytes), 65536, mr.key};
                } else {
                    wqe.remote_address = 0x10000 + stage.random.below(kBytes);
                    wqe.rkey = mr.key;
                }
                pair.tenant.post_send(pair.first, wqe);
                if (n == 8 && address == addresses[0]) {
                    munmap(data, kBytes);
                }
            }
            pair.revive();
        }
    }
}

// Regions and MRs of any shape.
void ranges(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    Random& random = stage.random;
    const int file = pair.memory.file();
    for (uint32_t i = 0; i < stage.operations; ++i) {
        if (random.one_in(3)) {
            const vrdma_cmd_add_region region{
                1 + random.below32(3), random.below32(5),
                random.one_in(2) ? random.awkward() : random.below(64) * 4096,
                random.one_in(2) ? random.awkward() : (1 + random.below(300)) * 4096};
            const Answer answer = pair.tenant.device.call(VRDMA_CMD_ADD_REGION, region, {&file, 1});
            if (answer.ok() && region.kind == VRDMA_REGION_MAPPED &&
                region.offset + region.length > pair.memory.size()) {
                stage.report("a region beyond the end of its file was taken");
            }
        }
        struct {
            vrdma_cmd_reg_mr head;
            vrdma_mr_range ranges[8];
        } request{};
        request.head.pd = pair.tenant.pd;
        request.head.access = random.below32(32);
        request.head.iova = random.one_in(4) ? random.awkward() : random.below(1 << 20);
        request.head.range_count = random.below32(9);
        for (uint32_t r = 0; r < request.head.range_count; ++r) {
            vrdma_mr_range& range = request.ranges[r];
            range.region = random.one_in(8) ? random.awkward32() : pair.region;
            range.offset = random.one_in(8) ? random.awkward() : random.below(1 << 20);
            range.length = random.one_in(8) ? random.awkward() : 1 + random.below(8192);
            request.head.length += range.length;
        }
        if (random.one_in(8)) {
            request.head.length = random.awkward();
        }
        const size_t bytes =
            sizeof request.head + request.head.range_count * sizeof(vrdma_mr_range);
        const Answer answer = pair.tenant.device.call(
            VRDMA_CMD_REG_MR, std::as_bytes(std::span(&request, 1)).first(bytes));
        if (!answer.ok() || request.head.length == 0) {
            continue;
        }
        const auto mr = answer.as<vrdma_rsp_reg_mr>();
        const auto length = static_cast<uint32_t>(std::min<uint64_t>(request.head.length, 1 << 16));
        vrdma_send_wqe wqe =
            pair.entry(static_cast<uint8_t>(VRDMA_WQE_RDMA_WRITE + random.below(3)), 0, 0, length);
        wqe.sge[0] = {request.head.iova + request.head.length - length, length, mr.lkey};
        wqe.remote_address = request.head.iova;
        wqe.rkey = mr.lkey;
        pair.tenant.post_send(pair.first, wqe);
        if (random.one_in(8)) {
            pair.revive();
        }
        if (random.one_in(2)) {
            [[maybe_unused]] const Answer gone =
                pair.tenant.device.call(VRDMA_CMD_DEREG_MR, vrdma_handle{mr.handle, 0});
        }
    }
}

// More memory than any machine has, at no cost to the tenant.
void enormous(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    const UniqueFd file(memfd_create("enormous", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    constexpr uint64_t kFile = uint64_t{1} << 46;
    if (ftruncate(file.get(), static_cast<off_t>(kFile)) != 0) {
        return;
    }
    uint64_t taken = 0;
    for (const uint32_t shift : {46U, 45U, 44U, 43U, 42U, 41U, 40U, 39U}) {
        for (uint32_t n = 0; n < 8; ++n) {
            const int given = file.get();
            const vrdma_cmd_add_region region{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0,
                                              uint64_t{1} << shift};
            const Answer answer = tenant.device.call(VRDMA_CMD_ADD_REGION, region, {&given, 1});
            if (answer.status == kNoAnswer) {
                stage.report("an enormous region was never answered");
                return;
            }
            if (!answer.ok()) {
                break;
            }
            taken += region.length;
        }
    }
    if (taken > uint64_t{8} << 40) {
        stage.report("one tenant holds " + std::to_string(taken >> 40) +
                     " TiB of the service's addresses");
    }
    Tenant other;
    if (!other.open(stage.socket)) {
        stage.report("beside enormous regions no other tenant can open: " + other.why);
    }
}

// Pages of a file system whose server never answers, behind /proc/self/mem: whoever reads one waits
// for the server, and not even SIGKILL ends that. A vNIC that refuses process memory is safe.
void silent_pages(Stage& stage) {
    Pair pair;
    if (!pair.open(stage) || (pair.tenant.info.features & VRDMA_FEATURE_PROCESS_MEMORY) != 0) {
        return;
    }
    constexpr uint64_t kBytes = 65536;
    SilentFileSystem files;
    UniqueFd file = files.mount() ? files.open() : UniqueFd();  // without: any pages
    void* data = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | (file.valid() ? 0 : MAP_ANONYMOUS), file.get(), 0);
    files.abandon(std::move(file));
    const UniqueFd self(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    const int given = self.get();
    const vrdma_cmd_add_region region{VRDMA_REGION_PROCESS, VRDMA_REGION_WRITABLE,
                                      reinterpret_cast<uint64_t>(data), kBytes};
    const Answer added = pair.tenant.device.call(VRDMA_CMD_ADD_REGION, region, {&given, 1});
    if (added.status != VRDMA_STATUS_UNSUPPORTED) {
        stage.report("process memory is not refused where it is not on offer");
    }
    if (added.ok()) {
        const MemoryRegion mr =
            pair.tenant.register_memory(added.as<vrdma_handle>().handle, 0, kBytes);
        vrdma_send_wqe wqe = pair.entry(VRDMA_WQE_RDMA_WRITE, 0, 0, kBytes);
        wqe.sge[0] = {0, kBytes, mr.key};
        pair.tenant.post_send(pair.first, wqe);
        usleep(2'000'000);
    }
}

constexpr Attack kAttacks[] = {
    {"truncate", "files that shrink and grow under transfers", truncated},
    {"vanish", "process memory that is unmapped or never was", vanishing},
    {"ranges", "regions and MRs of any shape", ranges},
    {"silent-pages", "pages that never come, where process memory is refused", silent_pages},
    {"enormous", "sparse files larger than the address space", enormous},
};

}  // namespace

std::span<const Attack> memory_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
