// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/worker_table.h"

#include <algorithm>

#include "core/base/check.h"

namespace talweg::core {

WorkerTable::WorkerTable() : by_name_(0, ByName{&workers_}, ByName{&workers_}) {}

uint32_t WorkerTable::Find(absl::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? kNone : *found;
}

uint32_t WorkerTable::Insert(const std::string& name) {
  uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<uint32_t>(workers_.size());
    workers_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  workers_[index].name = name;
  TALWEG_CHECK(by_name_.insert(index).second);
  return index;
}

void WorkerTable::Erase(uint32_t index) {
  TALWEG_CHECK(by_name_.erase(index) == 1);
  workers_[index] = Worker{};  // and no alarm
  DropStale();
  free_.push_back(index);
}

std::vector<uint32_t> WorkerTable::Sorted() const {
  std::vector<uint32_t> indexes(by_name_.begin(), by_name_.end());
  std::sort(indexes.begin(), indexes.end(),
            [this](uint32_t a, uint32_t b) { return workers_[a].name < workers_[b].name; });
  return indexes;
}

void WorkerTable::SetAlarm(uint32_t index, absl::Time time) {
  if (workers_[index].alarm <= time) return;
  workers_[index].alarm = time;
  alarms_.push({time, index});
  // Overtaken ones are dropped when their time comes, or when they are most.
  if (alarms_.size() > 2 * workers_.size() + 16) {
    alarms_ = {};
    for (uint32_t each = 0; each < workers_.size(); ++each) {
      if (workers_[each].alarm < absl::InfiniteFuture()) alarms_.push({workers_[each].alarm, each});
    }
  }
}

void WorkerTable::DropStale() {
  while (!alarms_.empty() && workers_[alarms_.top().index].alarm != alarms_.top().time) {
    alarms_.pop();
  }
}

uint32_t WorkerTable::TakeDue(absl::Time now) {
  if (alarms_.empty() || alarms_.top().time > now) return kNone;
  const uint32_t index = alarms_.top().index;
  alarms_.pop();
  workers_[index].alarm = absl::InfiniteFuture();
  DropStale();
  return index;
}

absl::Time WorkerTable::NextAlarm() const {
  return alarms_.empty() ? absl::InfiniteFuture() : alarms_.top().time;
}

void WorkerTable::RingAll(absl::Time time) {
  alarms_ = {};
  for (Worker& worker : workers_) worker.alarm = absl::InfiniteFuture();
  ForEach([&](uint32_t index) {
    if (workers_[index].live) SetAlarm(index, time);
  });
}

}  // namespace talweg::core
