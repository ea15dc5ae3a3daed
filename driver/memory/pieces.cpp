// Adopts private memory in steps of 64 MiB and gives it back in steps of 64 MiB: that bounds both
// how long threads of the program wait for a page and how much memory exists twice. All steps of a
// piece have consecutive offsets, so their mappings merge into one.
//
// A piece is found again by offsets, never by addresses. The program may have unmapped, moved,
// split, or grown its memory meanwhile, and something else may live at the old address; so giving
// back looks through /proc/self/maps for mappings of our inode within the piece's offsets, and
// touches nothing else. What comes back takes the place of the parked private mapping that was
// there before (see exchange.cpp), or of fresh memory where the program grew or duplicated it.
//
// When other threads cannot be held off at the time (a program that was single-threaded at the
// registration and is not any more, without userfaultfd), the piece stays adopted and lingers
// until a later attempt: memory stays right, only fork and MADV_DONTNEED keep their other meaning.
#include "driver/memory/pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace vrdma::tenant_memory {
namespace {

constexpr uint64_t kStepBytes = 64ull << 20;
constexpr uint32_t kSpareMappings = 256;  // left of vm.max_map_count for the program
constexpr uint32_t kRefusedFlags = kVmaLocked | kVmaGrowsDown | kVmaPfn | kVmaIo | kVmaMixed |
                                   kVmaWipeOnFork | kVmaHugetlb | kVmaShadowStack;

uint64_t number_in_file(const char* path, const char* key) {
    FILE* file = fopen(path, "re");
    if (file == nullptr) {
        return 0;
    }
    char line[256];
    unsigned long long value = 0;
    while (fgets(line, sizeof(line), file) != nullptr) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = strtoull(line + strlen(key), nullptr, 10);
            break;
        }
    }
    fclose(file);
    return value;
}

std::string flags_text(uint32_t flags) {
    if ((flags & kVmaLocked) != 0) {
        return "locked memory (mlock), which the program wants where it is";
    }
    if ((flags & kVmaWipeOnFork) != 0) {
        return "MADV_WIPEONFORK memory";
    }
    if ((flags & kVmaGrowsDown) != 0) {
        return "a stack (MAP_GROWSDOWN)";
    }
    return "memory of a device or of a special kind";
}

std::string text_of(const ExchangeResult& result) {
    const std::string why = result.error != 0 ? std::string(": ") + strerror(result.error) : "";
    switch (result.stage) {
        case ExchangeStage::Done:
            return "";
        case ExchangeStage::Withhold:
            return "userfaultfd refused the range" + why +
                   (result.error == EBUSY ? " (the program uses userfaultfd on it itself)" : "");
        case ExchangeStage::Move:
            return "the mapping could not be moved aside" + why;
        case ExchangeStage::Identity:
            return "the mapping changed while it was being registered";
        case ExchangeStage::Flags:
            return flags_text(result.flags);
        case ExchangeStage::Copy:
            return "copying to the adoption file failed" + why;
        case ExchangeStage::Map:
            return "mapping the adoption file failed" + why;
        case ExchangeStage::Stranded:
            return "stranded" + why;
    }
    return "";
}

// The program's memory is where it cannot find it. Going on would be silent corruption.
void stop_if_stranded(const ExchangeResult& result, uint64_t address) {
    if (result.stage != ExchangeStage::Stranded) {
        return;
    }
    dprintf(STDERR_FILENO,
            "vrdma: memory at 0x%llx could not be put back after a failed registration (%s); the "
            "process cannot go on. Raise vm.max_map_count or the address space limit.\n",
            static_cast<unsigned long long>(address), strerror(result.error));
    abort();
}

tl::unexpected<std::string> refused(const char* why) {
    return tl::unexpected<std::string>(why);
}

// Empty address space costs nothing, so a step reaches as far as there are few enough pages.
uint64_t step_end(const AdoptRequest& request, uint64_t at, uint64_t end) {
    const uint64_t plain = std::min(end, (at / kStepBytes + 1) * kStepBytes);
    if (!request.scan || plain == end) {
        return plain;
    }
    const uint64_t reached =
        find_populated_end(request.pagemap_fd, at, end, kStepBytes / request.page_bytes);
    return std::max(plain, reached == end ? end : reached / kStepBytes * kStepBytes);
}

