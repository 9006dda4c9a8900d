// SPDX-License-Identifier: Apache-2.0
//
// An event that happens once and for good, or now and then, and the listeners to be told of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// Thread-safe.
class Notice {
 public:
  using Listener = std::function<void()>;

  // `listener` runs once, under no lock: on the thread that gives the notice, or at once if the
  // notice was given before. Returns the listener's number, for Forget; 0 if it ran at once.
  uint64_t Listen(Listener listener) {
    {
      MutexLock lock(mutex_);
      if (!given_) {
        listeners_.emplace(++last_, std::move(listener));
        return last_;
      }
    }
    listener();
    return 0;
  }

  // The listener is no longer called. It may still be running when this returns.
  void Forget(uint64_t listener) {
    Listener forgotten;  // destroyed after the lock is released
    MutexLock lock(mutex_);
    const auto found = listeners_.find(listener);
    if (found == listeners_.end()) return;
    forgotten.swap(found->second);
    listeners_.erase(found);
  }

  // It has happened, once and for good. Tells the listeners, and every later listener at once.
  void Give() { Tell(true); }
  // It has happened, and may happen again. Tells the listeners once, and forgets them.
  void Pulse() { Tell(false); }

 private:
  void Tell(bool for_good) {
    std::map<uint64_t, Listener> listeners;
    {
      MutexLock lock(mutex_);
      given_ = given_ || for_good;
      listeners.swap(listeners_);
    }
    for (const auto& [number, told] : listeners) told();
  }

  Mutex mutex_;
  bool given_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Listener> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
