// The machine-wide view: a device tree of its own, laid over /sys/class and /dev/infiniband.
//
// State on the machine: the mounts and perhaps the directory /dev/infiniband; the tree in the
// view's directory; and the state file, which is locked (flock, so that the lock dies with the
// process) and lists, one line each, the steps taken. A step is written down before it is taken. So
// whoever gets the lock and finds steps in the file knows them to be a dead service's and undoes
// them first.
//
// The view refuses a machine where the kernel's RDMA core is loaded: libibverbs asks the core over
// netlink and would not look at our directories, while programs that read /sys would lose sight of
// the real devices.
#include "dataplane/platform/system_view.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string_view>
#include <system_error>

namespace vrdma::platform {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kStateFileMode = 0644;
constexpr std::string_view kMountWord = "mount ";
constexpr std::string_view kDirectoryWord = "directory ";
constexpr const char* kUseVrdmaRun =
    "set system_view = false and run programs with vrdma-run --vnic NAME";

std::string line_of(const ViewStep& step) {
    switch (step.kind) {
        case ViewStep::Kind::mount:
            return std::string(kMountWord) + step.path.string() + '\n';
        case ViewStep::Kind::directory:
            return std::string(kDirectoryWord) + step.path.string() + '\n';
    }
    __builtin_unreachable();
}

// The steps a state file lists. A last line cut short by a crash names a step that was not taken.
std::vector<ViewStep> steps_in(const fs::path& state_file) {
    std::vector<ViewStep> steps;
    std::ifstream file(state_file);
    for (std::string line; std::getline(file, line) && !file.eof();) {
        if (line.starts_with(kMountWord)) {
            steps.push_back({ViewStep::Kind::mount, line.substr(kMountWord.size())});
        } else if (line.starts_with(kDirectoryWord)) {
            steps.push_back({ViewStep::Kind::directory, line.substr(kDirectoryWord.size())});
        }
    }
    return steps;
}

Visibility<void> check_machine(const SystemViewPlaces& places) {
    std::error_code error;
    for (const char* name : {"infiniband", "infiniband_verbs"}) {
        const fs::path directory = places.sys_class / name;
        if (!fs::exists(directory, error)) {
            continue;
        }
        const bool empty = fs::is_empty(directory, error);
        return tl::unexpected(
            VisibilityError{.problem = "this machine has " + directory.string() +
                                       (empty ? " of its own" : " with RDMA devices of its own") +
                                       ", which the system view would hide",
                            .remedy = kUseVrdmaRun});
    }
    if (kernel_has_rdma_core()) {
        return tl::unexpected(VisibilityError{
            .problem = "the kernel's RDMA core (ib_core) is loaded, so libibverbs does not look at "
                       "the system view",
            .remedy = kUseVrdmaRun});
    }
    return {};
}

}  // namespace

Visibility<std::unique_ptr<SystemView>> SystemView::open(const SystemViewPlaces& places) {
    if (!may_mount()) {
        return tl::unexpected(VisibilityError{
            .problem = "the system view needs CAP_SYS_ADMIN, which this process does not have",
            .remedy = std::string("run vrdmad as root, or ") + kUseVrdmaRun});
    }
    std::unique_ptr<SystemView> view(new SystemView(places));
    for (const auto step :
         {&SystemView::take_lock, &SystemView::clean_up_after_a_dead_service, &SystemView::show}) {
        if (auto done = (view.get()->*step)(); !done) {
            return tl::unexpected(done.error());
        }
    }
    return view;
}

SystemView::~SystemView() {
    if (state_fd_ >= 0) {
        const auto closed = close();
        static_cast<void>(closed);
    }
}