void drop(uint64_t address, uint64_t length) {
    munmap(reinterpret_cast<void*>(address), length);
}

}  // namespace

tl::expected<const Piece*, std::string> Pieces::adopt(const AddressSpace& space,
                                                      const Segment& segment,
                                                      const Withholding& withholding,
                                                      const Policy& policy) {
    const uint64_t length = segment.end - segment.start;
    const uint64_t most = number_in_file("/proc/sys/vm/max_map_count", "");
    if (most != 0 && space.count + kSpareMappings > most) {
        return refused("the process is about to run out of mappings; raise vm.max_map_count");
    }
    if (number_in_file("/proc/thread-self/status", "VmPin:") != 0) {
        return refused(
            "memory of this process is pinned for another device (VmPin in /proc/self/status), "
            "which would keep the old pages");
    }
    if (const auto made = file_.open(); !made) {
        return tl::unexpected(made.error().text);
    }
    const auto extent = file_.reserve(segment.start, length);
    if (!extent) {
        return tl::unexpected(extent.error().text);
    }
    Piece piece;
    piece.id = next_id_++;
    piece.offset = extent->offset;
    piece.reserved = extent->reserved;
    piece.references = 1;
    piece.parked = reserve_addresses(space.lowest, length, segment.start);
    if (piece.parked == 0) {
        return refused("no address space is left to park the private mapping");
    }
    const ExchangeResult result = adopt_steps(segment, withholding, policy, piece);
    if (result.stage != ExchangeStage::Done && piece.length == 0) {
        drop(piece.parked, length);
        return tl::unexpected(text_of(result));
    }
    if (piece.length < length) {
        drop(piece.parked + piece.length, length - piece.length);
    }
    const Piece& kept = pieces_.emplace(piece.offset, piece).first->second;
    if (result.stage != ExchangeStage::Done) {
        unreference(piece.offset);
        collect(withholding);
        return tl::unexpected(text_of(result));
    }
    return &kept;
}

ExchangeResult Pieces::adopt_steps(const Segment& segment, const Withholding& withholding,
                                   const Policy& policy, Piece& piece) {
    AdoptRequest request;
    request.userfault_fd = withholding.userfault_fd;
    request.file_fd = file_.fd();
    request.pagemap_fd = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    request.scan = policy.pagemap_scan;
    request.write = segment.vma.write;
    request.page_bytes = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
    request.refuse_flags = kRefusedFlags;
    if (request.pagemap_fd < 0) {
        return ExchangeResult{ExchangeStage::Copy, errno, 0};
    }
    if (segment.vma.write) {
        // One page there gives the whole mapping its anon_vma before it is split, without which
        // the parts would not merge again. Best effort: nothing but a mapping more is at stake.
        madvise(reinterpret_cast<void*>(segment.start), request.page_bytes, MADV_POPULATE_WRITE);
    }
    ExchangeResult result;
    for (uint64_t at = segment.start; at < segment.end;) {
        const uint64_t next = step_end(request, at, segment.end);
        request.address = at;
        request.length = next - at;
        request.parked = piece.parked + (at - segment.start);
        request.file_offset = piece.offset + (at - segment.start);
        result = adopt_step(request);
        stop_if_stranded(result, at);
        if (result.stage != ExchangeStage::Done) {
            file_.punch(request.file_offset, request.length);
            break;
        }
        // Nobody may use it meanwhile; and changing the protection merges it with the step before.
        mprotect(reinterpret_cast<void*>(request.parked), request.length, PROT_NONE);
        piece.length += request.length;
        at = next;
    }
    close(request.pagemap_fd);
    return result;
}

Piece* Pieces::find(uint64_t offset) {
    auto after = pieces_.upper_bound(offset);
    if (after == pieces_.begin()) {
        return nullptr;
    }
    Piece& piece = (--after)->second;
    return offset - piece.offset < piece.reserved ? &piece : nullptr;
}

