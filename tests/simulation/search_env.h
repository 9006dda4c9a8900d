// SPDX-License-Identifier: Apache-2.0
//
// Virtual time for a world that searches, and the environment of a host in it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/runtime/env.h"
#include "tests/simulation/random.h"
#include "tests/simulation/trace.h"

namespace talweg::simulation {

// Virtual time: what is yet to happen, in order.
class Plan {
 public:
  Nanoseconds now() const { return now_; }
  void In(double seconds, std::function<void()> what) {
    plan_.push({now_ + Seconds(std::max(0.0, seconds)), ++order_, std::move(what)});
  }
  void At(Nanoseconds time, std::function<void()> what) {
    plan_.push({std::max(now_, time), ++order_, std::move(what)});
  }
  bool empty() const { return plan_.empty(); }
  void Step() {
    std::function<void()> what = plan_.top().what;
    now_ = plan_.top().time;
    plan_.pop();
    what();
  }

 private:
  struct Entry {
    Nanoseconds time;
    uint64_t order;
    std::function<void()> what;
    bool operator>(const Entry& other) const {
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> plan_;
  Nanoseconds now_ = 0;
  uint64_t order_ = 0;
};

// The environment of the host: tasks run at once, alarms ring late, and the disk takes its time.
class VirtualSearchEnv final : public server::Env {
 public:
  using Watcher = std::function<void(const server::Decision&)>;
  VirtualSearchEnv(Plan& plan, Random& random, Watcher watcher)
      : plan_(plan), random_(random), watcher_(std::move(watcher)) {}

  absl::Time MonotonicNow() const override {
    return absl::UnixEpoch() + absl::Nanoseconds(plan_.now());
  }
  absl::Time WallNow() const override { return MonotonicNow(); }
  uint64_t NewHistory() override { return (random_.Next() >> 11) | 1; }
  void Post(Task task) override { posted_.push_back(std::move(task)); }
  void RunPieces(size_t num_pieces, Piece piece, Task done) override {
    for (size_t index = 0; index < num_pieces; ++index) piece(index);
    Later(step_follows_ ? random_.Between(0, 0.2) : 0, std::move(done));
    step_follows_ = false;
  }
  uint64_t Arm(absl::Time when, std::function<void()> due) override {
    if (when == absl::InfiniteFuture()) return 0;
    const uint64_t alarm = ++last_alarm_;
    alarms_.insert(alarm);
    // Not a part of a nanosecond too early.
    const Nanoseconds time =
        absl::ToInt64Nanoseconds(absl::Ceil(when - absl::UnixEpoch(), absl::Nanoseconds(1)));
    plan_.At(time + Seconds(random_.Chance(0.3) ? random_.Between(0, lateness) : 0),
             [this, alarm, due = std::move(due), life = life_] {
               if (life != life_ || alarms_.erase(alarm) == 0) return;
               due();
               RunPosted();
             });
    return alarm;
  }
  void Cancel(uint64_t alarm) override { alarms_.erase(alarm); }
  void Keep(const server::Decision& decision, Task kept) override {
    watcher_(decision);
    step_follows_ = decision.effects.step.has_value();
    const size_t changes = decision.effects.durable.size() + decision.search->durable.size();
    if (changes == 0) return kept();
    num_decided_ += changes;
    auto shared = std::make_shared<Task>(std::move(kept));
    Later(random_.Chance(0.3) ? random_.Between(0, 0.05) : 0, [this, changes, shared] {
      num_kept_ += changes;
      (*shared)();
    });
  }
  void RunRefresh(std::shared_ptr<core::InverseRefresh>, Task) override {}
  void WarnOfGivenUp(const server::SessionIdentity&, uint64_t, uint64_t) override {}
  void WarnOfNonFinite(const server::SessionIdentity&, uint64_t, const core::StepReport&) override {
  }

  void RunPosted() {
    while (!posted_.empty()) {
      Task task = std::move(posted_.front());
      posted_.pop_front();
      task();
    }
  }
  // A crash: whatever was still to come never comes.
  void Forget() {
    ++life_;
    const auto posted = std::move(posted_);
    posted_.clear();
    alarms_.clear();
    step_follows_ = false;
    num_decided_ = num_kept_;
  }
  uint64_t num_decided() const { return num_decided_; }
  uint64_t num_kept() const { return num_kept_; }

  double lateness = 0.3;

 private:
  void Later(double seconds, Task task) {
    if (seconds == 0) return task();
    auto shared = std::make_shared<Task>(std::move(task));
    plan_.In(seconds, [this, shared, life = life_] {
      if (life != life_) return;
      (*shared)();
      RunPosted();
    });
  }

  Plan& plan_;
  Random& random_;
  Watcher watcher_;
  std::deque<Task> posted_;
  std::set<uint64_t> alarms_;
  uint64_t last_alarm_ = 0;
  uint64_t life_ = 0;
  bool step_follows_ = false;
  uint64_t num_decided_ = 0;
  uint64_t num_kept_ = 0;
};

}  // namespace talweg::simulation
