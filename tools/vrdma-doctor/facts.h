// What was seen, before anybody judged it. Plain values, so that a test can make any machine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace vrdma::doctor {

struct Library {
    std::string path;           // of libibverbs, links followed
    std::string version;        // from its file name, such as 1.14.44.0
    int private_interface = 0;  // NN of libX-rdmavNN.so
};

struct Provider {
    std::string configured_by;  // the variable or file that names it; empty: nothing does
    std::string expected;       // the file libibverbs would load
    bool exists = false;
    std::string loaded;  // the file that is loaded in this process; empty: none
};

// How this process came to see what it sees.
struct View {
    std::optional<std::string> tree;  // VRDMA_TREE
    bool tree_exists = false;
    bool preload_library = false;  // libvrdma-preload.so is in this process
    bool kernel_answers = false;   // ib_core's netlink: what libibverbs asks first
    bool vrdma_in_sysfs = false;   // a vNIC's tree stands where /sys is looked at
    bool node = false;             // and its /dev/infiniband/uverbsN
    std::string complaint;         // what libibverbs and the provider wrote
};

struct Gid {
    std::uint32_t index = 0;
    std::string text;
    bool ipv4 = false;
    std::string type;  // as sysfs says, "RoCE v2"; empty: nobody can tell
};

struct Device {
    std::string name;
    bool vrdma = false;
    bool opened = false;
    std::string complaint;     // what the provider wrote when it could not be opened
    std::string socket;        // of the service; vRDMA only
    std::string socket_error;  // empty: somebody listens there
    std::string service_version;
    bool port_active = false;
    std::string port_state;
    std::uint32_t mtu = 0;  // bytes of payload in a packet
    std::vector<Gid> gids;
};

// A registration that was tried.
struct Registration {
    bool tried = false;
    std::string error;   // empty: it succeeded
    std::string kind;    // shared, adopted, process; empty: the provider did not say
    std::string reason;  // its own words
};

struct Memory {
    Registration single;    // private memory, while the process has one thread
    Registration threaded;  // the same with a second thread
    Registration shared;    // a memfd
};

struct Limits {
    std::optional<std::uint64_t> locked_memory;  // bytes; none: unlimited
    std::optional<std::uint64_t> file_size;
    int ptrace_scope = 0;      // of yama; 0 also without it
    bool userfaultfd = false;  // the kernel gives this user one that stops system calls too
    bool seccomp = false;      // a filter is active
};

struct Setting {
    std::string value;
    std::string where;  // "the environment" or the file
};
using Settings = std::map<std::string, Setting>;

struct Program {
    std::string path;
    std::string problem;      // why it cannot be started at all
    std::string interpreter;  // of the ELF file; of a script's interpreter for a script
    bool elf = false;
    bool foreign = false;  // made for another machine or word size than this program
    bool gains_privileges = false;
    bool readable = true;
    bool links_libibverbs = false;
};

// The other side, as it described itself.
enum class Path : std::uint8_t { same_host, vrdma_peer, standard_peer };

struct Speed {
    double gigabytes_per_second = 0;
    double microseconds = 0;  // one 8-byte WRITE to its completion, median
};

struct Peer {
    std::string address;
    bool met = false;          // a vrdma-doctor --serve answered
    std::string problem;       // why it did not
    bool probed = false;       // without a server: the address itself was tried over the device
    std::uint32_t reason = 0;  // of the probe's completion, docs/operations.md; 0: it succeeded
    Path path = Path::vrdma_peer;
    std::string described;  // device and service of the other side
};

struct Transfer {
    bool tried = false;
    std::string problem;  // empty: it went through
    Speed speed;
};

struct Facts {
    std::string doctor_version;
    Library library;
    Provider provider;
    View view;
    std::vector<Device> devices;
    Memory memory;
    Limits limits;
    Settings settings;
    std::optional<Program> program;
    std::optional<Peer> peer;
    Transfer transfer;  // with the peer, else on the own device

    // The device a program takes: the first of ours.
    [[nodiscard]] const Device* ours() const {
        for (const Device& device : devices) {
            if (device.vrdma) {
                return &device;
            }
        }
        return nullptr;
    }
};

}  // namespace vrdma::doctor
