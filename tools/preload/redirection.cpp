// Text only: nothing here looks at the file system. Prefixes are compared by whole components, so
// /sys/class/infiniband_mad, which belongs to the kernel's own devices, is left alone. Paths that
// reach these directories by a detour ("..", doubled slashes, a relative path) are not recognised;
// libibverbs and the programs that read /sys/class/infiniband spell them plainly.
#include "tools/preload/redirection.h"

#include <cstring>

namespace vrdma::preload {
namespace {

constexpr const char* kCovered[] = {"/sys/class/infiniband", "/sys/class/infiniband_verbs",
                                    "/dev/infiniband"};

// prefix is path, or one of the directories above it.
bool is_at_or_below(const char* path, const char* prefix, std::size_t length) {
    return std::strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

std::size_t copy(char* to, const char* from) {
    const std::size_t length = std::strlen(from);
    if (length >= PATH_MAX) {
        return 0;
    }
    std::memcpy(to, from, length + 1);
    return length;
}

}  // namespace

void Redirection::set(const char* tree, const char* real_tree) {
    tree_length_ = tree == nullptr || tree[0] != '/' ? 0 : copy(tree_, tree);
    real_tree_length_ = real_tree == nullptr ? 0 : copy(real_tree_, real_tree);
}

const char* Redirection::into_tree(const char* path, PathBuffer& buffer) const {
    if (tree_length_ == 0 || path == nullptr || path[0] != '/') {
        return path;
    }
    for (const char* covered : kCovered) {
        if (!is_at_or_below(path, covered, std::strlen(covered))) {
            continue;
        }
        const std::size_t length = std::strlen(path);
        if (length >= sizeof buffer.text - tree_length_) {
            return "";
        }
        std::memcpy(buffer.text, tree_, tree_length_);
        std::memcpy(buffer.text + tree_length_, path, length + 1);
        return buffer.text;
    }
    return path;
}

void Redirection::out_of_tree(char* path) const {
    if (real_tree_length_ == 0 || !is_at_or_below(path, real_tree_, real_tree_length_)) {
        return;
    }
    const char* inner = path + real_tree_length_;
    if (is_at_or_below(inner, "/sys", 4) || is_at_or_below(inner, "/dev", 4)) {
        std::memmove(path, inner, std::strlen(inner) + 1);
    }
}

}  // namespace vrdma::preload
