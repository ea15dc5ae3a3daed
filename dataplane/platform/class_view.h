// Lays a device tree (device_tree.h) over /sys/class and /dev/infiniband of a mount namespace.
//
// Used by the service for the whole machine and by vrdma-run for one program. Needs CAP_SYS_ADMIN
// in the user namespace that owns the mount namespace.
//
// Threading: one caller for each mount namespace at a time; nothing is kept in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "dataplane/platform/visibility_error.h"

namespace vrdma::platform {

// Something that was added to the machine and can be taken away again.
struct ViewStep {
    enum class Kind : std::uint8_t { mount, directory };
    Kind kind;
    std::filesystem::path path;
    friend bool operator==(const ViewStep&, const ViewStep&) = default;
};

// Called before a step is taken, so that it can be undone after a crash; a failure stops the view.
using RecordStep = std::function<Visibility<void>(const ViewStep&)>;

struct ViewPlaces {
    std::filesystem::path root;  // of the tree; create_tree has made it
    std::filesystem::path sys_class = "/sys/class";
    std::filesystem::path dev = "/dev";
};

// Makes the tree's class directories appear at sys_class/infiniband and sys_class/infiniband_verbs.
// Where those exist they are covered; where not, sys_class gets an overlay that has them.
[[nodiscard]] Visibility<void> show_class(const ViewPlaces& places, const RecordStep& record);

// Makes the tree's nodes appear at dev/infiniband, which is created when it does not exist.
[[nodiscard]] Visibility<void> show_nodes(const ViewPlaces& places, const RecordStep& record);

// Takes the steps back, last first. A mount that is gone, or under one of somebody else, is not
// touched; the latter is an error, reported after everything else was undone.
[[nodiscard]] Visibility<void> undo_steps(const std::vector<ViewStep>& steps);

// The kernel's RDMA core answers (ib_core): libibverbs then asks it and never looks at /sys/class.
[[nodiscard]] bool kernel_has_rdma_core();

// This process may mount: it has CAP_SYS_ADMIN.
[[nodiscard]] bool may_mount();

}  // namespace vrdma::platform
