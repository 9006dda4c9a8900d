// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/parameter_pool.h"

#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {

ParameterPool::ParameterPool(size_t num_elements, MemoryBudget* budget)
    : num_elements_(num_elements), budget_(budget), shelf_(std::make_shared<Shelf>()) {}

absl::StatusOr<std::shared_ptr<core::Parameters>> ParameterPool::Take() {
  std::unique_ptr<core::Parameters> vector;
  bool charged = false;
  {
    MutexLock lock(shelf_->mutex);
    if (!shelf_->free.empty()) {
      vector = std::move(shelf_->free.back());
      shelf_->free.pop_back();
    } else {
      charged = budget_ != nullptr && shelf_->alive >= kIncluded;
      ++shelf_->alive;
    }
  }
  if (vector == nullptr) {
    absl::StatusOr<std::unique_ptr<core::Parameters>> made = Make(charged);
    if (!made.ok()) {
      MutexLock lock(shelf_->mutex);
      --shelf_->alive;
      return made.status();
    }
    vector = *std::move(made);
  }
  return Share(std::move(vector));
}

std::shared_ptr<core::Parameters> ParameterPool::Adopt(std::unique_ptr<core::Parameters> vector) {
  TALWEG_CHECK(vector->values.size() == num_elements_);
  {
    MutexLock lock(shelf_->mutex);
    TALWEG_CHECK(shelf_->alive == 0);
    ++shelf_->alive;
  }
  return Share(std::move(vector));
}

std::shared_ptr<core::Parameters> ParameterPool::Share(std::unique_ptr<core::Parameters> vector) {
  // Readers that still hold a vector keep the shelf alive when the pool is gone.
  return std::shared_ptr<core::Parameters>(
      vector.release(), [shelf = shelf_](core::Parameters* returned) { shelf->Return(returned); });
}

absl::StatusOr<std::unique_ptr<core::Parameters>> ParameterPool::Make(bool charged) {
  MemoryBudget::Reservation charge;
  if (charged) {
    TALWEG_ASSIGN_OR_RETURN(charge, budget_->Reserve(num_elements_ * sizeof(float)));
  }
  std::unique_ptr<core::Parameters> vector;
  try {
    vector = std::make_unique<core::Parameters>(num_elements_);
  } catch (const std::bad_alloc&) {
    return core::MakeError(core::Reason::kMemoryQuota,
                           "the system has no memory for another version of the parameters");
  }
  if (charged) {
    MutexLock lock(shelf_->mutex);
    shelf_->charges.push_back(std::move(charge));
  }
  return vector;
}

void ParameterPool::Shelf::Return(core::Parameters* returned) {
  // Both go after the lock: a budget has a lock of its own.
  std::unique_ptr<core::Parameters> owned(returned);
  MemoryBudget::Reservation charge;
  MutexLock lock(mutex);
  if (free.size() < kMaxSpare) {
    free.push_back(std::move(owned));
    return;
  }
  --alive;
  if (charges.empty()) return;
  charge = std::move(charges.back());
  charges.pop_back();
}

}  // namespace talweg::server
