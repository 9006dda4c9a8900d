// SPDX-License-Identifier: Apache-2.0
//
// Parameter vectors that come back when their last reader releases them. So a session writes its
// versions into the same two vectors in turn, and needs another vector only for each version that a
// slow reader still holds. The first two vectors are part of what a session was charged when it was
// created. The others are charged to the server's budget while they live, and refused if the budget
// is spent.
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

// Thread-safe. The vectors that the pool gave out may outlive it.
class ParameterPool {
 public:
  // `budget` outlives every vector that the pool gives out; null: nothing is charged.
  explicit ParameterPool(size_t num_elements, MemoryBudget* budget = nullptr);

  // Gives out a vector that nobody else holds; its contents are those of its last use. Fails with
  // MEMORY_QUOTA if the budget or the system has no memory for it.
  absl::StatusOr<std::shared_ptr<core::Parameters>> Take();

  // Gives out a vector that was made elsewhere, of num_elements, as if Take had made it. Must be
  // the first call: the vector is one of those that the session was charged for.
  std::shared_ptr<core::Parameters> Adopt(std::unique_ptr<core::Parameters> vector);

 private:
  struct Shelf {
    void Return(core::Parameters* returned);

    Mutex mutex;
    std::vector<std::unique_ptr<core::Parameters>> free ABSL_GUARDED_BY(mutex);
    size_t alive ABSL_GUARDED_BY(mutex) = 0;  // vectors that exist, free or given out
    // One for each living vector beyond kIncluded.
    std::vector<MemoryBudget::Reservation> charges ABSL_GUARDED_BY(mutex);
  };

  absl::StatusOr<std::unique_ptr<core::Parameters>> Make(bool charged);
  std::shared_ptr<core::Parameters> Share(std::unique_ptr<core::Parameters> vector);

  // Free vectors that are kept for the next step; any others are given back to the system.
  static constexpr size_t kMaxSpare = 1;

  static constexpr size_t kIncluded = 2;  // vectors that SessionConfig::MemoryBytes counts

  const size_t num_elements_;
  MemoryBudget* const budget_;
  const std::shared_ptr<Shelf> shelf_;
};

}  // namespace talweg::server
