// Which paths lead into a vNIC's tree, and where.
//
// Runs inside every program that vrdma-run starts in preload mode, before and during main, in any
// thread: no allocation, no locks, no C++ library.
#pragma once

#include <climits>
#include <cstddef>

namespace vrdma::preload {

// The environment variable with the directory of the vNIC: the root of its device tree.
inline constexpr char kTreeVariable[] = "VRDMA_TREE";

struct PathBuffer {
    char text[PATH_MAX];
};

class Redirection {
  public:
    constexpr Redirection() = default;

    // tree: as in the environment (nullptr or not absolute: nothing is redirected); real_tree: the
    // same without symbolic links. Both are copied.
    void set(const char* tree, const char* real_tree);

    // path itself, or what stands for it in the tree, built in buffer. Covered are
    // /sys/class/infiniband, /sys/class/infiniband_verbs and /dev/infiniband and what lies below. A
    // result that does not fit is the empty path, which no call accepts.
    [[nodiscard]] const char* into_tree(const char* path, PathBuffer& buffer) const;

    // For a resolved path (realpath) inside the tree: rewrites it to the name a program expects,
    // below /sys or /dev. Never longer than it was. Others stay.
    void out_of_tree(char* path) const;

  private:
    char tree_[PATH_MAX] = "";
    char real_tree_[PATH_MAX] = "";
    std::size_t tree_length_ = 0;  // 0: nothing is redirected
    std::size_t real_tree_length_ = 0;
};

}  // namespace vrdma::preload
