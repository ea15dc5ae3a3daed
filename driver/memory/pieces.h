#pragma once

// The adopted pieces of this process: adopting, sharing, giving back. Not thread-safe: the
// MemoryMap's lock is held around every call.

#include <cstdint>
#include <map>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "driver/memory/adoption_file.h"
#include "driver/memory/exchange.h"
#include "driver/memory/plan.h"
#include "driver/memory/userfault.h"

namespace vrdma::tenant_memory {

struct Piece {
    uint64_t id = 0;
    uint64_t offset = 0;    // in the adoption file
    uint64_t length = 0;    // bytes adopted; the program may have grown the mapping beyond
    uint64_t reserved = 0;  // offsets that are this piece's, the gap included
    uint64_t parked = 0;    // where the emptied private mapping waits, `length` bytes
    uint32_t references = 0;
};

class Pieces {
  public:
    explicit Pieces(AdoptionFile& file) : file_(file) {}

    // Adopts [start, end), all of one private anonymous mapping, as a piece with one reference.
    // The error text says why not; the memory is then as it was.
    [[nodiscard]] tl::expected<const Piece*, std::string> adopt(const AddressSpace& space,
                                                                const Segment& segment,
                                                                const Withholding& withholding,
                                                                const Policy& policy);

    // The living piece to which an offset of the adoption file belongs, or nullptr.
    [[nodiscard]] Piece* find(uint64_t offset);

    // A piece that was without references got one.
    void wanted_again() { unreferenced_--; }

    // Drops one reference. A piece without references is given back by the next collect().
    void unreference(uint64_t offset);

    // Gives back what has no reference. What cannot be given back now stays for the next call.
    void collect(const Withholding& withholding);
    [[nodiscard]] bool anything_to_collect() const { return unreferenced_ != 0; }

    [[nodiscard]] const std::map<uint64_t, Piece>& all() const { return pieces_; }
    [[nodiscard]] uint32_t unreferenced() const { return unreferenced_; }

    // Forgets everything without touching any mapping: for the child of a fork.
    void forget();

    [[nodiscard]] FileIdentity identity() const {
        return FileIdentity{file_.device_major(), file_.device_minor(), file_.inode()};
    }

  private:
    ExchangeResult adopt_steps(const Segment& segment, const Withholding& withholding,
                               const Policy& policy, Piece& piece);
    bool give_back(const Piece& piece, const Withholding& withholding);
    bool give_back_mapping(const Piece& piece, const Vma& vma, uint64_t& restored_to,
                           uint64_t lowest, const Withholding& withholding);

    AdoptionFile& file_;
    std::map<uint64_t, Piece> pieces_;  // by offset
    uint64_t next_id_ = 1;
    uint32_t unreferenced_ = 0;
};

}  // namespace vrdma::tenant_memory
