// vrdmactl: looks at and changes a running vrdmad through its control API. See vrdmactl(1).

#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/run.h"

int main(int argc, char** argv) {
    try {
        const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
        return vrdma::vrdmactl::run(arguments, std::cout, std::cerr);
    } catch (const std::exception& error) {
        std::cerr << "vrdmactl: " << error.what() << "; this is a bug, please report it\n";
        return vrdma::vrdmactl::kRefused;
    }
}
