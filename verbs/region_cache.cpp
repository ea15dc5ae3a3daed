// A region costs the device a mapping, so memory that is registered again is not handed over again:
// an adopted piece is known by its number, a file by its device and inode, and all memory that is
// reached through /proc/self/mem is one region over the whole address space (an MR's ranges bound
// what may be touched; the region only says how).
//
// A region is as large as the first registration needed, rounded outward to pages of the file; one
// that reaches beyond it gets a region of its own. Regions of different extents over the same file
// do no harm: they show the same bytes.
#include "verbs/region_cache.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>

namespace vrdma::verbs {
namespace {

using tenant_memory::Range;
using tenant_memory::Reach;

constexpr std::uint64_t kAddressSpaceBytes = std::uint64_t{1} << 47U;  // user space on x86-64

// What memory a range is in: two ranges with equal keys show the same bytes at equal offsets.
struct Key {
    Reach reach = Reach::Process;
    std::uint64_t file_device = 0;
    std::uint64_t file_number = 0;  // inode, or the piece of the adoption file

    bool operator==(const Key&) const = default;
};

struct File {
    Key key;
    std::uint64_t page_bytes = VRDMA_PAGE_BYTES;
};

tl::expected<File, driver::CommandError> identify(const Range& memory) {
    File file;
    file.key.reach = memory.reach;
    if (memory.reach == Reach::Process) {
        return file;
    }
    if (memory.reach == Reach::Adopted) {
        file.key.file_number = memory.piece_id;
        return file;
    }
    struct stat status {};
    struct statfs system {};
    if (::fstat(memory.fd, &status) != 0 || ::fstatfs(memory.fd, &system) != 0) {
        return tl::unexpected(driver::command_error(errno, "the memory's file cannot be examined"));
    }
    file.key.file_device = status.st_dev;
    file.key.file_number = status.st_ino;
    if (system.f_type == HUGETLBFS_MAGIC) {
        file.page_bytes = static_cast<std::uint64_t>(system.f_bsize);
    }
    return file;
}

}  // namespace

struct RegionCache::Region {
    Key key;
    std::uint64_t begin;  // in the file
    std::uint64_t end;
    bool writable;
    std::uint32_t handle;
    std::uint32_t uses;
};

RegionCache::RegionCache(driver::Channel& channel) : channel_(channel) {}
RegionCache::~RegionCache() = default;

tl::expected<RegionCache::Use, driver::CommandError> RegionCache::acquire(const Range& memory) {
    const auto file = identify(memory);
    if (!file) {
        return tl::unexpected(file.error());
    }
    const std::uint64_t begin = memory.fd_offset;
    const std::uint64_t end = begin + memory.length;
    const auto use = [&](Region& region) {
        ++region.uses;
        return Use{.region = &region,
                   .range = {.region = region.handle,
                             .reserved = 0,
                             .offset = begin - region.begin,
                             .length = memory.length}};
    };
    const std::lock_guard lock(mutex_);
    for (const auto& region : regions_) {
        if (region->key == file->key && region->begin <= begin && end <= region->end &&
            (region->writable || !memory.writable)) {
            return use(*region);
        }
    }
    auto region = std::make_unique<Region>();
    region->key = file->key;
    region->begin = begin / file->page_bytes * file->page_bytes;
    region->end = (end + file->page_bytes - 1) / file->page_bytes * file->page_bytes;
    region->writable = memory.writable;
    region->uses = 0;
    vrdma_cmd_add_region body{};
    body.kind = VRDMA_REGION_MAPPED;
    if (memory.reach == Reach::Process) {
        body.kind = VRDMA_REGION_PROCESS;
        if (end <= kAddressSpaceBytes) {
            region->begin = 0;
            region->end = kAddressSpaceBytes;
        }
    }
    body.flags = (memory.writable ? std::uint32_t{VRDMA_REGION_WRITABLE} : 0U) |
                 (memory.reach == Reach::Adopted ? std::uint32_t{VRDMA_REGION_ADOPTED} : 0U);
    body.offset = region->begin;
    body.length = region->end - region->begin;
    const auto added = driver::query_command<vrdma_handle>(channel_, VRDMA_CMD_ADD_REGION, body, {},
                                                           std::span(&memory.fd, 1));
    if (!added) {
        return tl::unexpected(added.error());
    }
    region->handle = added->handle;
    regions_.push_back(std::move(region));
    return use(*regions_.back());
}

void RegionCache::release(Region* region) {
    const std::lock_guard lock(mutex_);
    if (--region->uses != 0) {
        return;
    }
    const vrdma_handle handle{.handle = region->handle, .reserved = 0};
    // Only a device that is gone refuses: no MR of ours is left in the region.
    [[maybe_unused]] const auto removed =
        driver::run_command(channel_, VRDMA_CMD_REMOVE_REGION, handle);
    std::erase_if(regions_, [region](const auto& other) { return other.get() == region; });
}

}  // namespace vrdma::verbs
