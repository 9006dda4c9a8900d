// SPDX-License-Identifier: Apache-2.0
//
// What a RoundMachine is made of. Only its own files include this.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/kernels/expansion.h"
#include "core/rounds/event.h"
#include "core/rounds/mutation.h"
#include "core/rounds/round_machine.h"
#include "core/rounds/worker_table.h"

namespace talweg::core {

// What the contributions to the next version add up to.
struct Round {
  uint64_t serial = 1;  // each has its own, so that workers remember their part by it
  bool open = false;    // it is frozen who is expected; only where synchronous
  absl::Time opened;
  uint64_t outstanding = 0;  // workers that are still expected
  absl::Time first;          // contribution
  std::vector<RoundMember> members;
  struct Place {
    uint32_t index;  // in the table; good while the incarnation there is the member's
    uint32_t digest;
  };
  std::vector<Place> places;  // of the members
  struct Bystander {
    uint32_t index;
    uint64_t incarnation;
  };
  std::vector<Bystander> bystanders;  // wait for the close and do not count
  uint64_t staleness = 0;             // the largest
  ExactSum weight;
  ExactSum losses;             // of those that are finite
  double infinite_losses = 0;  // sum of the others: an infinity or a NaN, whatever their order
  uint32_t num_losses = 0;
};

// The clocks that others wait for, with bounded staleness.
class Clocks {
 public:
  explicit Clocks(uint64_t greatest = 0) : greatest_(greatest) {}
  void Add(uint64_t clock) {
    ++counts_[clock];
    greatest_ = std::max(greatest_, clock);
  }
  void Remove(uint64_t clock) {
    const auto found = counts_.find(clock);
    if (--found->second == 0) counts_.erase(found);
  }
  bool empty() const { return counts_.empty(); }
  // Where there is none, the greatest there ever was: all who come then begin at the same.
  uint64_t least() const { return counts_.empty() ? greatest_ : counts_.begin()->first; }
  uint64_t greatest() const { return greatest_; }
  bool Are(const std::map<uint64_t, uint32_t>& counts) const { return counts_ == counts; }

 private:
  std::map<uint64_t, uint32_t> counts_;  // as many entries as clocks differ, which is few
  uint64_t greatest_;
};

struct RoundMachine::State {
  State(uint64_t first_history, const Configure& configuration)
      : history(first_history), config(configuration) {}

  void On(const Join& join, Effects& effects);
  void On(const Heartbeat& heartbeat, Effects& effects);
  void On(const Leave& leave, Effects& effects);
  void On(const Contribution& contribution, Effects& effects);
  void On(const CallEnded& ended, Effects& effects);
  void On(const Tick& tick, Effects& effects);
  void On(const StepTaken& taken, Effects& effects);
  void On(const Configure& configure, Effects& effects);

  // --- Workers and leases (worker_events.cc).

  // The worker's index, with its lease renewed, where history and incarnation are the current ones.
  absl::StatusOr<uint32_t> FindWorker(uint64_t of_history, const std::string& name,
                                      uint64_t incarnation);
  absl::Time LeaseEnd() const;
  void SetLive(uint32_t index);
  void SetDead(uint32_t index);
  void SetAlarm(uint32_t index);
  // An alarm of the worker rang.
  void Look(uint32_t index);
  // Since when a worker that is waited for has owed a verdict; InfiniteFuture where it is not.
  absl::Time OwesSince(const Worker& worker) const;
  bool DropExpiredWorker();
  // A worker without a lease is no more. One that is part of the open round is kept until that
  // closes: it counts once.
  void Drop(uint32_t index);
  void Forget(uint32_t index);
  void EndCalls(Worker& worker, const absl::Status& status, Effects& effects);
  void AnswerCalls(Worker& worker, const Answer& answer, Effects& effects);
  // Tells those that may not wait for other workers that a held answer is pending.
  void EndImpatientCalls(Worker& worker, Effects& effects);

  // --- Clocks (worker_events.cc).
  bool bounded() const { return aggregation.mode == AggregationMode::kBoundedStaleness; }
  // A worker makes progress: it counts again where it did not.
  void Resume(Worker& worker);
  void Count(Worker& worker);
  void Uncount(Worker& worker);
  void Advance(Worker& worker);
  bool IsAhead(const Worker& worker) const;
  void Hold(uint32_t index);
  // Answers all that wait no longer.
  void LetGo(Effects& effects);

  // --- Rounds (round_machine.cc).
  bool Expects(const Worker& worker) const;
  void ExpectNoLonger(Worker& worker);
  void Freeze();
  bool MayFreeze() const;
  // Whether it can fold no more.
  bool IsFull() const;
  // Has the worker told when the round closes, which it is no part of.
  void Watch(uint32_t index);
  bool IsDue() const;
  void CloseIfDue(Effects& effects);
  void Repeat(Worker& worker, const Contribution& contribution, Effects& effects);
  // Answers with the settled verdict, unless its worker is ahead of the others.
  void TellSettled(uint32_t index, const Contribution& contribution, bool replayed,
                   Effects& effects);
  void Wait(Worker& worker, const Contribution& contribution, bool repeats, Effects& effects);
  void Add(uint32_t index, const Contribution& contribution, uint64_t staleness, Effects& effects);
  Answer SettledAnswer(const Worker& worker, bool replayed) const;
  Answer HeldAnswer(const Worker& worker, bool replayed) const;
  Answer PendingAnswer(bool replayed) const;
  std::vector<std::string> LateNames() const;
  void Order(Effects& effects);
  void Apply(const Configure& configure);  // as `config`

  uint64_t history;
  uint64_t version = 0;
  Configure config;
  const AggregationConfig& aggregation = config.aggregation;
  std::optional<Configure> next;  // from the next version on
  absl::Time now = absl::InfinitePast();

  WorkerTable workers;
  size_t num_left = 0;  // that are kept for the round they are part of
  size_t num_live = 0;
  size_t num_live_gradient = 0;
  size_t num_stalled = 0;  // of them
  size_t num_waiting = 0;
  Clocks clocks;
  std::map<uint64_t, std::vector<uint32_t>> held;  // workers whose answer waits, by clock

  Round round;
  struct OpenStep {
    Round round;
    StepReport report;
    std::shared_ptr<VersionRecord> record;
  };
  std::optional<OpenStep> open_step;
  std::shared_ptr<const StepReport> last_step;
  Mutation mutation = Mutation::kNone;
};

}  // namespace talweg::core
