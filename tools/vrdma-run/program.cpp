// Looks at a program before it is started, to refuse or warn where the reason for a device not
// being seen would otherwise be hard to find: the dynamic loader drops LD_PRELOAD, and libibverbs
// its environment variables, for a program that gains privileges; and a static program has no
// loader; and what we would load needs the GNU C library, so a program for musl cannot have it.
//
// A file is read as far as needed: an ELF program with a PT_INTERP header is dynamic, and the
// loader it names tells which C library it is for; "#!" leads to an interpreter, which is looked at
// in turn (scripts of scripts are bounded as in the kernel).
#include "tools/vrdma-run/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>
#include <system_error>

namespace vrdma::run {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxInterpreters = 4;

// "/lib/ld-musl-x86_64.so.1"
bool is_loader_of_musl(int fd, const Elf64_Phdr& segment) {
    std::array<char, 256> name{};
    const std::size_t length = std::min<std::size_t>(name.size(), segment.p_filesz);
    const ssize_t got = pread(fd, name.data(), length, static_cast<off_t>(segment.p_offset));
    return got > 0 &&
           std::string_view(name.data(), static_cast<std::size_t>(got)).find("/ld-musl-") !=
               std::string_view::npos;
}

Linkage linkage_of_elf(int fd, const Elf64_Ehdr& header) {
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr)) {
        return Linkage::unknown;
    }
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr segment{};
        const auto offset = static_cast<off_t>(header.e_phoff + i * sizeof segment);
        if (pread(fd, &segment, sizeof segment, offset) != sizeof segment) {
            return Linkage::unknown;
        }
        if (segment.p_type == PT_INTERP) {
            return is_loader_of_musl(fd, segment) ? Linkage::musl : Linkage::dynamic;
        }
    }
    return Linkage::static_;
}

// "#!/usr/bin/python3 -u" -> "/usr/bin/python3"
std::string interpreter_in(std::string_view start) {
    const std::string_view line = start.substr(2, start.find('\n') - 2);
    std::istringstream words{std::string(line)};
    std::string first;
    words >> first;
    return first;
}

Linkage linkage_of(const fs::path& path, int depth) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return Linkage::unknown;
    }
    std::array<char, 512> start{};
    const ssize_t got = pread(fd, start.data(), start.size(), 0);
    const std::string_view text(start.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
    Linkage linkage = Linkage::unknown;
    if (text.size() >= sizeof(Elf64_Ehdr) && text.starts_with(std::string_view(ELFMAG, SELFMAG))) {
        Elf64_Ehdr header{};
        std::memcpy(&header, text.data(), sizeof header);
        linkage = linkage_of_elf(fd, header);
    } else if (text.starts_with("#!") && depth < kMaxInterpreters) {
        linkage = linkage_of(interpreter_in(text), depth + 1);
    }
    close(fd);
    return linkage;
}

bool gains_privileges(const fs::path& path, const struct stat& status) {
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) {
        return true;
    }
    if ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 &&
        status.st_gid != getegid()) {
        return true;
    }
    return geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

Outcome<Program> look_at(const fs::path& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
        return refuse("cannot run " + path.string() + ": " +
                          std::generic_category().message(errno) + "; check the name",
                      errno == ENOENT || errno == ENOTDIR ? kExitNotFound : kExitNotExecutable);
    }
    if (!S_ISREG(status.st_mode) || access(path.c_str(), X_OK) != 0) {
        return refuse("cannot run " + path.string() +
                          ": it is not an executable file; check the name and its mode",
                      kExitNotExecutable);
    }
    return Program{.path = path,
                   .linkage = linkage_of(path, 0),
                   .gains_privileges = gains_privileges(path, status)};
}

}  // namespace

Outcome<Program> find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) {
        return look_at(name);
    }
    const char* search = std::getenv("PATH");
    std::istringstream directories(search == nullptr ? "/bin:/usr/bin" : search);
    RunError last{
        .sentence = "cannot find program '" + name + "' in PATH; check the name or give its path",
        .exit_status = kExitNotFound};
    for (std::string directory; !name.empty() && std::getline(directories, directory, ':');) {
        auto found = look_at(fs::path(directory.empty() ? "." : directory) / name);
        if (found) {
            return found;
        }
        if (found.error().exit_status == kExitNotExecutable) {
            last = found.error();
        }
    }
    return tl::unexpected(last);
}

}  // namespace vrdma::run
