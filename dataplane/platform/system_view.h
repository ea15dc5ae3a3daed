// All vNICs of a service, visible to every program of the machine without any environment variable.
//
// For a service that may mount, on a machine without the kernel's RDMA core. The devices appear as
// vrdma0, vrdma1, ... in /sys/class/infiniband{,_verbs} and /dev/infiniband, and come and go while
// the view is open. There is one view on a machine: the state file holds a lock and a list of what
// was added, by which the next service cleans up after one that died.
//
// Threading: one thread. Errors: a sentence and a remedy; a failed open leaves nothing behind.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/platform/class_view.h"
#include "dataplane/platform/device_tree.h"
#include "dataplane/platform/visibility_error.h"

namespace vrdma::platform {

// Devices shown at one time; libibverbs and the tools walk all of them.
inline constexpr unsigned kMaxSystemDevices = 4096;

struct SystemViewPlaces {
    std::filesystem::path directory;  // the view's own, below the runtime directory; it is created
    std::filesystem::path sys_class = "/sys/class";
    std::filesystem::path dev = "/dev";
    std::filesystem::path state_file = "/run/vrdma-system-view";
};

class SystemView {
  public:
    // Refuses, with the reason and what to do instead: without CAP_SYS_ADMIN; when the kernel has
    // RDMA devices or their class directories of its own; while another service shows its vNICs.
    [[nodiscard]] static Visibility<std::unique_ptr<SystemView>> open(
        const SystemViewPlaces& places);

    SystemView(const SystemView&) = delete;
    SystemView& operator=(const SystemView&) = delete;
    ~SystemView();  // close(), errors unheard

    // Shows a vNIC under the lowest free number, which it keeps until removed. device.vnic is the
    // key; adding it again replaces its description.
    [[nodiscard]] Visibility<unsigned> add(const DeviceDescription& device);
    // One that is not shown is no error.
    [[nodiscard]] Visibility<void> remove(const std::string& vnic);

    // Takes everything away again. Nothing may be called after it.
    [[nodiscard]] Visibility<void> close();

  private:
    explicit SystemView(const SystemViewPlaces& places) : places_(places) {}

    [[nodiscard]] Visibility<void> take_lock();
    [[nodiscard]] Visibility<void> clean_up_after_a_dead_service();
    [[nodiscard]] Visibility<void> show();
    [[nodiscard]] Visibility<void> record(const ViewStep& step);

    SystemViewPlaces places_;
    int state_fd_ = -1;  // locked while the view is open
    std::vector<ViewStep> steps_;
    std::map<std::string, unsigned> numbers_;  // vNIC name -> device number
};

}  // namespace vrdma::platform
