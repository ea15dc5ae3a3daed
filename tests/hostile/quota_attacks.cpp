// Attacks by appetite: objects of one kind until no more are given. The answer must be NO_RESOURCE,
// must change nothing, and after one object is given back there must be room for exactly one.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "tests/hostile/attack.h"

namespace vrdma::hostile {
namespace {

constexpr uint32_t kMost = 70000;  // of anything

void exhaust(Stage& stage, const char* what, Tenant& tenant, uint16_t destroy,
             const std::function<Answer()>& create) {
    std::vector<uint32_t> handles;
    Answer answer = create();
    // What the last attacker had is given back when it is gone as a whole.
    for (int i = 0; i < 500 && answer.status == VRDMA_STATUS_NO_RESOURCE; ++i) {
        usleep(10'000);
        answer = create();
    }
    while (answer.ok() && handles.size() < kMost) {
        handles.push_back(answer.as<vrdma_handle>().handle);
        answer = create();
    }
    if (answer.status != VRDMA_STATUS_NO_RESOURCE) {
        stage.report(std::string(what) + ": after " + std::to_string(handles.size()) +
                     " the answer is " + std::to_string(answer.status) + " (" + answer.reason +
                     "), not NO_RESOURCE");
        return;
    }
    if (handles.empty()) {
        stage.report(std::string(what) + ": not one");
        return;
    }
    for (uint32_t i = 0; i < 3; ++i) {
        if (!tenant.device.call(destroy, vrdma_handle{handles.back(), 0}).ok()) {
            stage.report(std::string(what) + ": cannot be given back");
            return;
        }
        const Answer again = create();
        if (!again.ok() || create().ok()) {
            stage.report(std::string(what) + ": the room of one is not the room of one");
            return;
        }
        handles.back() = again.as<vrdma_handle>().handle;
    }
}

void contexts(Stage& stage) {
    std::vector<Tenant> tenants;
    for (uint32_t i = 0; i < 5000; ++i) {
        Tenant& tenant = tenants.emplace_back();
        if (!tenant.open(stage.socket, 4096)) {
            if (tenant.why.find("max_contexts") == std::string::npos) {
                stage.report("context " + std::to_string(i) + " is refused with: " + tenant.why);
            }
            return;
        }
    }
    stage.report("contexts have no limit");
}

void domains(Stage& stage) {
    Tenant tenant;
    if (tenant.open(stage.socket)) {
        exhaust(stage, "protection domains", tenant, VRDMA_CMD_DEALLOC_PD,
                [&] { return tenant.device.call(VRDMA_CMD_ALLOC_PD); });
    }
}

void channels(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return;
    }
    const int file = ends[1];
    exhaust(stage, "channels", tenant, VRDMA_CMD_DESTROY_CHANNEL, [&] {
        return tenant.device.call(VRDMA_CMD_CREATE_CHANNEL, {}, {&file, 1});
    });
    close(ends[0]);
    close(ends[1]);
}

void regions(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    const Memory memory = Memory::create(4096);
    const int file = memory.file();
    const vrdma_cmd_add_region request{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0, 4096};
    exhaust(stage, "regions", tenant, VRDMA_CMD_REMOVE_REGION, [&] {
        return tenant.device.call(VRDMA_CMD_ADD_REGION, request, {&file, 1});
    });
}

void memory_regions(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    struct {
        vrdma_cmd_reg_mr head;
        vrdma_mr_range range;
    } request{{tenant.pd, 0, 0x10000, 64, 1, 0}, {tenant.queue_region, 0, 0, 64}};
    exhaust(stage, "memory regions", tenant, VRDMA_CMD_DEREG_MR,
            [&] { return tenant.device.call(VRDMA_CMD_REG_MR, request); });
}

// Each MR may have a thousand pieces, and pieces are a resource of the whole host.
void pieces(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    constexpr uint32_t kPieces = VRDMA_MAX_RANGES_PER_MR;
    struct {
        vrdma_cmd_reg_mr head;
        vrdma_mr_range ranges[kPieces];
    } request{};
    request.head = {tenant.pd, 0, 0x10000, uint64_t{4096} * kPieces, kPieces, 0};
    for (vrdma_mr_range& range : request.ranges) {
        range = {tenant.queue_region, 0, 0, 4096};
    }
    exhaust(stage, "pieces of memory regions", tenant, VRDMA_CMD_DEREG_MR,
            [&] { return tenant.device.call(VRDMA_CMD_REG_MR, request); });
}

void queues(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    const CompletionQueue cq = tenant.create_cq(16);
    vrdma_cmd_create_qp request{};
    request.memory.region = tenant.queue_region;
    request.memory.offset = 65536;
    request.pd = tenant.pd;
    request.type = VRDMA_QPT_UD;
    request.send_cq = request.recv_cq = cq.handle;
    request.srq = VRDMA_NO_HANDLE;
    request.sq_entries = request.rq_entries = 1;
    exhaust(stage, "queue pairs", tenant, VRDMA_CMD_DESTROY_QP,
            [&] { return tenant.device.call(VRDMA_CMD_CREATE_QP, request); });
    Tenant third;
    if (third.open(stage.socket)) {
        vrdma_cmd_create_cq create{};
        create.memory.region = third.queue_region;
        create.entries = 1;
        create.channel = VRDMA_NO_HANDLE;
        exhaust(stage, "completion queues", third, VRDMA_CMD_DESTROY_CQ,
                [&] { return third.device.call(VRDMA_CMD_CREATE_CQ, create); });
        vrdma_cmd_create_srq shared{};
        shared.memory.region = third.queue_region;
        shared.pd = third.pd;
        shared.entries = 1;
        exhaust(stage, "shared receive queues", third, VRDMA_CMD_DESTROY_SRQ,
                [&] { return third.device.call(VRDMA_CMD_CREATE_SRQ, shared); });
    }
}

// A handle of a target counts as a queue pair; the service keeps a descriptor for each domain.
void xrc(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        return;
    }
    const Memory memory = Memory::create(4096);
    const int file = memory.file();
    const vrdma_cmd_open_xrcd open{VRDMA_XRCD_CREATE, 0};
    const auto open_domain = [&] {
        return tenant.device.call(VRDMA_CMD_OPEN_XRCD, open, {&file, 1});
    };
    Answer opened = open_domain();
    for (int i = 0; i < 500 && !opened.ok(); ++i) {  // until the last attacker is gone as a whole
        usleep(10'000);
        opened = open_domain();
    }
    const vrdma_cmd_xrc_target target{opened.as<vrdma_handle>().handle, 0, 0};
    exhaust(stage, "XRC targets", tenant, VRDMA_CMD_DESTROY_QP,
            [&] { return tenant.device.call(VRDMA_CMD_CREATE_XRC_TARGET, target); });
    exhaust(stage, "XRC domains", tenant, VRDMA_CMD_CLOSE_XRCD, open_domain);
}

constexpr Attack kAttacks[] = {
    {"quota-contexts", "contexts until none is left", contexts},
    {"quota-domains", "protection domains until none is left", domains},
    {"quota-channels", "completion channels until none is left", channels},
    {"quota-regions", "regions until none is left", regions},
    {"quota-mrs", "memory regions until none is left", memory_regions},
    {"quota-pieces", "pieces of memory regions until none is left", pieces},
    {"quota-queues", "queues until none is left", queues},
    {"quota-xrc", "XRC domains and targets until none is left", xrc},
};

}  // namespace

std::span<const Attack> quota_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
