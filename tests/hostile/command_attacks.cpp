// Attacks on the attach socket: malformed, truncated and oversized messages, wrong handles, and
// tenants that talk without listening.
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/attack.h"

namespace vrdma::hostile {
namespace {

constexpr size_t kBodies[] = {0,  0,  64, 0,  0, 0, 8, 24, 8,  32, 8, 0, 8,
                              40, 24, 8,  40, 8, 8, 8, 72, 80, 8,  8, 8, 0};

void garbage(Stage& stage) {
    Tenant tenant;
    bool open = false;
    for (uint32_t i = 0; i < stage.operations; ++i) {
        if (!open && !tenant.open(stage.socket)) {
            stage.report("a fresh tenant is refused: " + tenant.why);
            return;
        }
        Random& random = stage.random;
        const auto opcode =
            static_cast<uint16_t>(random.one_in(16) ? random.next() : random.below(27));
        size_t size = opcode < std::size(kBodies) ? kBodies[opcode] : random.below(128);
        if (random.one_in(4)) {
            size = random.one_in(2) ? random.below(256) : random.below(VRDMA_MAX_MESSAGE_BYTES);
        }
        size = std::min<size_t>(size, VRDMA_MAX_MESSAGE_BYTES - sizeof(vrdma_command_header));
        std::vector<std::byte> body(size);
        for (size_t at = 0; at + 4 <= size; at += 4) {
            const uint32_t word = random.one_in(2) ? random.below32(8) : random.awkward32();
            std::memcpy(body.data() + at, &word, 4);
        }
        const Answer answer = tenant.device.call(opcode, body);
        if (answer.status == kNoAnswer) {
            stage.report("command " + std::to_string(opcode) + " was never answered");
            return;
        }
        open = answer.status != kHungUp;
        if (!open) {
            stage.report("a well-formed command " + std::to_string(opcode) + " of " +
                         std::to_string(size) + " bytes ended the connection");
            tenant = Tenant{};
        }
    }
}

// Messages whose header lies; each must end exactly this connection.
void headers(Stage& stage) {
    for (uint32_t i = 0; i < stage.operations / 16; ++i) {
        RawDevice device;
        if (!device.connect(stage.socket)) {
            stage.report("the attach socket does not take connections");
            return;
        }
        Random& random = stage.random;
        std::vector<std::byte> message(random.below(128));
        random.fill(message);
        vrdma_command_header header{static_cast<uint16_t>(random.below(27)), 0,
                                    static_cast<uint32_t>(message.size()), 1};
        switch (random.below(4)) {
            case 0:
                header.reserved = static_cast<uint16_t>(1 + random.below(65535));
                break;
            case 1:
                header.length += 1 + random.below32(1000);
                break;
            case 2:
                message.resize(VRDMA_MAX_MESSAGE_BYTES + 1 + random.below(4096));
                header.length = static_cast<uint32_t>(message.size());
                break;
            default:
                message.resize(1 + random.below(sizeof header - 1));
                break;
        }
        std::memcpy(message.data(), &header, std::min(sizeof header, message.size()));
        if (device.send(message) && device.receive().status != kHungUp) {
            stage.report("a malformed header did not end the connection");
        }
    }
}

// Commands without end, answers never read.
void deaf(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    for (uint32_t i = 0; i < stage.operations * 4; ++i) {
        if (!tenant.device.post(VRDMA_CMD_QUERY_PORT, {}) && errno == EPIPE) {
            return;  // the service had enough
        }
    }
}

// Async events without end, never read.
void silent(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    for (uint32_t i = 0; i < stage.operations / 8; ++i) {
        store(pair.first.header->sq_producer, 0x80000000);
        pair.tenant.doorbell.ring(pair.first.doorbell);
        pair.revive();
    }
}

// Connections that are opened and left, and connections that come and go.
void connections(Stage& stage) {
    std::vector<RawDevice> half_open;
    for (uint32_t i = 0; i < stage.operations; ++i) {
        RawDevice device;
        if (!device.connect(stage.socket)) {
            break;
        }
        if (stage.random.one_in(2)) {
            half_open.push_back(std::move(device));
            if (stage.random.one_in(4)) {
                half_open.back().post(VRDMA_CMD_ALLOC_PD, {});
            }
        }
    }
}

constexpr Attack kAttacks[] = {
    {"garbage", "random commands, bodies and handles", garbage},
    {"headers", "malformed message headers", headers},
    {"deaf", "commands whose answers are never read", deaf},
    {"silent", "events that are never read", silent},
    {"connections", "a storm of half-open and short connections", connections},
};

}  // namespace

std::span<const Attack> command_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
