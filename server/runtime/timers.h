// SPDX-License-Identifier: Apache-2.0
//
// Calls at times of the monotonic clock. One thread that sleeps until the next one is due; what is
// called there only posts.
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
  // As Stop.
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // Calls `due` once, when MonotonicNow() is `when` or later, on the thread of the timers and under
  // no lock; of several that are due the earliest first. Returns its number, for Cancel; 0 where it
  // will never be called: `when` is InfiniteFuture, or the timers have stopped.
  uint64_t Arm(absl::Time when, Callback callback);
  // False where it was called, or is being called just now, or never will be.
  bool Cancel(uint64_t number);

  // What is to come will not; returns when the thread has ended. Not from that thread.
  void Stop();

 private:
  using Key = std::pair<absl::Time, uint64_t>;

  void Run();

  Mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Callback> to_come_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, absl::Time> times_ ABSL_GUARDED_BY(mutex_);  // of what is to come
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace talweg::server
