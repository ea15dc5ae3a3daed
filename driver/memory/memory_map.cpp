// Keeps the pins of this process and what they hold: pieces of adopted memory (pieces.cpp),
// descriptors of shared files, and /proc/self/mem. It decides what a program gets when a plan
// cannot be carried out: memory that cannot be adopted is reached through the process, and the
// range says why.
//
// Whole pages are adopted although a pin may begin and end inside one. That is safe because
// adoption does not change what the process sees: neighbours on the page (a malloc header, another
// object) keep their contents and their address, and come back with them. It would show only in
// a fork; fork.cpp sees to that.
//
// One lock guards everything. Fork takes it first, so a child never sees a half-made change; what
// a child inherited is cleared at its first call.
#include "driver/memory/memory_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "driver/memory/memory_map_state.h"
#include "driver/memory/shared_file.h"

namespace vrdma::tenant_memory {

const char* name_of(Reach reach) {
    switch (reach) {
        case Reach::Shared:
            return "shared";
        case Reach::Adopted:
            return "adopted";
        case Reach::Process:
            return "process";
    }
    return "";
}

Policy Policy::from_environment() {
    Policy policy;
    const char* value = secure_getenv("VRDMA_MEMORY");
    if (value == nullptr || strcmp(value, "auto") == 0) {
        return policy;
    }
    if (strcmp(value, "process") == 0) {
        policy.process_only = true;
        return policy;
    }
    policy.complaint = std::string("VRDMA_MEMORY=") + value + ": expected auto or process";
    return policy;
}

std::unique_lock<std::mutex> MemoryMapState::lock() {
    std::unique_lock<std::mutex> held(mutex_);
    if (forked_) {
        pins_.clear();
        files_.clear();
        pieces_.forget();
        own_threads_ = 0;
        forked_ = false;
    }
    return held;
}

tl::expected<Pin, Error> MemoryMapState::pin(uint64_t address, uint64_t length, bool need_write) {
    const auto held = lock();
    if (!policy_.complaint.empty()) {
        return tl::unexpected(Error{EINVAL, policy_.complaint});
    }
    const uint64_t page = page_bytes();
    if (length == 0 || length > UINT64_MAX - address || address + length > UINT64_MAX - page) {
        return tl::unexpected(Error{EINVAL, "an empty range or one past the end of addresses"});
    }
    Draft draft;
    draft.start = address;
    draft.end = address + length;
    const uint64_t first = address / page * page;
    const uint64_t last = (draft.end + page - 1) / page * page;
    auto space = read_address_space(first, last);
    if (!space) {
        return tl::unexpected(space.error());
    }
    auto segments = plan_segments(*space, first, last, need_write, pieces_.identity());
    if (!segments) {
        return tl::unexpected(segments.error());
    }
    if (segments->size() > kMaxRangesPerPin) {
        Segment whole = segments->front();
        for (const Segment& segment : *segments) {
            whole.vma.write = whole.vma.write && segment.vma.write;
        }
        whole.end = last;
        whole.treatment = Treatment::Process;
        whole.reason = "more than 256 mappings";
        segments->assign(1, whole);
    }
    for (const Segment& segment : *segments) {
        if (auto done = realize(*space, segment, draft); !done) {
            let_go(draft.record);
            return tl::unexpected(done.error());
        }
    }
    note_inner_pages(draft);
    draft.pin.id = PinId{next_pin_++};
    pins_.emplace(static_cast<uint64_t>(draft.pin.id), std::move(draft.record));
    return std::move(draft.pin);
}

tl::expected<void, Error> MemoryMapState::realize(const AddressSpace& space, const Segment& segment,
                                                  Draft& draft) {
    if (policy_.process_only) {
        return add_process(segment, "VRDMA_MEMORY=process", draft);
    }
    switch (segment.treatment) {
        case Treatment::Keep: {
            const uint64_t offset = segment.vma.offset + (segment.start - segment.vma.start);
            Piece* piece = pieces_.find(offset);
            if (piece == nullptr || file_.fd() < 0) {
                return add_process(segment, "adopted earlier, but its piece is gone", draft);
            }
            if (piece->references++ == 0) {
                pieces_.wanted_again();
            }
            draft.record.pieces.push_back(piece->offset);
            Range range;
            range.reach = Reach::Adopted;
            range.fd = file_.fd();
            range.fd_offset = offset;
            range.piece_id = piece->id;
            range.reason = segment.reason;
            add(segment, range, draft);
            return {};
        }
        case Treatment::Adopt: {
            const Withholding how = withholding();
            auto piece = how.possible ? pieces_.adopt(space, segment, how, policy_)
                                      : tl::expected<const Piece*, std::string>(
                                            tl::unexpect, "not adopted: " + how.text);
            if (how.userfault_fd >= 0) {
                close(how.userfault_fd);
            }
            if (!piece) {
                return add_process(segment, piece.error(), draft);
            }
            draft.record.pieces.push_back((*piece)->offset);
            Range range;
            range.reach = Reach::Adopted;
            range.fd = file_.fd();
            range.fd_offset = (*piece)->offset;
            range.piece_id = (*piece)->id;
            range.reason = "private memory adopted, " + how.text;
            add(segment, range, draft);
            return {};
        }
        case Treatment::Share: {
            std::string reason;
            if (share(segment, draft, reason)) {
                return {};
            }
            return add_process(segment, reason, draft);
        }
        case Treatment::Process:
            return add_process(segment, segment.reason, draft);
    }
    return {};
}

// The descriptor of a shared file is found once and kept as long as a pin uses it.
bool MemoryMapState::share(const Segment& segment, Draft& draft, std::string& reason) {
    const Vma& vma = segment.vma;
    const FileKey key{vma.device_major, vma.device_minor, vma.inode, vma.write};
    auto known = files_.find(key);
    if (known == files_.end()) {
        SharedFile found = find_shared_file(vma, vma.write, policy_.reopen);
        if (found.fd >= 0 && vma.write && !found.writable) {
            close(found.fd);
            found.fd = -1;
            found.text = "shared writable mapping, but its file can only be opened for reading";
        }
        if (found.fd < 0) {
            reason = found.text;
            return false;
        }
        HeldFile file;
        file.fd = found.fd;
        file.where = "shared mapping, file found by " + found.text;
        known = files_.emplace(key, file).first;
    }
    known->second.references++;
    draft.record.files.push_back(key);
    Range range;
    range.reach = Reach::Shared;
    range.fd = known->second.fd;
    range.fd_offset = vma.offset + (segment.start - vma.start);
    range.reason = known->second.where;
    add(segment, range, draft);
    return true;
}

tl::expected<void, Error> MemoryMapState::add_process(const Segment& segment,
                                                      const std::string& reason, Draft& draft) {
    const auto fd = process_memory();
    if (!fd) {
        return tl::unexpected(Error{fd.error().code, reason + "; " + fd.error().text});
    }
    Range range;
    range.reach = Reach::Process;
    range.fd = *fd;
    range.fd_offset = segment.start;
    range.reason = reason;
    add(segment, range, draft);
    return {};
}

// fd_offset of `range` is that of the segment's start; the pin may begin and end inside.
void MemoryMapState::add(const Segment& segment, Range range, Draft& draft) {
    const uint64_t start = std::max(segment.start, draft.start);
    range.address = start;
    range.length = std::min(segment.end, draft.end) - start;
    range.fd_offset += start - segment.start;
    range.writable = segment.vma.write;
    if (!draft.pin.ranges.empty()) {
        Range& before = draft.pin.ranges.back();
        if (before.reach == range.reach && before.fd == range.fd &&
            before.piece_id == range.piece_id && before.writable == range.writable &&
            before.fd_offset + before.length == range.fd_offset) {
            before.length += range.length;
            return;
        }
    }
    draft.pin.ranges.push_back(std::move(range));
}

tl::expected<int, Error> MemoryMapState::process_memory() {
    struct stat now {};
    if (process_fd_ >= 0 && fstat(process_fd_, &now) == 0 && now.st_ino == process_inode_) {
        return process_fd_;
    }
    const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &now) != 0) {
        return tl::unexpected(
            Error{errno, std::string("/proc/self/mem cannot be opened: ") + strerror(errno)});
    }
    process_fd_ = fd;
    process_inode_ = now.st_ino;
    return fd;
}

