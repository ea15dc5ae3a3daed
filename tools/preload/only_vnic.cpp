// An image names libvrdma-preload.so in /etc/ld.so.preload, and whoever starts the container mounts
// one vNIC's directory into it (docs/containers.md). No variable reaches every program there: ssh,
// sudo and job schedulers start them with an environment of their own. So the mounted directory
// itself says which vNIC it is, as long as it is the only one. With several, as on a host, the
// program keeps seeing what it saw; VRDMA_TREE chooses.
//
// Runs once, in a constructor: reading a directory allocates, which the hooks do not.
#include "tools/preload/only_vnic.h"

#include <dirent.h>

#include <cstdio>

namespace vrdma::preload {

bool find_only_vnic(const char* directory, PathBuffer& found) {
    DIR* entries = opendir(directory);
    if (entries == nullptr) {
        return false;
    }
    int count = 0;
    bool fits = false;
    while (const dirent* entry = readdir(entries)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        ++count;
        const int length = std::snprintf(found.text, sizeof found.text, "%s/%s", directory,
                                         static_cast<const char*>(entry->d_name));
        fits = length > 0 && static_cast<std::size_t>(length) < sizeof found.text;
    }
    closedir(entries);
    return count == 1 && fits;
}

}  // namespace vrdma::preload
