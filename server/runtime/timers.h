// SPDX-License-Identifier: Apache-2.0
//
// Makes calls at given times of the monotonic clock. One thread sleeps until the earliest of these
// times and makes the call. A callback must only post.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe. Arming and cancelling cost O(log n) in the number of calls that are to come.
class Timers {
 public:
  using Callback = std::function<void()>;

  Timers();
  // Stops the timers.
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // Calls `callback` once, when MonotonicNow() is `when` or later, on the thread of the timers and
  // under no lock; calls come in the order of their times. Returns the number of the call, for
  // Cancel; 0 if it will never come, because `when` is InfiniteFuture or the timers have stopped.
  uint64_t Arm(absl::Time when, Callback callback);
  // Returns false if the call has come, comes just now, or will never come.
  bool Cancel(uint64_t number);

  // Drops all calls that are still to come, and returns when the thread has ended. Must not be
  // called on that thread.
  void Stop();

 private:
  using Key = std::pair<absl::Time, uint64_t>;

  void Run();

  Mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Callback> to_come_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, absl::Time> times_ ABSL_GUARDED_BY(mutex_);  // by number
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace talweg::server
