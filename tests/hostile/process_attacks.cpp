// Attacks by what processes do: they fork and exec in the middle, share their sockets, stop, and
// are killed wherever they are.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/hostile/attack.h"

namespace vrdma::hostile {
namespace {

void post_many(Pair& pair, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        pair.tenant.post_send(i % 2 == 0 ? pair.first : pair.second,
                              pair.entry(VRDMA_WQE_RDMA_WRITE, 0, 65536, 65536));
    }
}

void killed(Stage& stage) {
    for (uint32_t i = 0; i < 1 + stage.operations / 64; ++i) {
        const uint64_t seed = stage.random.next();
        const pid_t child = fork();
        if (child == 0) {
            Stage own{stage.socket, Random(seed), stage.operations, ""};
            Pair pair;
            if (pair.open(own)) {
                for (;;) {
                    post_many(pair, 32);
                    pair.revive();
                }
            }
            _exit(0);
        }
        usleep(static_cast<useconds_t>(stage.random.below(20000)));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
    }
}

// Stopped with everything under way, looked at by nobody, killed at last.
void stopped(Stage& stage) {
    const pid_t child = fork();
    if (child == 0) {
        Pair pair;
        if (pair.open(stage)) {
            post_many(pair, 64);
            raise(SIGSTOP);
        }
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, WUNTRACED);
    usleep(300'000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

// Both sides of a fork use the same context.
void forked(Stage& stage) {
    Pair pair;
    if (!pair.open(stage)) {
        return;
    }
    const pid_t child = fork();
    for (uint32_t i = 0; i < stage.operations / 8; ++i) {
        post_many(pair, 4);
        if (stage.random.one_in(4)) {
            pair.revive();
        }
    }
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, nullptr, 0);
}

void replaced(Stage& stage) {
    for (uint32_t i = 0; i < 8; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            Pair pair;
            if (pair.open(stage)) {
                post_many(pair, 64);
                execl("/bin/true", "true", nullptr);
            }
            _exit(0);
        }
        waitpid(child, nullptr, 0);
    }
}

constexpr Attack kAttacks[] = {
    {"kill", "processes killed in the middle of everything", killed},
    {"stop", "a stopped process with work under way", stopped},
    {"fork", "parent and child on one context", forked},
    {"exec", "exec with work under way", replaced},
};

}  // namespace

std::span<const Attack> process_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
