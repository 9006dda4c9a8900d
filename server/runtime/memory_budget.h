// SPDX-License-Identifier: Apache-2.0
//
// Memory that sessions may take together. A session is charged when it is created and refused when
// it would not fit, so that no layout brings the server down.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe; outlives its reservations.
class MemoryBudget {
 public:
  // Gives its bytes back when it goes. Movable.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { *this = std::move(other); }
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();
    uint64_t bytes() const { return bytes_; }
    // Takes what is missing to `bytes`, or gives back what is over. Fails as Reserve does, and then
    // holds what it held; giving back cannot fail. One that came from nowhere takes any number.
    absl::Status Resize(uint64_t bytes);
    // Where they came from; null for none.
    MemoryBudget* budget() const { return budget_; }

   private:
    friend class MemoryBudget;
    Reservation(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    MemoryBudget* budget_ = nullptr;
    uint64_t bytes_ = 0;
  };

  explicit MemoryBudget(uint64_t limit_bytes) : limit_(limit_bytes) {}

  // Fails with MEMORY_QUOTA, telling what was asked, used and allowed.
  absl::StatusOr<Reservation> Reserve(uint64_t bytes);
  // What Reserve would say now, without taking anything.
  absl::Status Check(uint64_t bytes) const;

  uint64_t used() const;
  uint64_t limit() const { return limit_; }

 private:
  // With MEMORY_QUOTA where `bytes` more than `used` are too many.
  absl::Status Fits(uint64_t bytes, uint64_t used) const;
  absl::Status Take(uint64_t bytes);
  void Release(uint64_t bytes);

  mutable Mutex mutex_;
  const uint64_t limit_;
  uint64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Four fifths of the memory this process may use: the limit of the root cgroup, as a container sees
// it, where there is one, else the machine's.
uint64_t DefaultMemoryBytes();

}  // namespace talweg::server
