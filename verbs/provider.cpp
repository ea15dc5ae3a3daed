// The entry of the shared object: enters libibverbs when it is loaded, says goodbye when the
// program ends. The object is linked so that it is never unloaded: libibverbs' offset table and a
// thread lead here.
#include "verbs/cm.h"
#include "verbs/context.h"
#include "verbs/device.h"
#include "verbs/libibverbs_abi/registration.h"

namespace vrdma::verbs {
namespace {

[[gnu::constructor]] void enter() {
    // What goes wrong here has been said on stderr; libibverbs then knows no vrdma devices.
    [[maybe_unused]] const auto layout =
        verbs_abi::register_provider({.alloc_device = alloc_device,
                                      .uninit_device = uninit_device,
                                      .alloc_context = alloc_context,

                                      .create_channel = create_channel,
                                      .rdmacm = &kRdmacmCalls});
}

[[gnu::destructor]] void leave() {
    say_goodbye_to_all();
}

}  // namespace
}  // namespace vrdma::verbs
