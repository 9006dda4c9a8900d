// SPDX-License-Identifier: Apache-2.0
//
// Parameter vectors that come back when their last reader lets go, so that a session writes its
// versions into the same two buffers in turn and takes another only for each version that a slow
// reader still holds. The first two are part of what a session was charged at create; the others
// are charged to the server's budget while they live, and refused where it is spent.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/session/session.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. What it gave out may outlive it.
class ParameterPool {
 public:
  // `budget` outlives whatever this gives out; null: nothing is charged.
  explicit ParameterPool(size_t num_elements, MemoryBudget* budget = nullptr);

  // A vector that nobody else holds; its contents are what they were. MEMORY_QUOTA where the
  // budget or the system has no memory for it.
  absl::StatusOr<std::shared_ptr<core::Parameters>> Take();

 private:
  struct Shelf {
    void Return(core::Parameters* returned);

    Mutex mutex;
    std::vector<std::unique_ptr<core::Parameters>> free ABSL_GUARDED_BY(mutex);
    size_t alive ABSL_GUARDED_BY(mutex) = 0;  // vectors that exist, free or given out
    // For each of them beyond the included ones.
    std::vector<MemoryBudget::Reservation> charges ABSL_GUARDED_BY(mutex);
  };

  absl::StatusOr<std::unique_ptr<core::Parameters>> Make(bool charged);

  // Kept for the next step; more than one spare is given back to the system.
  static constexpr size_t kMaxSpare = 1;

  static constexpr size_t kIncluded = 2;  // in what SessionConfig::MemoryBytes counts

  const size_t num_elements_;
  MemoryBudget* const budget_;
  const std::shared_ptr<Shelf> shelf_;
};

}  // namespace talweg::server
