// The definition of a C library function that a hook of ours stands in front of.
//
// Usable before any constructor has run and from any thread: looking it up twice is harmless.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace vrdma::preload {

template <typename Function>
class NextFunction {
  public:
    // version: for functions that the C library keeps for old programs only.
    constexpr explicit NextFunction(const char* name, const char* version = nullptr)
        : name_(name), version_(version) {}

    // nullptr when the C library does not have it.
    [[nodiscard]] Function* get() {
        Function* function = function_.load(std::memory_order_acquire);
        if (function == nullptr) {
            void* found =
                version_ == nullptr ? dlsym(RTLD_NEXT, name_) : dlvsym(RTLD_NEXT, name_, version_);
            function = reinterpret_cast<Function*>(found);
            function_.store(function, std::memory_order_release);
        }
        return function;
    }

  private:
    const char* name_;
    const char* version_;
    std::atomic<Function*> function_{nullptr};
};

}  // namespace vrdma::preload
