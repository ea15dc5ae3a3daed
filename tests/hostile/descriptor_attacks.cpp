// Attacks with file descriptors: everything that is not what the command asks for, in every place
// that takes one. The service must say no, at once, and must not be used against others.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <poll.h>

#include "tests/hostile/attack.h"
#include "tests/hostile/silent_file_system.h"

namespace vrdma::hostile {
namespace {

struct Thing {
    const char* name;
    UniqueFd file;
};

std::vector<Thing> wrong_things() {
    std::vector<Thing> things;
    const auto add = [&things](const char* name, int file) {
        if (file >= 0) {
            things.push_back({name, UniqueFd(file)});
        }
    };
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) == 0) {
        add("pipe, reading end", ends[0]);
        add("pipe, writing end", ends[1]);
    }
    add("epoll", epoll_create1(EPOLL_CLOEXEC));
    add("internet socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    add("datagram socket", socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    add("unconnected socket", socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    add("/dev/zero", open("/dev/zero", O_RDWR | O_CLOEXEC));
    add("/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC));
    add("/dev/shm as a directory", open("/dev/shm", O_RDONLY | O_CLOEXEC));
    add("/proc/self/maps", open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    add("/proc/self/mem, reading only", open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    add("a path only", open("/proc/self/mem", O_PATH | O_CLOEXEC));
    add("an ordinary file", open("/etc/hostname", O_RDONLY | O_CLOEXEC));
    add("memfd without its size", memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const int read_only = memfd_create("read only", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (read_only >= 0 && ftruncate(read_only, 1 << 20) == 0) {
        const std::string path = "/proc/self/fd/" + std::to_string(read_only);
        add("memfd, reading only", open(path.c_str(), O_RDONLY | O_CLOEXEC));
        close(read_only);
    }
    return things;
}

void wrong(Stage& stage) {
    for (const Thing& thing : wrong_things()) {
        Tenant tenant;
        if (!tenant.open(stage.socket)) {
            stage.report("a fresh tenant is refused: " + tenant.why);
            return;
        }
        const int file = thing.file.get();
        const auto refused = [&](const char* as, const Answer& answer) {
            if (answer.ok() || answer.status == kNoAnswer) {
                stage.report(std::string(thing.name) + " was taken as " + as);
            }
        };
        const vrdma_cmd_add_region mapped{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0, 4096};
        const vrdma_cmd_add_region process{VRDMA_REGION_PROCESS, VRDMA_REGION_WRITABLE, 4096, 4096};
        refused("mapped memory", tenant.device.call(VRDMA_CMD_ADD_REGION, mapped, {&file, 1}));
        refused("process memory", tenant.device.call(VRDMA_CMD_ADD_REGION, process, {&file, 1}));
        refused("a channel", tenant.device.call(VRDMA_CMD_CREATE_CHANNEL, {}, {&file, 1}));
        RawDevice other;
        if (!other.connect(stage.socket)) {
            stage.report("the attach socket does not take connections");
            return;
        }
        vrdma_cmd_open request{};
        request.abi_major = VRDMA_ABI_MAJOR;
        const Memory doorbell = Memory::create(sizeof(vrdma_doorbell));
        const UniqueFd kick(eventfd(0, EFD_CLOEXEC));
        const int as_doorbell[] = {file, kick.get()};
        const int as_kick[] = {doorbell.file(), file};
        refused("a doorbell", other.call(VRDMA_CMD_OPEN, request, as_doorbell));
        refused("a kick", other.call(VRDMA_CMD_OPEN, request, as_kick));
    }
    // A doorbell that its owner could cut short.
    RawDevice device;
    const Memory unsealed = Memory::create(sizeof(vrdma_doorbell), false);
    const UniqueFd kick(eventfd(0, EFD_CLOEXEC));
    vrdma_cmd_open request{};
    request.abi_major = VRDMA_ABI_MAJOR;
    const int files[] = {unsealed.file(), kick.get()};
    if (!device.connect(stage.socket) || device.call(VRDMA_CMD_OPEN, request, files).ok()) {
        stage.report("an unsealed doorbell was taken");
    }
}

// Queues in memory that its owner can cut short: the device writes them without being asked.
void unsealed_queue(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    const Memory memory = Memory::create(size_t{1} << 20, false);
    vrdma_cmd_create_cq request{};
    request.memory.region = tenant.add_region(memory);
    request.entries = 1024;
    request.channel = VRDMA_NO_HANDLE;
    if (tenant.device.call(VRDMA_CMD_CREATE_CQ, request).ok()) {
        stage.report("a queue was made in memory that can be truncated");
    }
}

// Memory of huge pages, of which the host has none left.
void huge_pages(Stage& stage) {
    constexpr size_t kHuge = size_t{2} << 20;
    const Memory memory = Memory::create(kHuge, true, MFD_HUGETLB);
    const int file = memory.file();
    if (file < 0) {
        return;
    }
    Tenant tenant;
    RawDevice device;
    if (!tenant.open(stage.socket) || !device.connect(stage.socket)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    const vrdma_cmd_add_region region{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0, 4096};
    const Answer added = tenant.device.call(VRDMA_CMD_ADD_REGION, region, {&file, 1});
    if (added.ok()) {
        vrdma_cmd_create_cq request{};
        request.memory.region = added.as<vrdma_handle>().handle;
        request.entries = 64;
        request.channel = VRDMA_NO_HANDLE;
        [[maybe_unused]] const Answer queue = tenant.device.call(VRDMA_CMD_CREATE_CQ, request);
        std::byte* where = nullptr;
        vrdma_cmd_create_qp qp{};
        qp.memory = {added.as<vrdma_handle>().handle, 0, 0};
        qp.type = VRDMA_QPT_RC;
        qp.pd = tenant.pd;
        qp.srq = VRDMA_NO_HANDLE;
        qp.send_cq = qp.recv_cq = tenant.create_cq(64).handle;
        qp.sq_entries = 1;
        (void)where;
        [[maybe_unused]] const Answer pair = tenant.device.call(VRDMA_CMD_CREATE_QP, qp);
    }
    // As a doorbell the device touches it before anything else is asked.
    const UniqueFd kick(eventfd(0, EFD_CLOEXEC));
    vrdma_cmd_open request{};
    request.abi_major = VRDMA_ABI_MAJOR;
    const int files[] = {file, kick.get()};
    [[maybe_unused]] const Answer opened = device.call(VRDMA_CMD_OPEN, request, files);
    if (opened.status == kNoAnswer) {
        stage.report("OPEN with huge pages was never answered");
    }
}

// As many descriptors as a message can carry.
void flood(Stage& stage) {
    const UniqueFd file(open("/dev/null", O_RDWR | O_CLOEXEC));
    const std::vector<int> many(253, file.get());
    for (uint32_t i = 0; i < stage.operations / 4; ++i) {
        RawDevice device;
        if (!device.connect(stage.socket)) {
            stage.report("the attach socket does not take connections");
            return;
        }
        const size_t count = 1 + stage.random.below(many.size());
        for (uint32_t n = 0; n < 8; ++n) {
            device.post(VRDMA_CMD_QUERY_PORT, {}, std::span(many).first(count));
        }
    }
}

// A channel that leads to somebody who trusts the service: what the service sends there carries the
// service's identity, and the bytes are the tenant's.
void deputy(Stage& stage) {
    const std::string name = "hostile-deputy-" + std::to_string(getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());  // abstract: leaves nothing behind
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    for (const int type : {SOCK_SEQPACKET, SOCK_STREAM, SOCK_DGRAM}) {
        Tenant tenant;
        if (!tenant.open(stage.socket)) {
            stage.report("a fresh tenant is refused: " + tenant.why);
            return;
        }
        const UniqueFd server(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
        const UniqueFd client(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
        const bool ready =
            bind(server.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 &&
            (type == SOCK_DGRAM || listen(server.get(), 1) == 0) &&
            connect(client.get(), reinterpret_cast<sockaddr*>(&address), length) == 0;
        const int file = client.get();
        if (ready && tenant.device.call(VRDMA_CMD_CREATE_CHANNEL, {}, {&file, 1}).ok()) {
            stage.report("a channel may lead to a listening service");
        }
    }
    // Datagram sockets could be led there later.
    Tenant tenant;
    int ends[2] = {-1, -1};
    if (!tenant.open(stage.socket) ||
        socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return;
    }
    if (tenant.device.call(VRDMA_CMD_CREATE_CHANNEL, {}, {ends, 1}).ok()) {
        stage.report("a channel may be a datagram socket, which can be connected anew");
    }
    close(ends[0]);
    close(ends[1]);
}

// Files of a file system whose server never answers: looking at one, mapping one and closing one
// all wait for it.
void silent_files(Stage& stage) {
    SilentFileSystem files;
    if (!files.mount()) {
        return;  // not possible here
    }
    for (const uint16_t opcode :
         {uint16_t{VRDMA_CMD_ADD_REGION}, uint16_t{VRDMA_CMD_CREATE_CHANNEL},
          uint16_t{VRDMA_CMD_QUERY_PORT}, uint16_t{VRDMA_CMD_OPEN},
          uint16_t{VRDMA_CMD_OPEN_XRCD}}) {
        for (const uint32_t kind : {VRDMA_REGION_MAPPED, VRDMA_REGION_PROCESS}) {
            Tenant tenant;
            if (!tenant.open(stage.socket)) {
                stage.report("after a file that is never served: " + tenant.why);
                return;
            }
            UniqueFd file = files.open();
            const int given = file.get();
            if (opcode == VRDMA_CMD_ADD_REGION) {
                const vrdma_cmd_add_region region{kind, VRDMA_REGION_WRITABLE, 0, 4096};
                tenant.device.post(opcode, std::as_bytes(std::span(&region, 1)), {&given, 1});
            } else if (opcode == VRDMA_CMD_OPEN_XRCD) {
                const vrdma_cmd_open_xrcd domain{VRDMA_XRCD_CREATE, 0};
                tenant.device.post(opcode, std::as_bytes(std::span(&domain, 1)), {&given, 1});
            } else {
                tenant.device.post(opcode, {}, {&given, 1});
            }
            files.abandon(std::move(file));
            [[maybe_unused]] const Answer answer = tenant.device.receive(200);
        }
    }
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        stage.report("after files that are never served: " + tenant.why);
    }
}

constexpr Attack kAttacks[] = {
    {"wrong-files", "every kind of descriptor where another is expected", wrong},
    {"unsealed-queue", "a queue in memory that can be truncated", unsealed_queue},
    {"huge-pages", "huge pages that the host does not have", huge_pages},
    {"file-flood", "as many descriptors as a message can carry", flood},
    {"deputy", "a completion channel that leads to a third party", deputy},
    {"silent-files", "files of a file system that never answers (root only)", silent_files},
};

}  // namespace

std::span<const Attack> descriptor_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
