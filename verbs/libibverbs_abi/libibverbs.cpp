// Finds the private functions of the right libibverbs, the one that is loading us. A process can
// hold several: the distribution's, which our own dependency brings in when nothing else does, and
// those that Python packages bring along under names of their own (libibverbs-1de1263b.so.1), which
// may even have the same private ABI number. So the stack is asked first: our constructor runs
// inside the dlopen() that the right one has called.
//
// Who loads us by other means (LD_PRELOAD, a test) is not on the stack. Then weak references lead
// to the first libibverbs of the global scope, whose register function carries its private ABI
// number in its name; and where that is not the number in our file's name (libibverbs with PABI NN
// opens libvrdma-rdmavNN.so), a library with that number is looked for among the loaded objects.
// (So an installation needs one copy of the file for each number: links to one file would be one
// object, whose constructor runs once.)
//
// PABI 59 stands for two layouts; the later one came with the public ibv_query_port_speed.
#include "verbs/libibverbs_abi/libibverbs.h"

#include <dlfcn.h>
#include <link.h>
#include <unwind.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

using vrdma::verbs_abi::VerbsContext;
using vrdma::verbs_abi::VerbsDeviceOps;

// NOLINTBEGIN(bugprone-reserved-identifier): the library's names.
extern "C" {
__attribute__((weak)) void verbs_register_driver_34(const VerbsDeviceOps*);
__attribute__((weak)) void verbs_register_driver_57(const VerbsDeviceOps*);
__attribute__((weak)) void verbs_register_driver_59(const VerbsDeviceOps*);
__attribute__((weak)) void verbs_register_driver_64(const VerbsDeviceOps*);
__attribute__((weak)) void verbs_register_driver_65(const VerbsDeviceOps*);
__attribute__((weak)) void* _verbs_init_and_alloc_context(ibv_device*, int, std::size_t,
                                                          VerbsContext*, std::uint32_t);
__attribute__((weak)) void verbs_set_ops(VerbsContext*, const void*);
__attribute__((weak)) void verbs_uninit_context(VerbsContext*);
__attribute__((weak)) int ibv_query_port_speed(ibv_context*, std::uint32_t, std::uint64_t*);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace vrdma::verbs_abi {
namespace {

using RegisterFunction = void (*)(const VerbsDeviceOps*);

struct PabiRow {
    Pabi pabi;
    const char* symbol;
};

constexpr std::array<PabiRow, 5> kPabis = {{
    {Pabi::v34, "verbs_register_driver_34"},
    {Pabi::v57, "verbs_register_driver_57"},
    {Pabi::v59, "verbs_register_driver_59"},
    {Pabi::v64, "verbs_register_driver_64"},
    {Pabi::v65, "verbs_register_driver_65"},
}};

RegisterFunction weak_register_function(Pabi pabi) {
    switch (pabi) {
        case Pabi::v34:
            return verbs_register_driver_34;
        case Pabi::v57:
            return verbs_register_driver_57;
        case Pabi::v59:
            return verbs_register_driver_59;
        case Pabi::v64:
            return verbs_register_driver_64;
        case Pabi::v65:
            return verbs_register_driver_65;
    }
    __builtin_unreachable();
}

link_map* object_of(RegisterFunction function) {
    Dl_info info{};
    void* map = nullptr;
    if (dladdr1(reinterpret_cast<void*>(function), &info, &map, RTLD_DL_LINKMAP) == 0) {
        return nullptr;
    }
    return static_cast<link_map*>(map);
}

// The library the weak references lead to.
tl::expected<Libibverbs, LibibverbsError> from_weak_references() {
    if (_verbs_init_and_alloc_context == nullptr || verbs_set_ops == nullptr ||
        verbs_uninit_context == nullptr) {
        return tl::unexpected(LibibverbsError::not_loaded);
    }
    for (const PabiRow& row : kPabis) {
        const RegisterFunction function = weak_register_function(row.pabi);
        if (function == nullptr) {
            continue;
        }
        return Libibverbs{
            .layout = layout_of(row.pabi, ibv_query_port_speed != nullptr),
            .pabi = row.pabi,
            .object = object_of(function),
            .register_driver = function,
            .init_and_alloc_context = _verbs_init_and_alloc_context,
            .set_ops = verbs_set_ops,
            .uninit_context = verbs_uninit_context,
        };
    }
    return tl::unexpected(LibibverbsError::unknown_private_abi);
}

template <typename Function>
bool find(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    return function != nullptr;
}

// The library at map, when it is a libibverbs whose private ABI is row's.
bool from_object(const link_map* map, const PabiRow& row, Libibverbs& found) {
    void* handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) {
        return false;
    }
    // dlsym also searches the object's dependencies, hence the comparison with the object itself.
    const bool complete =
        find(handle, row.symbol, found.register_driver) &&
        object_of(found.register_driver) == map &&
        find(handle, "_verbs_init_and_alloc_context", found.init_and_alloc_context) &&
        find(handle, "verbs_set_ops", found.set_ops) &&
        find(handle, "verbs_uninit_context", found.uninit_context);
    if (complete) {
        found.layout = layout_of(row.pabi, dlsym(handle, "ibv_query_port_speed") != nullptr);
        found.pabi = row.pabi;
        found.object = object_of(found.register_driver);
    }
    dlclose(handle);  // the library stays: whoever loaded us holds it
    return complete;
}

// The loaded object, if any, whose private ABI is the one we were loaded for.
bool from_loaded_objects(const link_map* ours, unsigned wanted, Libibverbs& found) {
    for (const PabiRow& row : kPabis) {
        if (static_cast<unsigned>(row.pabi) != wanted) {
            continue;
        }
        const link_map* map = ours;
        while (map->l_prev != nullptr) {
            map = map->l_prev;
        }
        for (; map != nullptr; map = map->l_next) {
            if (std::strstr(map->l_name, "libibverbs") != nullptr && from_object(map, row, found)) {
                return true;
            }
        }
    }
    return false;
}

struct CallerSearch {
    const link_map* seen = nullptr;  // whose frame was looked at last
    bool success = false;
    Libibverbs found{};
};

// For one frame of the stack, from the inside out: stops at the first libibverbs.
_Unwind_Reason_Code look_at_frame(_Unwind_Context* frame, void* data) {
    auto& search = *static_cast<CallerSearch*>(data);
    Dl_info info{};
    void* map = nullptr;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the frame's address in the code
    if (dladdr1(reinterpret_cast<void*>(_Unwind_GetIP(frame)), &info, &map, RTLD_DL_LINKMAP) == 0 ||
        map == search.seen) {
        return _URC_NO_REASON;
    }
    search.seen = static_cast<const link_map*>(map);
    if (std::strstr(search.seen->l_name, "libibverbs") == nullptr) {
        return _URC_NO_REASON;
    }
    for (const PabiRow& row : kPabis) {
        if (from_object(search.seen, row, search.found)) {
            search.success = true;
            return _URC_END_OF_STACK;
        }
    }
    return _URC_NO_REASON;
}

// The libibverbs that has called the dlopen() we are running in.
bool from_callers(Libibverbs& found) {
    CallerSearch search;
    (void)_Unwind_Backtrace(&look_at_frame, &search);
    if (search.success) {
        found = search.found;
    }
    return search.success;
}

}  // namespace

unsigned pabi_in_file_name(const char* path) {
    constexpr std::string_view kMark = "-rdmav";
    constexpr std::string_view kEnd = ".so";
    const std::string_view name(path);
    const std::size_t mark = name.rfind(kMark);
    if (mark == std::string_view::npos) {
        return 0;
    }
    const std::string_view tail = name.substr(mark + kMark.size());
    unsigned number = 0;
    const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), number);
    const auto digits = static_cast<std::size_t>(end - tail.data());
    return error == std::errc() && tail.substr(digits) == kEnd ? number : 0;
}

tl::expected<Libibverbs, LibibverbsError> find_libibverbs() {
    Libibverbs caller{};
    if (from_callers(caller)) {
        return caller;
    }
    auto found = from_weak_references();
    Dl_info info{};
    void* ours = nullptr;
    if (dladdr1(reinterpret_cast<void*>(&find_libibverbs), &info, &ours, RTLD_DL_LINKMAP) == 0) {
        return found;
    }
    const unsigned wanted = pabi_in_file_name(info.dli_fname);
    if (wanted == 0 || (found && static_cast<unsigned>(found->pabi) == wanted)) {
        return found;
    }
    Libibverbs other{};
    if (from_loaded_objects(static_cast<const link_map*>(ours), wanted, other)) {
        return other;
    }
    return found;
}

}  // namespace vrdma::verbs_abi
