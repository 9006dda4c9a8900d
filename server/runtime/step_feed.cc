// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/step_feed.h"

#include <algorithm>
#include <utility>

namespace talweg::server {

void StepFeed::WakeAll(const std::set<Waiter*>& waiters) {
  for (Waiter* waiter : waiters) waiter->Wake();
}

void StepFeed::Append(const core::RunRecord& record) {
  std::set<Waiter*> woken;
  {
    MutexLock lock(mutex_);
    if (series_ == nullptr) return;
    series_->Append(record);
    woken.swap(waiters_);
  }
  WakeAll(woken);
}

void StepFeed::Close() {
  std::set<Waiter*> woken;
  std::unique_ptr<core::RunSeries> forgotten;  // goes after the lock
  {
    MutexLock lock(mutex_);
    forgotten.swap(series_);
    woken.swap(waiters_);
  }
  WakeAll(woken);
}

bool StepFeed::closed() const {
  MutexLock lock(mutex_);
  return series_ == nullptr;
}

uint64_t StepFeed::newest_version() const {
  MutexLock lock(mutex_);
  return series_ == nullptr ? 0 : series_->newest_version();
}

std::vector<core::RunRecord> StepFeed::After(uint64_t version, size_t limit) const {
  std::vector<core::RunRecord> records;
  records.reserve(std::min(limit, core::RunSeries::kCapacity));
  MutexLock lock(mutex_);
  if (series_ != nullptr) series_->CopyAfter(version, limit, records);
  return records;
}

bool StepFeed::Await(uint64_t version, Waiter& waiter) {
  MutexLock lock(mutex_);
  if (series_ == nullptr || waiter.restless_ || series_->newest_version() > version) return false;
  waiters_.insert(&waiter);
  return true;
}

bool StepFeed::Forget(Waiter& waiter) {
  MutexLock lock(mutex_);
  return waiters_.erase(&waiter) > 0;
}

}  // namespace talweg::server
