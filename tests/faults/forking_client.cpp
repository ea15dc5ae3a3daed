// vrdma-forking-client: transfers and verifies while children are forked that exit, exec or are
// killed. A child shares nothing with the device; whatever it does on its way out, the parent's
// queue pairs, memory and event channels go on working.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/faults/loop.h"

namespace {

constexpr std::uint32_t kChildren = 24;
constexpr std::uint32_t kRounds = 64;

[[noreturn]] void be_a_child(std::uint32_t number, vrdma::faults::Loop& loop) {
    switch (number % 4) {
        case 0:
            std::exit(0);  // with every destructor and exit handler that was inherited
        case 1:
            execl("/bin/true", "true", nullptr);
            _exit(1);
        case 2:  // what it inherited is a device that is gone, or just its own memory
            (void)loop.close();
            _exit(0);
        default:
            for (;;) {
                pause();
            }
    }
}

}  // namespace

int main() {
    vrdma::faults::Loop loop;
    if (!loop.open(false)) {
        return 1;
    }
    std::uint32_t round = 0;
    for (std::uint32_t child = 0; child < kChildren; ++child) {
        const pid_t process = fork();
        if (process == 0) {
            be_a_child(child, loop);
        }
        for (const std::uint32_t end = round + kRounds; round < end; ++round) {
            if (!loop.verified_write(round)) {
                return 1;
            }
        }
        if (child % 4 == 3) {
            kill(process, SIGKILL);
        }
        int status = 0;
        waitpid(process, &status, 0);
        if (child % 4 != 3 && status != 0) {
            std::fprintf(stderr, "child %u ended with status %d\n", child, status);
            return 1;
        }
        for (const std::uint32_t end = round + kRounds; round < end; ++round) {
            if (!loop.verified_write(round)) {
                return 1;
            }
        }
    }
    std::printf("%u children, %u rounds\n", kChildren, round);
    return loop.close() ? 0 : 1;
}
