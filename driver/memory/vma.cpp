// Reads the text of /proc/thread-self/maps and smaps, one mapping at a time, in pieces of a
// kilobyte. It calls only the kernel and keeps everything in the object (on the caller's stack),
// because exchange.cpp uses it while pages of this process are withheld; it is compiled like that
// file. In smaps an entry ends with its VmFlags line and the reader stops right there: asking for
// more would make the kernel walk the page tables of the next mapping.
#include "driver/memory/vma.h"

#include <fcntl.h>

#include "driver/memory/raw_syscall.h"

namespace vrdma::tenant_memory {
namespace {

uint32_t flag_named(int first, int second) {
    struct Name {
        char first;
        char second;
        uint32_t flag;
    };
    static constexpr Name kNames[] = {
        {'l', 'o', kVmaLocked},     {'g', 'd', kVmaGrowsDown}, {'p', 'f', kVmaPfn},
        {'i', 'o', kVmaIo},         {'m', 'm', kVmaMixed},     {'d', 'c', kVmaDontFork},
        {'w', 'f', kVmaWipeOnFork}, {'d', 'd', kVmaDontDump},  {'h', 'g', kVmaHuge},
        {'n', 'h', kVmaNoHuge},     {'h', 't', kVmaHugetlb},   {'s', 's', kVmaShadowStack},
    };
    for (const Name& name : kNames) {
        if (name.first == first && name.second == second) {
            return name.flag;
        }
    }
    return 0;
}

}  // namespace

VmaReader::VmaReader(Source source) : source_(source) {
    const char* name =
        source == Source::Maps ? "/proc/thread-self/maps" : "/proc/thread-self/smaps";
    fd_ = static_cast<int>(
        raw_syscall(SYS_openat, fd_argument(AT_FDCWD), address_of(name), O_RDONLY | O_CLOEXEC));
}

VmaReader::~VmaReader() {
    if (fd_ >= 0) {
        raw_syscall(SYS_close, fd_argument(fd_));
    }
}

int VmaReader::error() const {
    return fd_ < 0 ? fd_ : 0;
}

bool VmaReader::next(Vma& vma) {
    if (fd_ < 0 || peek() < 0) {
        return false;
    }
    read_header(vma);
    vma.flags = 0;
    while (source_ == Source::Smaps && vma.flags == 0 && peek() >= 'A' && peek() <= 'Z') {
        read_attribute(vma);
    }
    return true;
}

int VmaReader::peek() {
    if (at_ == held_) {
        at_ = 0;
        const long got =
            raw_syscall(SYS_read, fd_argument(fd_), address_of(buffer_), sizeof(buffer_));
        held_ = got > 0 ? static_cast<uint32_t>(got) : 0;
        if (held_ == 0) {
            return -1;
        }
    }
    return static_cast<unsigned char>(buffer_[at_]);
}

int VmaReader::take() {
    const int c = peek();
    if (c >= 0) {
        at_++;
    }
    return c;
}

uint64_t VmaReader::number(uint64_t base) {
    uint64_t value = 0;
    for (int c = peek(); c >= 0; c = peek()) {
        uint64_t digit = 0;
        if (c >= '0' && c <= '9') {
            digit = static_cast<uint64_t>(c - '0');
        } else if (base == 16 && c >= 'a' && c <= 'f') {
            digit = static_cast<uint64_t>(c - 'a') + 10;
        } else {
            break;
        }
        value = value * base + digit;
        take();
    }
    return value;
}

void VmaReader::read_header(Vma& vma) {
    vma.start = number(16);
    take();
    vma.end = number(16);
    take();
    vma.read = take() == 'r';
    vma.write = take() == 'w';
    vma.execute = take() == 'x';
    vma.shared = take() == 's';
    take();
    vma.offset = number(16);
    take();
    vma.device_major = static_cast<uint32_t>(number(16));
    take();
    vma.device_minor = static_cast<uint32_t>(number(16));
    take();
    vma.inode = number(10);
    while (peek() == ' ') {
        take();
    }
    uint32_t length = 0;
    vma.path_cut = false;
    for (int c = take(); c >= 0 && c != '\n'; c = take()) {
        if (length + 1 < kVmaPathBytes) {
            vma.path[length++] = static_cast<char>(c);
        } else {
            vma.path_cut = true;
        }
    }
    vma.path[length] = 0;
}

void VmaReader::read_attribute(Vma& vma) {
    const bool flags = take() == 'V' && take() == 'm' && take() == 'F';
    int c = take();
    while (flags && c >= 0 && c != ':' && c != '\n') {
        c = take();
    }
    if (flags && c == ':') {
        vma.flags = kVmaFlagsKnown;
        c = take();
        while (c >= 0 && c != '\n') {
            if (c == ' ') {
                c = take();
                continue;
            }
            const int second = take();
            vma.flags |= flag_named(c, second);
            c = take();
        }
        return;
    }
    while (c >= 0 && c != '\n') {
        c = take();
    }
}

}  // namespace vrdma::tenant_memory
