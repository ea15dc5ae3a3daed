// The imports of one loaded shared object, and their redirection: what the hooks for libibverbs and
// librdmacm are made of. Threading: as the callers'; a redirected slot is stored atomically.
#pragma once

#include <string_view>
#include <vector>

struct link_map;

namespace vrdma::verbs_abi {

class ImportSlots {
  public:
    // Null object, or one without a usable dynamic section: readable() is false.
    explicit ImportSlots(const link_map* object);

    [[nodiscard]] bool readable() const { return readable_; }

    // Plans that calls of `name` lead to `replacement`. What they led to before; nullptr when the
    // object does not import it or the real function could not be found.
    [[nodiscard]] void* plan(const char* name, void* replacement);
    [[nodiscard]] bool imports(std::string_view name) const { return !slots_of(name).empty(); }

    // Does what was planned; false when the offset table could not be made writable.
    [[nodiscard]] bool redirect();

  private:
    struct Planned {
        void** slot;
        void* replacement;
    };

    [[nodiscard]] std::vector<void**> slots_of(std::string_view name) const;

    const link_map* object_;
    bool readable_ = false;
    std::vector<Planned> planned_;
};

}  // namespace vrdma::verbs_abi
