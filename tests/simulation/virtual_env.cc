// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/virtual_env.h"

#include <algorithm>
#include <utility>

namespace talweg::simulation {

void VirtualEnv::Later(Nanoseconds delay, Task task) {
  if (delay == 0) return task();
  const uint64_t number = ++last_number_;
  later_.emplace(number, std::move(task));
  agenda_.In(delay, Happening::kTask, 0, number);
}

void VirtualEnv::RunPieces(size_t num_pieces, Piece piece, Task done) {
  for (size_t index = 0; index < num_pieces; ++index) piece(index);
  if (!std::exchange(step_follows_, false)) return done();
  Later(Seconds(random_.Between(0, world_.step_seconds)), std::move(done));
}

void VirtualEnv::Keep(const server::Decision& decision, Task kept) {
  watcher_(decision);
  step_follows_ = decision.effects.step.has_value();
  const uint64_t num_changes = decision.effects.durable.size();
  if (num_changes == 0) return kept();
  num_decided_ += num_changes;
  const bool is_slow = random_.Chance(0.3);
  Later(is_slow ? Seconds(random_.Between(0, world_.disk_seconds)) : 0,
        [this, num_changes, kept = std::move(kept)]() mutable {
          num_kept_ += num_changes;
          kept();
        });
}

uint64_t VirtualEnv::Arm(absl::Time when, std::function<void()> due) {
  if (when == absl::InfiniteFuture()) return 0;
  const uint64_t alarm = ++last_number_;
  alarms_.emplace(alarm, Alarm{when, std::move(due)});
  PlanAlarm(alarm, when);
  return alarm;
}

void VirtualEnv::PlanAlarm(uint64_t alarm, absl::Time when) {
  Nanoseconds time = std::max(agenda_.now(), FromTime(when) - clock_offset_);
  if (!calm_) time += Seconds(random_.Between(0, world_.faults.tick_late_seconds));
  agenda_.At(time, Happening::kAlarm, 0, alarm);
}

void VirtualEnv::Jump(Nanoseconds by) {
  clock_offset_ += by;
  for (const auto& [alarm, planned] : alarms_) PlanAlarm(alarm, planned.when);
}

void VirtualEnv::OnAlarm(uint64_t number) {
  const auto alarm = alarms_.find(number);
  if (alarm == alarms_.end()) return;
  // The clock was set back meanwhile: another occasion is planned for it.
  if (MonotonicNow() < alarm->second.when) return;
  const std::function<void()> due = std::move(alarm->second.due);
  alarms_.erase(alarm);
  due();
  RunPosted();
}

void VirtualEnv::OnTask(uint64_t number) {
  const auto found = later_.find(number);
  if (found == later_.end()) return;
  Task task = std::move(found->second);
  later_.erase(found);
  task();
  RunPosted();
}

void VirtualEnv::RunPosted() {
  while (!posted_.empty()) {
    Task task = std::move(posted_.front());
    posted_.pop_front();
    task();
  }
}

void VirtualEnv::FinishAll() {
  RunPosted();
  while (!later_.empty()) OnTask(later_.begin()->first);
}

void VirtualEnv::Forget() {
  // A task that goes may hold a host, and the end of that host may drop more tasks.
  const auto posted = std::move(posted_);
  const auto later = std::move(later_);
  const auto alarms = std::move(alarms_);
  posted_.clear();
  later_.clear();
  alarms_.clear();
  step_follows_ = false;
  num_decided_ = num_kept_;  // what was not kept never was
}

}  // namespace talweg::simulation
