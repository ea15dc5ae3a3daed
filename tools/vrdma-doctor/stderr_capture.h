// What libraries write to standard error meanwhile.
#pragma once

#include <string>

#include "tools/verbs_util/unique_fd.h"

namespace vrdma::doctor {

// From its construction to its end, standard error goes into memory. One at a time.
class StderrCapture {
  public:
    StderrCapture();
    ~StderrCapture();
    StderrCapture(const StderrCapture&) = delete;
    StderrCapture& operator=(const StderrCapture&) = delete;

    // What was written since the last call.
    [[nodiscard]] std::string take();

  private:
    verbs_util::UniqueFd before_;
    verbs_util::UniqueFd memory_;
    off_t taken_ = 0;
};

}  // namespace vrdma::doctor
