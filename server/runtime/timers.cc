// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/timers.h"

#include "server/runtime/clock.h"

namespace talweg::server {

Timers::Timers() : thread_([this] { Run(); }) {}

Timers::~Timers() { Stop(); }

uint64_t Timers::Arm(absl::Time when, Callback callback) {
  if (when == absl::InfiniteFuture()) return 0;
  uint64_t number = 0;
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (stopped_) return 0;
    number = ++last_;
    const auto placed = to_come_.emplace(Key{when, number}, std::move(callback)).first;
    times_.emplace(number, when);
    first = placed == to_come_.begin();
  }
  if (first) changed_.notify_one();
  return number;
}

bool Timers::Cancel(uint64_t number) {
  Callback cancelled;  // goes after the lock
  MutexLock lock(mutex_);
  const auto time = times_.find(number);
  if (time == times_.end()) return false;
  const auto found = to_come_.find({time->second, number});
  cancelled.swap(found->second);
  to_come_.erase(found);
  times_.erase(time);
  return true;
}

void Timers::Stop() {
  std::map<Key, Callback> dropped;  // goes after the lock
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    dropped.swap(to_come_);
    times_.clear();
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Timers::Run() {
  while (true) {
    Callback callback;
    {
      MutexLock lock(mutex_);
      while (!stopped_ && (to_come_.empty() || to_come_.begin()->first.first > MonotonicNow())) {
        if (to_come_.empty()) {
          mutex_.Wait(changed_);
        } else {
          mutex_.WaitUntil(changed_, SteadyTime(to_come_.begin()->first.first));
        }
      }
      if (stopped_) return;
      const auto first = to_come_.begin();
      callback.swap(first->second);
      times_.erase(first->first.second);
      to_come_.erase(first);
    }
    callback();
  }
}

}  // namespace talweg::server