void MemoryMapState::note_inner_pages(Draft& draft) const {
    const uint64_t page = page_bytes();
    for (const Range& range : draft.pin.ranges) {
        const Interval inner{(range.fd_offset + page - 1) / page * page,
                             (range.fd_offset + range.length) / page * page};
        if (range.reach == Reach::Adopted && inner.start < inner.end) {
            draft.record.inner.push_back(inner);
        }
    }
}

void MemoryMapState::let_go(const Record& record) {
    for (const uint64_t offset : record.pieces) {
        pieces_.unreference(offset);
    }
    for (const FileKey& key : record.files) {
        const auto file = files_.find(key);
        if (--file->second.references == 0) {
            close(file->second.fd);
            files_.erase(file);
        }
    }
    collect();
}

void MemoryMapState::collect() {
    if (!pieces_.anything_to_collect()) {
        return;
    }
    const Withholding how = withholding();
    pieces_.collect(how);
    if (how.userfault_fd >= 0) {
        close(how.userfault_fd);
    }
}

void MemoryMapState::unpin(PinId id) {
    const auto held = lock();
    const auto found = pins_.find(static_cast<uint64_t>(id));
    if (found == pins_.end()) {
        return;
    }
    const Record record = std::move(found->second);
    pins_.erase(found);
    let_go(record);
}

