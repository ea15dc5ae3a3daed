// A file of a tenant's own file system answers when the tenant wants. There is no time limit that
// the kernel would keep (closing waits even against SIGKILL), so such calls are made on a thread
// that nobody joins. A tenant can make them stick, and pays for it: whoever lets it in looks at
// waiting() first.
#include "dataplane/platform/aside.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dataplane/platform/tenant_files.h"

namespace vrdma::platform {
namespace {

struct Errand {
    std::function<void()> work;
    std::shared_ptr<std::atomic<uint32_t>> waiting;
};

void* run_errand(void* given) {
    const std::unique_ptr<Errand> errand(static_cast<Errand*>(given));
    errand->work();
    errand->waiting->fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
}

}  // namespace

bool Aside::run(std::function<void()> work) {
    auto errand = std::make_unique<Errand>(Errand{std::move(work), waiting_});
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    waiting_->fetch_add(1, std::memory_order_relaxed);
    pthread_t thread{};
    const bool started = pthread_create(&thread, &attributes, run_errand, errand.get()) == 0;
    pthread_attr_destroy(&attributes);
    if (started) {
        (void)errand.release();
    } else {
        waiting_->fetch_sub(1, std::memory_order_relaxed);
    }
    return started;
}

void Aside::close_all(const std::vector<int>& files) {
    std::vector<int> slow;
    for (const int file : files) {
        if (file >= 0 && closes_at_once(file)) {
            close(file);
        } else if (file >= 0) {
            slow.push_back(file);
        }
    }
    if (!slow.empty()) {
        (void)run([slow] { std::for_each(slow.begin(), slow.end(), close); });
    }
}

}  // namespace vrdma::platform
