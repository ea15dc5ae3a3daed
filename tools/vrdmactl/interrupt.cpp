// Ctrl-C in the middle of something that has an orderly end.
//
// The handlers are removed again, so that everything else in the program keeps the usual behaviour.

#include "tools/vrdmactl/interrupt.h"

#include <array>
#include <csignal>
#include <ctime>

namespace vrdma::vrdmactl {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) {
    interrupted = 1;
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(signal, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
    interrupted = 0;
    for (const int signal : kSignals) {
        handle(signal, on_signal);
    }
    handle(SIGPIPE, SIG_IGN);
}

Interrupt::~Interrupt() {
    for (const int signal : kSignals) {
        handle(signal, SIG_DFL);
    }
    handle(SIGPIPE, SIG_DFL);
}

bool Interrupt::came() {
    return interrupted != 0;
}

void Interrupt::wait(std::chrono::nanoseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const timespec left{seconds.count(), (time - seconds).count()};
    ::nanosleep(&left, nullptr);
}

}  // namespace vrdma::vrdmactl