void Pieces::unreference(uint64_t offset) {
    Piece* piece = find(offset);
    if (piece != nullptr && piece->references > 0 && --piece->references == 0) {
        unreferenced_++;
    }
}

void Pieces::collect(const Withholding& withholding) {
    for (auto at = pieces_.begin(); at != pieces_.end() && unreferenced_ != 0;) {
        const Piece& piece = at->second;
        if (piece.references != 0 || !give_back(piece, withholding)) {
            ++at;
            continue;
        }
        drop(piece.parked, piece.length);
        file_.punch(piece.offset, piece.reserved);
        unreferenced_--;
        at = pieces_.erase(at);
    }
}

// True when no mapping of the piece is left.
bool Pieces::give_back(const Piece& piece, const Withholding& withholding) {
    if (!withholding.possible || file_.fd() < 0) {
        return false;
    }
    VmaReader reader(VmaReader::Source::Maps);
    Vma vma;
    uint64_t lowest = 0;
    std::vector<Vma> mapped;
    while (reader.next(vma)) {
        lowest = lowest == 0 ? vma.start : lowest;
        if (vma.shared && maps_file(vma, identity()) &&
            vma.offset < piece.offset + piece.reserved &&
            piece.offset < vma.offset + (vma.end - vma.start)) {
            mapped.push_back(vma);
        }
    }
    if (lowest == 0) {
        return false;
    }
    std::sort(mapped.begin(), mapped.end(),
              [](const Vma& a, const Vma& b) { return a.offset < b.offset; });
    bool all = true;
    uint64_t restored_to = piece.offset;
    for (const Vma& one : mapped) {
        all = give_back_mapping(piece, one, restored_to, lowest, withholding) && all;
    }
    return all;
}

// restored_to: offsets below it have taken their parked memory already.
bool Pieces::give_back_mapping(const Piece& piece, const Vma& vma, uint64_t& restored_to,
                               uint64_t lowest, const Withholding& withholding) {
    const uint64_t begin = std::max(vma.offset, piece.offset);
    const uint64_t end =
        std::min(vma.offset + (vma.end - vma.start), piece.offset + piece.reserved);
    const uint64_t parked_end = piece.offset + piece.length;
    RestoreRequest request;
    request.userfault_fd = withholding.userfault_fd;
    request.file_fd = file_.fd();
    request.device_major = file_.device_major();
    request.device_minor = file_.device_minor();
    request.inode = file_.inode();
    for (uint64_t at = begin; at < end;) {
        uint64_t next = std::min(end, (at / kStepBytes + 1) * kStepBytes);
        const off_t data = lseek(request.file_fd, static_cast<off_t>(at), SEEK_DATA);
        if (data < 0) {
            next = end;
        } else if (static_cast<uint64_t>(data) > next) {
            next = std::min(end,
                            std::max(next, static_cast<uint64_t>(data) / kStepBytes * kStepBytes));
        }
        if (at < restored_to) {
            next = std::min(next, restored_to);
        } else if (at < parked_end) {
            next = std::min(next, parked_end);
        }
        const bool has_parked = at >= restored_to && next <= parked_end;
        request.address = vma.start + (at - vma.offset);
        request.length = next - at;
        request.file_offset = at;
        const uint64_t aside = request.length * (has_parked ? 1 : 2);
        const uint64_t reserved = reserve_addresses(lowest, aside, request.address);
        if (reserved == 0) {
            return false;
        }
        request.view = reserved;
        request.parked =
            has_parked ? piece.parked + (at - piece.offset) : reserved + request.length;
        const ExchangeResult result = restore_step(request);
        stop_if_stranded(result, request.address);
        drop(reserved, aside);
        if (result.stage != ExchangeStage::Done && result.stage != ExchangeStage::Identity &&
            result.error != EFAULT) {
            return false;
        }
        restored_to = std::max(restored_to, next);
        at = next;
    }
    return true;
}

void Pieces::forget() {
    pieces_.clear();
    unreferenced_ = 0;
}

}  // namespace vrdma::tenant_memory
