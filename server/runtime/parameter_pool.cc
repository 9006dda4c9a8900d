// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/parameter_pool.h"

#include <new>
#include <utility>

#include "core/base/reasons.h"

namespace talweg::server {

ParameterPool::ParameterPool(size_t num_elements)
    : num_elements_(num_elements), shelf_(std::make_shared<Shelf>()) {}

absl::StatusOr<std::shared_ptr<core::Parameters>> ParameterPool::Take() {
  std::unique_ptr<core::Parameters> vector;
  {
    MutexLock lock(shelf_->mutex);
    if (!shelf_->free.empty()) {
      vector = std::move(shelf_->free.back());
      shelf_->free.pop_back();
    }
  }
  if (vector == nullptr) {
    try {
      vector = std::make_unique<core::Parameters>(num_elements_);
    } catch (const std::bad_alloc&) {
      return core::MakeError(core::Reason::kMemoryQuota,
                             "the system has no memory for another version of the parameters");
    }
  }
  // The shelf outlives the pool in the hands of whoever still reads.
  return std::shared_ptr<core::Parameters>(vector.release(),
                                           [shelf = shelf_](core::Parameters* returned) {
                                             std::unique_ptr<core::Parameters> owned(returned);
                                             MutexLock lock(shelf->mutex);
                                             if (shelf->free.size() < kMaxSpare)
                                               shelf->free.push_back(std::move(owned));
                                           });
}

}  // namespace talweg::server
