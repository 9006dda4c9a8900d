// SPDX-License-Identifier: Apache-2.0
//
// Parameter vectors that come back when their last reader lets go, so that a session writes its
// versions into the same two buffers in turn and takes a third only while a slow reader holds one.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "core/session/session.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. What it gave out may outlive it.
class ParameterPool {
 public:
  explicit ParameterPool(size_t num_elements);

  // A vector that nobody else holds; its contents are what they were. MEMORY_QUOTA where the
  // system has no memory for it.
  absl::StatusOr<std::shared_ptr<core::Parameters>> Take();

 private:
  struct Shelf {
    Mutex mutex;
    std::vector<std::unique_ptr<core::Parameters>> free ABSL_GUARDED_BY(mutex);
  };
  // Kept for the next step; more than one spare is given back to the system.
  static constexpr size_t kMaxSpare = 1;

  const size_t num_elements_;
  const std::shared_ptr<Shelf> shelf_;
};

}  // namespace talweg::server
