// The bytes of a fuzzer, read one after the other. Behind their end all are zero, so that every
// prefix of an input is an input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vrdma::fuzz {

class Tape {
  public:
    Tape(const uint8_t* data, size_t size) : left_(data, size) {}

    [[nodiscard]] bool at_end() const { return left_.empty(); }
    uint8_t byte() {
        if (left_.empty()) {
            return 0;
        }
        const uint8_t value = left_.front();
        left_ = left_.subspan(1);
        return value;
    }
    uint16_t word() {
        const uint16_t low = byte();
        return static_cast<uint16_t>(low | byte() << 8);
    }
    uint32_t number() {
        const uint32_t low = word();
        return low | uint32_t{word()} << 16;
    }
    // [0, bound)
    uint32_t below(uint32_t bound) { return byte() % bound; }

  private:
    std::span<const uint8_t> left_;
};

}  // namespace vrdma::fuzz
