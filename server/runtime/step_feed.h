// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of a session's steps, for whoever watches it, apart from the session's queue
// and memory: a watcher delays no step and keeps no deleted session alive.
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
  // Somebody who waits for the next step. Has its own turn whenever it is not waiting: whoever ends
  // its wait (Append, Close, or a Forget that says true) has it.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // There may be something new. In the thread that brings it: only posts.
    virtual void Wake() = 0;

   protected:
    friend class StepFeed;
    // Set by whoever wants it to look about itself instead of waiting, before calling Forget.
    std::atomic<bool> restless_{false};
  };

  // Keeps the step and wakes all who wait.
  void Append(const core::RunRecord& record);
  // There are no more steps and no records: wakes all who wait, and nobody waits any more.
  void Close();
  bool closed() const;

  uint64_t newest_version() const;
  // The first `limit` records after `version`.
  std::vector<core::RunRecord> After(uint64_t version, size_t limit) const;

  // False where there is something to look at already: a step after `version`, the end, or what
  // made the waiter restless. True: `waiter` waits, and may be woken, and gone, before this
  // returns.
  bool Await(uint64_t version, Waiter& waiter);
  // Ends the wait without waking: false where `waiter` does not wait (any more).
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