Visibility<void> SystemView::take_lock() {
    const fs::path& path = places_.state_file;
    for (;;) {
        const int fd =
            ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kStateFileMode);
        if (fd < 0) {
            return tl::unexpected(system_error("cannot open " + path.string(), errno,
                                               "check the permissions of its directory"));
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            ::close(fd);
            return tl::unexpected(VisibilityError{
                .problem = "another vrdma service shows its vNICs on this machine (it holds " +
                           path.string() + ")",
                .remedy = "stop it, or set system_view = false in one of the two"});
        }
        // The file may have been removed by its last holder between our open and our lock.
        struct stat locked {};
        struct stat named {};
        if (fstat(fd, &locked) == 0 && stat(path.c_str(), &named) == 0 &&
            locked.st_ino == named.st_ino && locked.st_dev == named.st_dev) {
            state_fd_ = fd;
            return {};
        }
        ::close(fd);
    }
}

Visibility<void> SystemView::clean_up_after_a_dead_service() {
    if (auto undone = undo_steps(steps_in(places_.state_file)); !undone) {
        return undone;
    }
    if (ftruncate(state_fd_, 0) != 0) {
        return tl::unexpected(system_error("cannot clear " + places_.state_file.string(), errno,
                                           "check the space of its file system"));
    }
    return {};
}

Visibility<void> SystemView::show() {
    if (auto checked = check_machine(places_); !checked) {
        return checked;
    }
    std::error_code error;
    fs::create_directories(places_.directory, error);
    if (error) {
        return tl::unexpected(system_error("cannot create " + places_.directory.string(),
                                           error.value(), "check the permissions of its parent"));
    }
    // World-readable whatever the umask: every program of the machine looks through it.
    fs::permissions(places_.directory, static_cast<fs::perms>(0755), error);
    if (auto removed = remove_tree(places_.directory); !removed) {
        return removed;
    }
    if (auto created = create_tree(places_.directory); !created) {
        return created;
    }
    const ViewPlaces places{
        .root = places_.directory, .sys_class = places_.sys_class, .dev = places_.dev};
    const RecordStep write_down = [this](const ViewStep& step) { return record(step); };
    if (auto shown = show_nodes(places, write_down); !shown) {
        return shown;
    }
    return show_class(places, write_down);
}

Visibility<void> SystemView::record(const ViewStep& step) {
    const std::string line = line_of(step);
    if (lseek(state_fd_, 0, SEEK_END) < 0 ||
        write(state_fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        return tl::unexpected(system_error("cannot write " + places_.state_file.string(), errno,
                                           "check the space of its file system"));
    }
    steps_.push_back(step);
    return {};
}

Visibility<unsigned> SystemView::add(const DeviceDescription& device) {
    unsigned number = 0;
    if (const auto known = numbers_.find(device.vnic); known != numbers_.end()) {
        number = known->second;
    } else {
        const auto taken = [&](unsigned candidate) {
            return std::ranges::any_of(
                numbers_, [&](const auto& entry) { return entry.second == candidate; });
        };
        while (taken(number)) {
            ++number;
        }
    }
    if (number >= kMaxSystemDevices) {
        return tl::unexpected(VisibilityError{
            .problem =
                "the system view already shows " + std::to_string(kMaxSystemDevices) + " vNICs",
            .remedy = "remove one, or run programs with vrdma-run --vnic " + device.vnic});
    }
    if (auto written = write_device(places_.directory, number, device); !written) {
        return tl::unexpected(written.error());
    }
    numbers_[device.vnic] = number;
    return number;
}

Visibility<void> SystemView::remove(const std::string& vnic) {
    const auto known = numbers_.find(vnic);
    if (known == numbers_.end()) {
        return {};
    }
    if (auto removed = remove_device(places_.directory, known->second); !removed) {
        return removed;
    }
    numbers_.erase(known);
    return {};
}

Visibility<void> SystemView::close() {
    Visibility<void> undone = undo_steps(steps_);
    steps_.clear();
    Visibility<void> removed = remove_tree(places_.directory);
    if (undone) {
        unlink(places_.state_file.c_str());
    }
    ::close(state_fd_);  // and with it the lock
    state_fd_ = -1;
    return undone ? removed : undone;
}

}  // namespace vrdma::platform
