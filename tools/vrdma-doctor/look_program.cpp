// Looks at a program's file: whether it can see the device at all, decided by its loader. Of a
// script the interpreter is what counts, and of an interpreter that is a script, the next one. The
// file is a stranger's: every offset in it is checked by the read that uses it, every count has a
// bound.
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <sstream>
#include <string_view>

#include "tools/verbs_util/unique_fd.h"
#include "tools/vrdma-doctor/look.h"
#include "tools/vrdma-run/program.h"

namespace vrdma::doctor {
namespace {

constexpr int kMaxInterpreters = 4;
constexpr std::uint64_t kMaxEntries = 4096;  // of a dynamic section
constexpr std::size_t kLongestName = 4096;

class File {
  public:
    explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

    [[nodiscard]] bool read(void* to, std::size_t bytes, std::uint64_t offset) const {
        return pread(fd_.get(), to, bytes, static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(bytes);
    }
    // Up to a NUL, a line's end or the bound.
    [[nodiscard]] std::string text(std::uint64_t offset, std::size_t bound, char end) const {
        std::string text(bound, '\0');
        const ssize_t got = pread(fd_.get(), text.data(), bound, static_cast<off_t>(offset));
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text.substr(0, text.find(end));
    }

  private:
    verbs_util::UniqueFd fd_;
};

std::uint16_t machine_of_this_program() {
    Elf64_Ehdr header{};
    (void)File("/proc/self/exe").read(&header, sizeof header, 0);
    return header.e_machine;
}

struct Segments {
    std::string interpreter;
    Elf64_Phdr dynamic{};
    std::array<Elf64_Phdr, 32> loads{};
    std::size_t load_count = 0;

    // Where in the file an address is; 0: nowhere.
    [[nodiscard]] std::uint64_t offset_of(std::uint64_t address) const {
        for (std::size_t i = 0; i < load_count; ++i) {
            const Elf64_Phdr& load = loads[i];
            if (address >= load.p_vaddr && address - load.p_vaddr < load.p_filesz) {
                return load.p_offset + (address - load.p_vaddr);
            }
        }
        return 0;
    }
};

Segments segments_of(const File& file, const Elf64_Ehdr& header) {
    Segments found;
    for (unsigned i = 0; i < header.e_phnum && header.e_phentsize == sizeof(Elf64_Phdr); ++i) {
        Elf64_Phdr segment{};
        if (!file.read(&segment, sizeof segment, header.e_phoff + i * sizeof segment)) {
            break;
        }
        if (segment.p_type == PT_INTERP) {
            found.interpreter = file.text(segment.p_offset, kLongestName, '\0');
        } else if (segment.p_type == PT_DYNAMIC) {
            found.dynamic = segment;
        } else if (segment.p_type == PT_LOAD && found.load_count < found.loads.size()) {
            found.loads[found.load_count++] = segment;
        }
    }
    return found;
}

bool links_libibverbs(const File& file, const Segments& segments) {
    std::uint64_t strings = 0;
    std::array<std::uint64_t, kMaxEntries> needed{};
    std::size_t count = 0;
    const std::uint64_t entries = segments.dynamic.p_filesz / sizeof(Elf64_Dyn);
    for (std::uint64_t i = 0; i < entries && i < kMaxEntries; ++i) {
        Elf64_Dyn entry{};
        if (!file.read(&entry, sizeof entry, segments.dynamic.p_offset + i * sizeof entry) ||
            entry.d_tag == DT_NULL) {
            break;
        }
        if (entry.d_tag == DT_STRTAB) {
            strings = segments.offset_of(entry.d_un.d_ptr);
        } else if (entry.d_tag == DT_NEEDED) {
            needed[count++] = entry.d_un.d_val;
        }
    }
    for (std::size_t i = 0; i < count && strings != 0; ++i) {
        if (file.text(strings + needed[i], kLongestName, '\0').starts_with("libibverbs.so")) {
            return true;
        }
    }
    return false;
}

void look_at_elf(const File& file, const Elf64_Ehdr& header, Program& program) {
    program.elf = true;
    program.foreign =
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine_of_this_program();
    if (!program.foreign) {
        const Segments segments = segments_of(file, header);
        program.interpreter = segments.interpreter;
        program.links_libibverbs = links_libibverbs(file, segments);
    }
}

void look_at_file(const std::string& path, int depth, Program& program) {
    const File file(path);
    Elf64_Ehdr header{};
    if (file.read(&header, sizeof header, 0) && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0) {
        look_at_elf(file, header, program);
        return;
    }
    const std::string line = file.text(0, kLongestName, '\n');
    if (line.starts_with("#!") && depth < kMaxInterpreters) {
        std::istringstream words(line.substr(2));
        std::string interpreter;
        words >> interpreter;
        look_at_file(interpreter, depth + 1, program);
    }
}

}  // namespace

Program look_at_program(const std::string& name) {
    Program program;
    const auto found = run::find_program(name);
    if (!found) {
        program.path = name;
        program.problem = found.error().sentence;
        return program;
    }
    program.path = found->path;
    program.gains_privileges = found->gains_privileges;
    program.readable = access(program.path.c_str(), R_OK) == 0;
    look_at_file(program.path, 0, program);
    return program;
}

}  // namespace vrdma::doctor
