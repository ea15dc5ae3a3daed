// Random numbers that a seed reproduces on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vrdma::hostile {

class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}

    [[nodiscard]] uint64_t next() {  // splitmix64
        uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    [[nodiscard]] uint64_t below(uint64_t bound) { return next() % bound; }
    [[nodiscard]] uint32_t below32(uint32_t bound) { return static_cast<uint32_t>(below(bound)); }
    [[nodiscard]] bool one_in(uint64_t n) { return below(n) == 0; }
    // Any value, but mostly one of those that break things.
    [[nodiscard]] uint64_t awkward() {
        switch (below(8)) {
            case 0:
                return 0;
            case 1:
                return UINT64_MAX - below(4096);
            case 2:
                return uint64_t{1} << below(64);
            case 3:
                return (uint64_t{1} << below(64)) - 1;
            case 4:
                return below(16);
            case 5:
                return below(64) * 4096;
            case 6:
                return below(UINT32_MAX);
            default:
                return next();
        }
    }
    [[nodiscard]] uint32_t awkward32() { return static_cast<uint32_t>(awkward()); }
    void fill(std::span<std::byte> bytes) {
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(next());
        }
    }
    template <size_t N>
    [[nodiscard]] uint64_t pick(const uint64_t (&values)[N]) {
        return values[below(N)];
    }

  private:
    uint64_t state_;
};

}  // namespace vrdma::hostile
