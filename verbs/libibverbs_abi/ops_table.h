// The verbs_context_ops of one layout, filled by operation name.
//
//   OpsTable ops(layout);
//   ops.set<Op::alloc_pd>(&alloc_pd);
//   set_ops(context, ops);
//
// An operation left unset keeps the library's own answer, EOPNOTSUPP. Threading: plain value.
#pragma once

#include <array>
#include <cstddef>

#include "verbs/libibverbs_abi/layout.h"
#include "verbs/libibverbs_abi/op_signature.h"

namespace vrdma::verbs_abi {

class OpsTable {
  public:
    explicit OpsTable(Layout layout) : layout_(layout) {}

    // Setting an operation that this release does not have yet is no error: nobody there can call
    // it.
    template <Op op>
    void set(typename OpSignature<op>::Type* function) {
        store(op, reinterpret_cast<void (*)()>(function));
    }

    [[nodiscard]] Layout layout() const { return layout_; }
    // The blob verbs_set_ops reads; its first sizes_of(layout()).ops_size bytes are the struct, the
    // rest stays zero for a library that reads further than its private ABI number promised.
    [[nodiscard]] const void* data() const { return slots_.data(); }

  private:
    static constexpr std::size_t kSlack = 256;  // bytes of zero behind the largest known table
    using Slot = void (*)();
    static_assert(sizeof(Slot) == 8);

    void store(Op op, Slot function);

    Layout layout_;
    std::array<Slot, (kMaxOpsSize + kSlack) / sizeof(Slot)> slots_{};
};

}  // namespace vrdma::verbs_abi