MemoryMap::Census MemoryMapState::census() {
    const auto held = lock();
    MemoryMap::Census census;
    census.pins = static_cast<uint32_t>(pins_.size());
    census.pieces = static_cast<uint32_t>(pieces_.all().size());
    census.lingering = pieces_.unreferenced();
    census.file_bytes = file_.bytes_in_use();
    return census;
}

std::string MemoryMapState::adoption_text() {
    const auto held = lock();
    if (policy_.process_only) {
        return "nothing is adopted: VRDMA_MEMORY=process";
    }
    const Withholding how = withholding();
    if (how.userfault_fd >= 0) {
        close(how.userfault_fd);
    }
    return (how.possible ? "private memory is adopted: " : "private memory is not adopted: ") +
           how.text;
}

void MemoryMapState::count_own_thread(int32_t change) {
    const auto held = lock();
    own_threads_ = static_cast<uint32_t>(static_cast<int32_t>(own_threads_) + change);
}

void MemoryMapState::set_device(int fd) {
    const auto held = lock();
    if (const int ours = device(); ours >= 0) {
        close(ours);
    }
    device_fd_ = fd;
    struct stat now {};
    device_inode_ = fd >= 0 && fstat(fd, &now) == 0 ? now.st_ino : 0;
    device_of_inode_ = now.st_dev;
}

int MemoryMapState::device() const {
    struct stat now {};
    const bool ours = device_fd_ >= 0 && fstat(device_fd_, &now) == 0 &&
                      now.st_ino == device_inode_ && now.st_dev == device_of_inode_;
    return ours ? device_fd_ : -1;
}

void MemoryMapState::set_policy(const Policy& policy) {
    const auto held = lock();
    policy_ = policy;
}

namespace {

MemoryMapState* g_forking = nullptr;  // set once, before the handlers that read it

}  // namespace

MemoryMap::MemoryMap() : state_(new MemoryMapState) {
    g_forking = state_;
    // Fails for want of memory only, and then a child would share adopted memory: adopt nothing.
    if (pthread_atfork([] { g_forking->before_fork(); }, [] { g_forking->after_fork_in_parent(); },
                       [] { g_forking->after_fork_in_child(); }) != 0) {
        Policy policy;
        policy.process_only = true;
        state_->set_policy(policy);
    }
}

MemoryMap& MemoryMap::instance() {
    static MemoryMap* const map = new MemoryMap;
    return *map;
}

tl::expected<Pin, Error> MemoryMap::pin(uint64_t address, uint64_t length, bool need_write) {
    return state_->pin(address, length, need_write);
}

void MemoryMap::unpin(PinId id) {
    state_->unpin(id);
}

void MemoryMap::note_own_thread() {
    state_->count_own_thread(1);
}

void MemoryMap::forget_own_thread() {
    state_->count_own_thread(-1);
}

void MemoryMap::offer_userfault_device(int fd) {
    state_->set_device(fd);
}

void MemoryMap::set_policy(const Policy& policy) {
    state_->set_policy(policy);
}

MemoryMap::Census MemoryMap::census() const {
    return state_->census();
}

std::string MemoryMap::adoption_text() const {
    return state_->adoption_text();
}

}  // namespace vrdma::tenant_memory
