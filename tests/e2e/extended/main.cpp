// vrdma-extended SCENARIO: the extended verbs in one process, both ends of every connection here.
//
//     polling     ibv_create_cq_ex with time stamps, ibv_wr_*: every operation, every completion
//     windows     memory windows of both types
//     domains     parent domains, iova, registering again, what the device does not do
//     groups      multicast
//     arguments   what a program must not post or create, and the errno of each
//
// Prints one line when all is well.
#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "pair.h"

int main(int argc, char** argv) {
    using namespace vrdma::extended;
    struct Scenario {
        std::string_view name;
        void (*run)(Host&);
    };
    static constexpr Scenario kScenarios[] = {{"polling", polling},
                                              {"windows", windows},
                                              {"domains", domains},
                                              {"groups", groups},
                                              {"arguments", arguments}};
    for (const Scenario& scenario : kScenarios) {
        if (argc == 2 && scenario.name == argv[1]) {
            static Host host{Options{}};
            scenario.run(host);
            fmt::print("{}: everything as it must be\n", scenario.name);
            return EXIT_SUCCESS;
        }
    }
    fmt::print(stderr, "usage: vrdma-extended polling|windows|domains|groups|arguments\n");
    return EXIT_FAILURE;
}
