// The FUSE protocol, as much of it as opening a file needs (linux/fuse.h). The server is a process
// of its own that holds the only descriptor of the connection, so that killing it ends every wait.
#include "tests/hostile/silent_file_system.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace vrdma::hostile {
namespace {

constexpr uint64_t kFile = 2;
constexpr uint64_t kFileBytes = 1 << 20;

fuse_attr attributes(uint64_t node) {
    fuse_attr attr{};
    attr.ino = node;
    attr.mode = node == kFile ? S_IFREG | 0666 : S_IFDIR | 0777;
    attr.size = node == kFile ? kFileBytes : 0;
    attr.nlink = 1;
    attr.blksize = 4096;
    return attr;
}

template <class T>
void reply(int connection, uint64_t unique, const T& body) {
    struct {
        fuse_out_header header;
        T body;
    } message{{static_cast<uint32_t>(sizeof(fuse_out_header) + sizeof body), 0, unique}, body};
    // The structs of the protocol have no padding between header and body.
    static_assert(sizeof message == sizeof(fuse_out_header) + sizeof(T));
    [[maybe_unused]] const ssize_t sent = write(connection, &message, sizeof message);
}

void refuse(int connection, uint64_t unique) {
    const fuse_out_header header{sizeof header, -ENOSYS, unique};
    [[maybe_unused]] const ssize_t sent = write(connection, &header, sizeof header);
}

[[noreturn]] void serve(int connection) {
    alignas(8) static std::array<char, 1 << 20> buffer;
    for (;;) {
        const ssize_t size = read(connection, buffer.data(), buffer.size());
        if (size < 0 && (errno == EINTR || errno == ENOENT)) {
            continue;
        }
        if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) {
            _exit(0);
        }
        fuse_in_header in{};
        std::memcpy(&in, buffer.data(), sizeof in);
        switch (in.opcode) {
            case FUSE_INIT: {
                fuse_init_out out{};
                out.major = FUSE_KERNEL_VERSION;
                out.minor = FUSE_KERNEL_MINOR_VERSION;
                out.max_write = 65536;
                reply(connection, in.unique, out);
                break;
            }
            case FUSE_LOOKUP: {
                fuse_entry_out out{};
                out.nodeid = kFile;
                out.entry_valid = 3600;
                out.attr = attributes(kFile);  // not valid for a moment: every look asks again
                reply(connection, in.unique, out);
                break;
            }
            case FUSE_GETATTR:
                if (in.nodeid != kFile) {
                    fuse_attr_out out{};
                    out.attr = attributes(in.nodeid);
                    out.attr_valid = 3600;
                    reply(connection, in.unique, out);
                }
                break;
            case FUSE_OPEN: {
                fuse_open_out out{};
                out.fh = 1;
                reply(connection, in.unique, out);
                break;
            }
            case FUSE_FLUSH:
            case FUSE_READ:
            case FUSE_WRITE:
            case FUSE_STATFS:
            case FUSE_RELEASE:
            case FUSE_FORGET:
            case FUSE_BATCH_FORGET:
            case FUSE_INTERRUPT:
                break;  // never
            default:
                refuse(connection, in.unique);
                break;
        }
    }
}

}  // namespace

bool SilentFileSystem::mount() {
    std::string place = "/tmp/hostile-fuse-XXXXXX";
    if (mkdtemp(place.data()) == nullptr) {
        return false;
    }
    const driver::UniqueFd connection(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options = "fd=" + std::to_string(connection.get()) +
                                ",rootmode=40777,user_id=0,group_id=0,allow_other";
    if (!connection.valid() ||
        ::mount("hostile", place.c_str(), "fuse.hostile", 0, options.c_str()) != 0) {
        rmdir(place.c_str());
        return false;
    }
    place_ = place;
    server_ = fork();
    if (server_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(connection.get());
    }
    return server_ > 0;
}

driver::UniqueFd SilentFileSystem::open() {
    return driver::UniqueFd(::open((place_ + "/mem").c_str(), O_RDWR | O_CLOEXEC));
}

SilentFileSystem::~SilentFileSystem() {
    if (server_ > 0) {
        kill(server_, SIGKILL);
        waitpid(server_, nullptr, 0);
    }
    kept_.clear();
    if (!place_.empty()) {
        umount2(place_.c_str(), MNT_DETACH);
        rmdir(place_.c_str());
    }
}

}  // namespace vrdma::hostile
