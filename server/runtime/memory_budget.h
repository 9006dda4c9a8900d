// SPDX-License-Identifier: Apache-2.0
//
// The memory that sessions, or contributions under way, may use together. A session is charged when
// it is created, and refused if it would not fit, so that no layout brings the server down.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/runtime/mutex.h"
#include "server/runtime/notice.h"

namespace talweg::server {

// Thread-safe; outlives its reservations.
class MemoryBudget {
 public:
  // Bytes that were reserved. It gives them back when it is destroyed. Movable.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { *this = std::move(other); }
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();
    uint64_t bytes() const { return bytes_; }
    // Makes the reservation hold `bytes`: reserves what is missing, or gives back what is too much.
    // Fails as Reserve does, and then holds as many bytes as before; giving back cannot fail. A
    // reservation that belongs to no budget accepts any number.
    absl::Status Resize(uint64_t bytes);
    // The budget that the bytes came from; null if they belong to no budget.
    MemoryBudget* budget() const { return budget_; }

   private:
    friend class MemoryBudget;
    Reservation(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    MemoryBudget* budget_ = nullptr;
    uint64_t bytes_ = 0;
  };

  static constexpr size_t kMaxWaiting = 4096;

  explicit MemoryBudget(uint64_t limit_bytes, size_t max_waiting = kMaxWaiting)
      : limit_(limit_bytes), max_waiting_(max_waiting) {}

  // Fails with MEMORY_QUOTA, and the text tells how much was asked for, used and allowed.
  absl::StatusOr<Reservation> Reserve(uint64_t bytes);
  // What Reserve would say now, without reserving anything.
  absl::Status Check(uint64_t bytes) const;

  // Reserves as soon as there is room. Callers are served in the order in which they came, but
  // Reserve does not wait behind them. `granted` runs once, at once or on the thread that gives
  // memory back, under no lock. Returns the caller's place in the line, for Forget. Fails with
  // MEMORY_QUOTA if there can never be room, or if max_waiting callers wait already.
  using Granted = absl::AnyInvocable<void(Reservation)>;
  absl::StatusOr<uint64_t> ReserveLater(uint64_t bytes, Granted granted);
  // Gives up a place in the line. Returns false if that place was served already, is being served
  // just now, or never existed.
  bool Forget(uint64_t place);
  bool AnyoneWaits() const;

  // Pulsed whenever a caller begins to wait, on the thread of that caller and under no lock, so
  // that code that holds memory without need may give it back.
  Notice& wanted() { return wanted_; }

  uint64_t used() const;
  uint64_t limit() const { return limit_; }

 private:
  struct Waiter {
    uint64_t bytes = 0;
    Granted granted;
  };

  absl::Status Use(uint64_t bytes);
  void Release(uint64_t bytes);
  void Serve();
  absl::Status Short(uint64_t bytes, uint64_t used) const;

  mutable Mutex mutex_;
  const uint64_t limit_;
  const size_t max_waiting_;
  uint64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t last_place_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Waiter> line_ ABSL_GUARDED_BY(mutex_);  // by place
  Notice wanted_;
};

// Three fifths of the memory that this process may use: of the limit of the root cgroup, as a
// container sees it, if there is a limit, or else of the machine's memory.
uint64_t DefaultMemoryBytes();

}  // namespace talweg::server
