// SPDX-License-Identifier: Apache-2.0
//
// New damped inverses of the factors of every layer, under way: a value that is handed to whoever
// has threads, and comes back when all tasks are over. A task inverts one factor, piece by piece,
// so that it can be put aside between any two pieces; tasks do not depend on each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/curvature/factor_inverse.h"

namespace talweg::core {

// Thread-compatible, except that different tasks may advance at the same time.
class InverseRefresh {
 public:
  // One factor of a layer: 0 is A, of the inputs, and 1 is S, of the outputs.
  struct Task {
    size_t layer;
    size_t factor;
    double cost;  // operations, about
    FactorInverse inverse;
  };

  // `factors_version` is the version whose statistics are the last in the factors.
  explicit InverseRefresh(uint64_t factors_version) : factors_version_(factors_version) {}

  void Add(size_t layer, size_t factor, size_t side, std::vector<float> packed, double damping) {
    const double n = static_cast<double>(side);
    tasks_.push_back({layer, factor, n * n * n, FactorInverse(side, std::move(packed), damping)});
  }

  uint64_t factors_version() const { return factors_version_; }
  size_t num_tasks() const { return tasks_.size(); }
  double CostOf(size_t task) const { return tasks_[task].cost; }
  // Runs the next piece of a task. Returns whether the task has another one. One thread at a time.
  bool Advance(size_t task) { return tasks_[task].inverse.Advance(); }
  // Everything, on the calling thread.
  void RunHere() {
    for (Task& task : tasks_) {
      while (task.inverse.Advance()) {
      }
    }
  }

  // Once every task is over.
  std::vector<Task>& tasks() { return tasks_; }

 private:
  uint64_t factors_version_;
  std::vector<Task> tasks_;
};

}  // namespace talweg::core
