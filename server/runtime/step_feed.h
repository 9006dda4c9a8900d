// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of a session's steps, for the watchers of the session. It is apart from the
// session's queue and memory: a watcher delays no step and keeps no deleted session alive.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "core/session/run_series.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. Copying records is all that is done under its lock.
class StepFeed {
 public:
  // A watcher that may wait for the next step. While it does not wait, exactly one thread runs it:
  // at first the thread that calls Await, then the thread that ends the wait, by Append, by Close,
  // or by a Forget that returns true.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // There may be something new. Called on the thread that brings it, so it must only post.
    virtual void Wake() = 0;

   protected:
    friend class StepFeed;
    // A thread that wants the watcher to look at its own state instead of waiting sets this, and
    // then calls Forget.
    std::atomic<bool> restless_{false};
  };

  // Keeps the step and wakes all waiters.
  void Append(const core::RunRecord& record);
  // There are no more steps and no records. Wakes all waiters, and no waiter waits from now on.
  void Close();
  bool closed() const;

  uint64_t newest_version() const;
  // The first `limit` records after `version`.
  std::vector<core::RunRecord> After(uint64_t version, size_t limit) const;

  // Returns false if there is something to look at already: a step after `version`, the end of the
  // feed, or what made the waiter restless. Returns true if `waiter` waits; it may be woken, and
  // even destroyed, before this function returns.
  bool Await(uint64_t version, Waiter& waiter);
  // Ends the wait without waking the waiter. Returns false if `waiter` does not wait, or no longer
  // waits.
  bool Forget(Waiter& waiter);

 private:
  static void WakeAll(const std::set<Waiter*>& waiters);

  mutable Mutex mutex_;
  // Null once closed.
  std::unique_ptr<core::RunSeries> series_ ABSL_GUARDED_BY(mutex_) =
      std::make_unique<core::RunSeries>();
  std::set<Waiter*> waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
