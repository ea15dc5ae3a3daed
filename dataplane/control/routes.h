#pragma once

#include "dataplane/control/api.h"
#include "dataplane/control/service_model.h"

namespace vrdma::control {

/// The control API: what each path and method does to a ServiceModel. docs/operations.md is its
/// reference. The model must outlive every response.
class Routes {
  public:
    explicit Routes(ServiceModel& model) : model_(model) {}

    /// Answers every request exactly once. Never throws.
    void handle(const ApiRequest& request, Respond respond) const;

  private:
    ServiceModel& model_;
};

/// Objects a list holds when the request sets no limit, and the most it may set.
constexpr std::uint32_t kDefaultListLimit = 1000;
constexpr std::uint32_t kMaxListLimit = 65536;

}  // namespace vrdma::control
