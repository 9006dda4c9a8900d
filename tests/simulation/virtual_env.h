// SPDX-License-Identifier: Apache-2.0
//
// The environment of a session's host in virtual time: tasks that run when the world lets them,
// alarms on the agenda, a clock that jumps, and a disk that takes its time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "server/runtime/env.h"
#include "tests/simulation/messages.h"
#include "tests/simulation/random.h"
#include "tests/simulation/session_of_world.h"
#include "tests/simulation/world_config.h"

namespace talweg::simulation {

// One thread.
class VirtualEnv final : public server::Env {
 public:
  // Is told every decision of the host, before it is kept.
  using Watcher = std::function<void(const server::Decision&)>;

  // All outlive the environment.
  VirtualEnv(const WorldConfig& world, Random& random, Agenda& agenda, Watcher watcher)
      : world_(world), random_(random), agenda_(agenda), watcher_(std::move(watcher)) {}

  absl::Time MonotonicNow() const override { return ToTime(Now()); }
  absl::Time WallNow() const override { return ToTime(Now()); }
  uint64_t NewHistory() override { return (random_.Next() >> 11) | 1; }
  void Post(Task task) override { posted_.push_back(std::move(task)); }
  void RunPieces(size_t num_pieces, Piece piece, Task done) override;
  uint64_t Arm(absl::Time when, std::function<void()> due) override;
  void Cancel(uint64_t alarm) override { alarms_.erase(alarm); }
  void Keep(const server::Decision& decision, Task kept) override;
  // The sessions of this simulation have no layers.
  void RunRefresh(std::shared_ptr<core::InverseRefresh> /*refresh*/, Task /*done*/) override {}
  void WarnOfGivenUp(const server::SessionIdentity& /*identity*/, uint64_t /*version*/,
                     uint64_t /*num_non_finite*/) override {}
  void WarnOfNonFinite(const server::SessionIdentity& /*identity*/, uint64_t /*version*/,
                       const core::StepReport& /*report*/) override {}

  Nanoseconds Now() const { return agenda_.now() + clock_offset_; }
  // The clock is suddenly at another time; alarms that are due by it ring at once.
  void Jump(Nanoseconds by);
  void CalmDown() { calm_ = true; }

  // Runs what was posted until nothing is left of it.
  void RunPosted();
  // The occasions that this environment planned.
  void OnAlarm(uint64_t alarm);
  void OnTask(uint64_t task);
  // Lets everything that takes time end now.
  void FinishAll();
  // A crash: whatever was still to come never comes.
  void Forget();

  // Changes that had to become durable, and those of them that have.
  uint64_t num_decided() const { return num_decided_; }
  uint64_t num_kept() const { return num_kept_; }

 private:
  struct Alarm {
    absl::Time when;
    std::function<void()> due;
  };

  void PlanAlarm(uint64_t alarm, absl::Time when);
  void Later(Nanoseconds delay, Task task);

  const WorldConfig& world_;
  Random& random_;
  Agenda& agenda_;
  const Watcher watcher_;
  std::deque<Task> posted_;
  std::map<uint64_t, Task> later_;
  std::map<uint64_t, Alarm> alarms_;
  uint64_t last_number_ = 0;  // of tasks and alarms
  bool step_follows_ = false;
  Nanoseconds clock_offset_ = 0;
  bool calm_ = false;
  uint64_t num_decided_ = 0;
  uint64_t num_kept_ = 0;
};

}  // namespace talweg::simulation
